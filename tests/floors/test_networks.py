"""The floors that are networks: better than a linear operator where the truth is not linear, planned, repeatable."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crosstune.floors import Allowance, all_floors, run_floors
from crosstune.floors import network as networks
from crosstune.floors.network import Shape, Standards, held_out_count, wraps
from crosstune.metrics import default_metric
from crosstune.records import Dataset

from .cases import data, halves

FLOORS = {name: all_floors()[name] for name in ("fno", "unet")}


def burgers(rows, points, seed=0, diffusivity=0.04, time=0.8):
    """u_t + (u^2 / 2)_x = D u_xx on the unit circle, from random waves to time t, exactly: Cole (1951) and Hopf
    (1950), with the mean of u moved out."""
    rng = np.random.default_rng(seed)
    x = (np.arange(points) + 0.5) / points
    k = 2 * np.pi * np.fft.rfftfreq(points, 1 / points)
    start = np.zeros((rows, points))
    for wave in (1, 2, 3):
        phase = rng.uniform(0, 2 * np.pi, size=(rows, 1))
        start += rng.normal(size=(rows, 1)) / wave * np.sin(2 * np.pi * wave * x + phase)
    start += 0.3 * rng.normal(size=(rows, 1))
    mean = start.mean(axis=1, keepdims=True)
    integral = np.fft.rfft(start - mean)
    integral[:, 1:] /= 1j * k[1:]
    integral[:, 0] = 0
    theta = np.fft.rfft(np.exp(-np.fft.irfft(integral, points) / (2 * diffusivity)))
    theta = theta * np.exp(-diffusivity * k**2 * time - 1j * k * mean * time)
    slope = np.fft.irfft(1j * k * theta, points)
    end = mean - 2 * diffusivity * slope / np.fft.irfft(theta, points)
    return Dataset(start[:, None].astype(np.float32), end[:, None].astype(np.float32), "dense")


def squared(rows, size, seed=0):
    """A smooth random field on the torus, squared and smoothed: its covariance with the input is zero."""
    rng = np.random.default_rng(seed)
    k = np.fft.fftfreq(size, 1 / size)[:, None] ** 2 + np.fft.rfftfreq(size, 1 / size) ** 2
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(rows, size, size))) * np.exp(-k / 8), s=(size, size))
    field /= field.std()
    end = np.fft.irfft2(np.fft.rfft2(field**2) * np.exp(-0.02 * k), s=(size, size))
    return Dataset(field[:, None].astype(np.float32), end[:, None].astype(np.float32), "dense")


def fitted(name, train, seconds, seed=0):
    floor = FLOORS[name].build(Allowance(seconds))
    floor.fit(train, seed)
    return floor


def score(floor, query):
    return default_metric("dense").score(floor.predict(replace(query, y=None)), query.y)


@pytest.mark.parametrize("name", FLOORS)
@pytest.mark.parametrize("problem", ["burgers", "squared"])
def test_networks_beat_a_linear_operator_where_the_truth_is_not_linear(name, problem):
    made = burgers(300, 32) if problem == "burgers" else squared(300, 12)
    train, query = made.take(np.arange(200)), made.take(np.arange(200, len(made)))
    linear = all_floors()["linear"].build(Allowance())
    linear.fit(train, 0)
    reached, bar = score(fitted(name, train, {"fno": 2.0, "unet": 5.0}[name]), query), score(linear, query)
    assert bar > 0.4
    assert reached < {"fno": 0.4, "unet": 0.9}[name] * bar


def test_the_fourier_operator_answers_on_a_finer_grid_than_it_was_trained_on():
    train, fine = burgers(300, 32), burgers(60, 128, seed=1)
    floor = fitted("fno", train, 2.0)
    same = score(floor, burgers(60, 32, seed=1))
    assert same < 0.1
    assert score(floor, fine) < 1.5 * same


@pytest.mark.parametrize("name", FLOORS)
def test_short_of_time_a_coarser_grid_comes_first(name):
    train, query = halves(squared(80, 64))
    floor = fitted(name, train, 1.0)
    assert "trained on means over blocks of" in floor.note
    prediction = floor.predict(query)
    assert prediction.shape == query.y.shape
    assert default_metric("dense").score(prediction, query.y) < 0.8  # the mean field: 1


@pytest.mark.parametrize("name", FLOORS)
def test_plans_follow_the_allowance_and_nothing_else(name):
    shape = Shape(1, 1, (256,), True)
    plans = [FLOORS[name].build(Allowance(seconds)).plan(shape, 1000) for seconds in (0.01, 1, 10, 100, 1e6)]
    steps = [plan.steps / plan.block**2 for plan in plans]
    assert steps == sorted(steps)
    assert plans[0].steps >= 1
    assert plans[-1] == replace(plans[-1], block=1, steps=300 * 900 // 16, note="")  # 300 passes are enough
    assert plans[2] == FLOORS[name].build(Allowance(10)).plan(shape, 1000)
    # ten times the points or the channels cost more: fewer steps or a coarser grid
    for more in (Shape(1, 1, (2560,), True), Shape(200, 1, (256,), True), Shape(1, 1, (64, 64), True)):
        larger = FLOORS[name].build(Allowance(10)).plan(more, 1000)
        assert larger.steps < plans[2].steps or larger.block > plans[2].block
    # rows that do not fit in memory are left out
    plan = FLOORS[name].build(Allowance(1e9)).plan(Shape(50, 1, (512, 512), False), 4000)
    assert plan.rows < 4000
    assert "rows to keep in memory" in plan.note


@pytest.mark.parametrize("name", FLOORS)
def test_units_of_the_data_do_not_matter(name):
    train, query = halves(burgers(80, 32))
    other = replace(train, X=1e-3 * train.X + 7, y=1000 * train.y)
    plain, moved = fitted(name, train, 0.3), fitted(name, other, 0.3)
    got = moved.predict(replace(query, X=1e-3 * query.X + 7)) / 1000
    np.testing.assert_allclose(got, plain.predict(query), atol=0.05)


@pytest.mark.parametrize("name", FLOORS)
def test_what_is_held_out_is_never_trained_on(name, monkeypatch):
    seen = set()
    inner = networks._batches

    def watched(rows, size, generator):
        for batch in inner(rows, size, generator):
            seen.update(batch.tolist())
            yield batch

    monkeypatch.setattr(networks, "_batches", watched)
    made = replace(data("dense", "series", rows=60), groups=np.repeat(np.arange(30), 2))
    floor = fitted(name, made, 0.3)
    hidden = sorted(set(range(60)) - seen)
    assert len(hidden) == held_out_count(60) == 6
    assert all(row ^ 1 in hidden for row in hidden)  # whole groups
    assert "are kept" in floor.note


def test_too_few_rows_are_all_trained_on():
    assert [held_out_count(rows) for rows in (1, 9, 10, 200)] == [0, 0, 1, 20]
    floor = fitted("fno", data("dense", "series", rows=3), 0.2)
    assert np.isfinite(floor.predict(data("dense", "series", rows=5))).all()


def test_fields_that_wrap_round_are_told_from_those_that_do_not():
    made = burgers(20, 64)
    assert wraps(made.y)
    assert wraps(squared(10, 16).y)
    assert not wraps(np.cumsum(np.ones((3, 1, 32)), axis=2))  # a ramp
    assert not wraps(made.y[..., :40])  # a part of a circle
    assert not wraps(np.ones((2, 1, 3)))
    half = squared(10, 32).y[..., :16]
    assert not wraps(half)
    gaps = made.y.copy()
    gaps[:, :, ::5] = np.nan
    assert wraps(gaps)


def test_standards_ignore_what_is_unknown_and_leave_constants_alone():
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, size=(50, 2, 40)), rng.normal(size=(50, 3, 40))
    x[rng.random(x.shape) < 0.2] = np.nan
    y[:, 1], y[:, 2] = 5.0, np.nan
    standards = Standards.of(x, y)
    filled = standards.inputs(x)
    assert filled.dtype == np.float32
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(np.nanmean(x, axis=(0, 2)), standards.x_mean.reshape(-1), rtol=1e-6)
    np.testing.assert_allclose(np.nanstd(x, axis=(0, 2)), standards.x_scale.reshape(-1), rtol=1e-6)
    np.testing.assert_allclose(standards.back(standards.targets(y))[:, 1], 5.0)
    np.testing.assert_allclose(standards.y_scale.reshape(-1)[1:], 1)
    np.testing.assert_allclose(standards.size, [np.sqrt((y[:, 0] ** 2).mean()), 5, 0])


def test_the_loss_is_relative_and_skips_unknown_positions():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(6, 2, 30)) * np.array([1, 100])[:, None] + np.array([0.5, -20])[:, None]
    p = y + rng.normal(size=y.shape) * np.array([0.1, 3])[:, None]
    standards = Standards.of(y, y)
    holes = rng.random(y.shape) < 0.3
    known = np.where(holes, np.nan, y)
    loss = networks._relative_loss(standards)
    got = float(loss(*(torch.from_numpy(standards.targets(v)).double() for v in (p, known))))
    floor = 0.05 * np.sqrt((y**2).mean(axis=(0, 2)))
    expected = [
        np.sqrt(np.nanmean((p[b, c] - known[b, c]) ** 2)) / (np.sqrt(np.nanmean(known[b, c] ** 2)) + floor[c])
        for b, c in np.ndindex(6, 2)
    ]
    assert got == pytest.approx(np.mean(expected), rel=1e-4)


def test_training_leaves_the_threads_and_the_draws_of_others_alone():
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    fitted("unet", data("dense", "series", rows=20), 0.1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_in_the_child_torch_is_there_for_networks_alone():
    train, query = halves(data("dense", "series"))
    plugin = str(Path(__file__).with_name("plugins.py"))
    planned = dict.fromkeys(FLOORS, 0.3)
    results = run_floors(train, {"q": query}, ("loads-torch", *FLOORS), seed=0, plugins=[plugin], planned=planned)
    assert results["loads-torch"].note == "ModuleNotFoundError: No module named 'torch'"
    assert results["fno"].status == results["unet"].status == "ok"
    here = run_floors(train, {"q": query}, tuple(FLOORS), seed=0, planned=planned, in_process=True)
    for name in FLOORS:
        assert results[name].note == here[name].note
        np.testing.assert_allclose(results[name].predictions["q"], here[name].predictions["q"], rtol=1e-6, atol=1e-6)
    assert "torch" in sys.modules


@pytest.mark.parametrize("name", FLOORS)
def test_when_the_answers_would_come_too_late_the_clock_ends_training(name):
    train = burgers(40, 32)
    floor = FLOORS[name].build(Allowance(4.0, until=time.monotonic() + 1.2))
    floor.fit(train, 0)
    planned = floor.plan(Shape(1, 1, (32,), False), 40).steps
    done = int(floor.note.split(" steps")[0].rsplit(" ", 1)[1].replace(",", ""))
    assert 1 <= done < planned
    assert f"the clock ended training, {planned:,} steps were planned" in floor.note
    assert np.isfinite(floor.predict(replace(train, y=None))).all()


@pytest.mark.parametrize("name", FLOORS)
def test_with_time_left_the_clock_decides_nothing(name):
    train = burgers(24, 16)
    timely = FLOORS[name].build(Allowance(1.0, until=time.monotonic() + 600))
    timely.fit(train, 0)
    assert np.array_equal(timely.predict(train), fitted(name, train, 1.0).predict(train))
    assert timely.note == fitted(name, train, 1.0).note
