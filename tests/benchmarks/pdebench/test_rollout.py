"""The official protocol: windows that are what they say, and roll-outs that a perfect model passes without error."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from crosstune.benchmarks.contract import get_task
from crosstune.benchmarks.pdebench import rollout
from crosstune.benchmarks.pdebench.official import official_metrics
from crosstune.benchmarks.pdebench.reading import opened
from crosstune.data.lazy import is_lazy, reader_from
from crosstune.errors import DataError

ADVECTION, PATTERNS = get_task("pdebench/advection"), get_task("pdebench/diffusion_reaction_2d")


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("waves")
    return ADVECTION.generate(folder, n=30, resolution=32)[0]


@pytest.fixture(scope="module")
def patterns(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patterns")
    return PATTERNS.generate(folder, n=20, resolution=16)[0]


def truth(path, samples, frames):
    with opened(path) as file:
        return file.read(samples, frames)


def test_windows_hold_ten_frames_and_the_next(waves):
    data = ADVECTION.load(waves, "official")
    frames = truth(waves, range(30), range(0, 201, 5))
    assert data.dataset.X.shape == (30 * 31, 10, 32)
    assert data.dataset.y.shape == (30 * 31, 1, 32)
    for row in (0, 17, 31, 500):
        sample, first = divmod(row, 31)
        assert np.array_equal(data.dataset.X[row], frames[sample, first : first + 10, 0])
        assert np.array_equal(data.dataset.y[row], frames[sample, first + 10])
        assert data.dataset.groups[row] == sample


def test_channels_follow_each_other_frame_by_frame(patterns):
    data = PATTERNS.load(patterns, "official")
    frames = truth(patterns, [1], range(101))[0]
    row = 91 + 4  # sample 1, frames 4 to 13
    assert data.dataset.X.shape[1:] == (20, 16, 16)
    assert np.array_equal(data.dataset.X[row], frames[4:14].reshape(20, 16, 16))
    assert np.array_equal(data.dataset.y[row], frames[14])


def test_parts_hold_whole_samples_and_the_test_selects(waves):
    data = ADVECTION.load(waves, "official")
    samples = {part: set(data.dataset.groups[data.split.rows(part)]) for part in ("train", "validation", "test")}
    assert samples["test"] == samples["validation"] == {0, 1, 2}
    assert samples["train"] == set(range(3, 30))
    assert ADVECTION.terms("official").selected_on == "test"


def test_any_beginning_of_the_list_is_spread_over_samples_and_times(waves):
    rows = rollout.spread(np.arange(3, 30), 31)
    assert np.array_equal(np.sort(rows), np.arange(3 * 31, 30 * 31))
    assert len(np.unique(rows[:27] // 31)) == 27
    assert len(np.unique(rows[:31] % 31)) > 20
    data = ADVECTION.load(waves, "official", limit={"train": 20, "validation": 2, "test": 2})
    assert [len(data.split.rows(part)) for part in ("train", "validation", "test")] == [20, 2, 2]
    assert len(set(data.dataset.groups[data.split.train])) == 20


def test_lazy_windows_are_the_same_and_can_be_made_again(waves, monkeypatch):
    whole = ADVECTION.load(waves, "official").dataset
    monkeypatch.setattr(rollout, "MEMORY_BYTES", 0)
    lazy = ADVECTION.load(waves, "official").dataset
    assert is_lazy(lazy.X)
    assert is_lazy(lazy.y)
    for rows in (np.array([5, 900, 3]), slice(10, 20)):
        assert np.array_equal(lazy.X[rows], whole.X[rows])
        assert np.array_equal(lazy.y[rows], whole.y[rows])
    again = reader_from(lazy.X.reader.spec())
    assert np.array_equal(again.read(77), whole.X[77])
    assert np.array_equal(pickle.loads(pickle.dumps(lazy.y.reader)).read(77), whole.y[77])


def moved_on(x):
    """The exact next frame of advection: 0.02 of the interval further, of fields that are periodic on the grid."""
    k = 2j * np.pi * np.fft.rfftfreq(x.shape[-1], 1 / x.shape[-1])
    return np.fft.irfft(np.fft.rfft(x[:, -1:]) * np.exp(-0.02 * k), x.shape[-1])


def periodic(waves, tmp_path):
    """A file of the same layout with fields that are periodic on its grid: one operator serves all frames exactly."""
    import h5py

    path = tmp_path / waves.name
    path.write_bytes(waves.read_bytes())
    x, t = np.arange(32) / 32, 0.01 * np.arange(201)
    with h5py.File(path, "r+") as file:
        for row in range(30):
            phase = 2 * np.pi * (x[None] - 0.4 * t[:, None]) + row
            file["tensor"][row] = 1.5 + np.sin(phase) + 0.3 * np.cos(3 * phase + row)
    return path


def test_a_perfect_step_rolls_out_without_error(waves, tmp_path):
    data = ADVECTION.load(periodic(waves, tmp_path), "official")
    figures = data.evaluate(moved_on, "test")
    assert figures["nRMSE"] < 1e-6
    assert figures["max"] < 1e-5


def test_errors_accumulate_as_predictions_become_inputs(waves, tmp_path):
    """A step that is one per cent too large is (1.01)^n - 1 off after n steps; teacher forcing would stay at 1 %."""
    data = ADVECTION.load(periodic(waves, tmp_path), "official")
    figures = data.evaluate(lambda x: 1.01 * moved_on(x), "test")
    expected = np.mean(1.01 ** np.arange(1, 32) - 1)
    assert figures["nRMSE"] == pytest.approx(expected, rel=1e-4)


def test_figures_are_the_official_ones_of_the_whole_trajectory(patterns, monkeypatch):
    data = PATTERNS.load(patterns, "official")
    target = np.moveaxis(truth(patterns, [18, 19], range(101)), 1, -1)
    prediction = np.concatenate([target[..., :10], np.repeat(target[..., 9:10], 91, axis=-1)], axis=-1)
    expected = official_metrics(prediction, target, initial_step=10, lengths=(1.0, 1.0))
    persist = lambda x: x[:, -2:].astype(np.float64)  # noqa: E731
    assert data.evaluate(persist, "test") == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(rollout, "ROLLED_VALUES", 1)  # a sample at a time
    assert data.evaluate(persist, "test") == pytest.approx(expected, rel=1e-6)


def test_darcy_is_a_single_step(tmp_path):
    task = get_task("pdebench/darcy")
    task.generate(tmp_path, n=20, resolution=16)
    data = task.load(tmp_path, "official")
    assert data.dataset.X.shape == data.dataset.y.shape == (20, 1, 16, 16)
    shipped = task.load(tmp_path, "shipped")
    assert np.array_equal(data.dataset.y[data.split.test], shipped.dataset.y[shipped.split.test])
    zero = data.evaluate(lambda x: np.zeros(x.shape), "test")
    assert zero["nRMSE"] == pytest.approx(1.0, rel=1e-12)


def test_diffusion_reaction_1d_is_rolled_out_to_frame_29(tmp_path):
    task = get_task("pdebench/diffusion_reaction_1d")
    task.generate(tmp_path, n=10, resolution=16)
    data = task.load(tmp_path, "official")
    assert data.dataset.X.shape == (10 * 25, 5, 16)
    assert data.evaluate.reader.frames == 30


def test_a_model_that_diverges_is_refused_by_name(waves):
    data = ADVECTION.load(waves, "official")
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(DataError, match="prediction is NaN or infinite"):
        data.evaluate(lambda x: x[:, -1:].astype(np.float64) * np.float64(1e30), "test")
