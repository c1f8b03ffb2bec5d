"""Floors of series and tables that other libraries, or a network of ours, carry: against those libraries themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from crosstune.floors import Allowance, all_floors, run_floors
from crosstune.floors import catboost as boosted
from crosstune.metrics import default_metric
from crosstune.records import Dataset
from crosstune.seeding import derive_seed

from .cases import categorical, data, halves

FLOORS = all_floors()
needs_catboost = pytest.mark.skipif(FLOORS["catboost"].unavailable() is not None, reason="needs catboost")


def fitted(name, train, seconds=120.0, seed=0):
    floor = FLOORS[name].build(Allowance(seconds))
    floor.fit(train, seed)
    return floor


def waves(rows, classes=3, noise=0.7, seed=0):
    """Sines of as many frequencies as classes at random phases: nothing that a linear model could see."""
    rng = np.random.default_rng(seed)
    y, time = rng.integers(0, classes, size=rows), np.linspace(0, 1, 48)
    wave = np.sin(2 * np.pi * (2 + 2 * y[:, None]) * time + rng.uniform(0, 2 * np.pi, size=(rows, 1)))
    X = (wave + noise * rng.normal(size=wave.shape))[:, None].astype(np.float32)
    return Dataset(X, y.astype(np.int64), "classification", tuple("abc"[:classes]))


# -- a convolutional network --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_network_learns_a_pattern_that_a_linear_model_cannot(kind):
    """A bump at a random place, up in one class and down in the other, with its mirror image: no linear map of the
    samples tells them apart."""
    rng = np.random.default_rng(1)
    y, at = rng.integers(0, 2, size=360), rng.integers(6, 58, size=360)
    t = np.arange(64)
    sides = (
        np.where(y == 1, 1.0, -1.0)[:, None] * np.sign(t - at[:, None]) * np.exp(-0.5 * ((t - at[:, None]) / 2) ** 2)
    )
    X = (2 * sides + 0.3 * rng.normal(size=sides.shape))[:, None].astype(np.float32)
    targets = {"classification": y, "regression": 7.0 + 3 * y[:, None]}
    made = Dataset(X, targets[kind].astype(np.float32 if kind != "classification" else np.int64), kind)
    made = replace(made, classes=("down", "up")) if kind == "classification" else made
    train, query = made.take(np.arange(240)), made.take(np.arange(240, 360))
    metric = default_metric(kind)
    reached = metric.error(metric.score(fitted("cnn-1d", train, 3.0).predict(replace(query, y=None)), query.y))
    linear = metric.error(metric.score(fitted("linear", train).predict(query), query.y))
    assert linear > (0.3 if kind == "classification" else 0.2)
    assert reached < 0.25 * linear


def test_training_begins_at_the_shares_of_the_classes(monkeypatch):
    """With steps of no length the answer is the prior, or the mean."""
    train, query = halves(waves(60))
    floor = FLOORS["cnn-1d"].build(Allowance(0.5))
    monkeypatch.setattr(floor, "rate", 0.0)
    floor.fit(train, 0)
    counts = np.bincount(train.y, minlength=3) + 0.5
    np.testing.assert_allclose(floor.predict(query), np.tile(counts / counts.sum(), (len(query), 1)), rtol=1e-5)


def test_the_network_is_planned_and_says_what_was_cut():
    train = waves(60)
    assert "steps" in fitted("cnn-1d", train, 0.5).note
    long = replace(train, X=np.repeat(train.X, 60, axis=2))
    assert "trained on means over blocks of" in fitted("cnn-1d", long, 0.5).note


def test_the_generators_and_threads_of_torch_are_left_alone():
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    fitted("cnn-1d", waves(40), 0.3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


# -- CatBoost -----------------------------------------------------------------------------------------------------


@needs_catboost
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_catboost_is_the_library_with_its_own_settings(kind):
    import catboost

    train, query = halves(data(kind, "table", rows=200))
    train = replace(train, y=train.y[:, :1]) if kind == "regression" else train
    floor = fitted("catboost", train, 3.0)
    rounds = int(floor.note.split(" of ")[1].split(" ")[0].replace(",", ""))
    options = {"iterations": rounds, "random_seed": derive_seed(0, "catboost") % 2**31, "verbose": False,
               "thread_count": 1, "allow_writing_files": False}  # fmt: skip
    if kind == "classification":
        witness = catboost.CatBoostClassifier(**options).fit(train.X, train.y).predict_proba(query.X)
    else:
        witness = catboost.CatBoostRegressor(**options).fit(train.X, train.y[:, 0]).predict(query.X)[:, None]
    np.testing.assert_allclose(floor.predict(replace(query, y=None)), witness, rtol=1e-9, atol=1e-12)


@needs_catboost
def test_catboost_reads_categories_as_words_not_as_numbers():
    """A class that is the parity of one of forty shuffled codes: trees on the codes as numbers need many splits."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 40, size=400)
    odd = rng.permutation(40) % 2
    X = np.stack([rng.normal(size=400), codes], axis=1).astype(np.float32)
    made = Dataset(X, odd[codes].astype(np.int64), "classification", ("even", "odd"))
    names = tuple(f"c{i}" for i in range(40))
    train, query = halves(replace(made, categories={1: names}))
    told = fitted("catboost", train, 1.0).predict(query).argmax(axis=1)
    plain = replace(train, categories={}), replace(query, categories={})
    untold = fitted("catboost", plain[0], 1.0).predict(plain[1]).argmax(axis=1)
    assert (told != query.y).mean() < 0.05
    assert (untold != query.y).mean() > 2 * (told != query.y).mean()


@needs_catboost
def test_catboost_chooses_rounds_on_rows_it_does_not_learn_from_and_stops_in_time():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4)).astype(np.float32)
    noise = Dataset(X, rng.integers(0, 2, size=600).astype(np.int64), "classification", ("a", "b"))
    kept, rounds = (int(part.replace(",", "")) for part in
                    fitted("catboost", noise, 60.0).note.removesuffix(" rounds kept").split(" of "))  # fmt: skip
    assert kept < 0.5 * rounds  # there is nothing to learn
    late = FLOORS["catboost"].build(Allowance(60.0, until=0.0))
    late.fit(noise, 0)
    assert "1 of" in late.note
    assert "stopped by the clock" in late.note
    assert late.predict(noise).shape == (600, 2)
    held = boosted._held_out(noise.y, np.random.default_rng(0), stratified=True)
    assert abs(np.bincount(noise.y[held]) / np.bincount(noise.y) - 0.1).max() < 0.01


@needs_catboost
def test_catboost_takes_gaps_constants_and_new_categories():
    train, query = halves(categorical(data("classification", "table", rows=80)))
    prediction = fitted("catboost", train, 0.5).predict(query)
    np.testing.assert_allclose(prediction.sum(axis=1), 1)
    still = replace(train, X=np.zeros_like(train.X), categories={})
    shares = np.bincount(train.y, minlength=3) / len(train)
    np.testing.assert_allclose(fitted("catboost", still, 0.5).predict(still), np.tile(shares, (len(train), 1)))


# -- MultiRocket-Hydra --------------------------------------------------------------------------------------------


@pytest.mark.slow  # compiles for a minute on its first use
@pytest.mark.parametrize("classes", [2, 3])
def test_multirocket_hydra_gives_the_labels_of_aeons_class(classes):
    pytest.importorskip("aeon")
    from aeon.classification.convolution_based import MultiRocketHydraClassifier

    made = waves(90, classes, noise=2.0)
    train, query = made.take(np.arange(50)), made.take(np.arange(50, 90))
    state, threads = np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    floor = fitted("multirocket-hydra", train)
    prediction = floor.predict(replace(query, y=None))
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert torch.get_num_threads() == threads
    own = derive_seed(0, "multirocket-hydra") % 2**31
    witness = MultiRocketHydraClassifier(random_state=own).fit(train.X.astype(np.float64), train.y)
    expected = witness.predict(query.X.astype(np.float64))
    np.testing.assert_array_equal(prediction.argmax(axis=1), expected)
    assert (expected != query.y).any()  # too hard to be right by chance everywhere
    np.testing.assert_allclose(prediction.sum(axis=1), 1)
    log_loss = -np.log(prediction[np.arange(40), query.y]).mean()
    assert log_loss < np.log(classes)
    one = floor.predict(query.take(np.arange(1)))
    np.testing.assert_allclose(one, prediction[:1], atol=1e-4)


def test_scores_of_rows_left_out_are_those_of_models_without_them():
    from crosstune.floors.multirocket_hydra import _left_out

    rng = np.random.default_rng(0)
    z, y, alpha = rng.normal(size=(12, 30)), rng.normal(size=(12, 2)), 0.7
    found = _left_out(z, y, alpha)
    for row in range(12):
        rest = np.arange(12) != row
        centred = z[rest] - z[rest].mean(axis=0)
        weights = np.linalg.solve(
            centred.T @ centred + alpha * np.eye(30), centred.T @ (y[rest] - y[rest].mean(axis=0))
        )
        expected = (z[row] - z[rest].mean(axis=0)) @ weights + y[rest].mean(axis=0)
        np.testing.assert_allclose(found[row], expected, rtol=1e-8)


def test_counts_are_scaled_as_in_aeon():
    hydra = pytest.importorskip("aeon.classification.convolution_based._hydra")
    from crosstune.floors.multirocket_hydra import SparseScaler

    counts = np.random.default_rng(0).poisson(0.6, size=(40, 9)).astype(np.float32)
    witness = hydra._SparseScaler()
    witness.fit(torch.tensor(counts[:30]))
    expected = witness.transform(torch.tensor(counts[30:])).numpy()
    np.testing.assert_allclose(SparseScaler(counts[:30])(counts[30:]), expected, rtol=1e-4, atol=1e-5)


# -- all three ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["multirocket-hydra", "catboost"])
def test_a_missing_extra_is_said_with_the_command(name):
    absent = replace(FLOORS[name], requires="no_such_package")
    made = data("classification", "table" if name == "catboost" else "series", 8)
    assert absent.unfit(made) == "needs no_such_package: pip install 'crosstune[floors]'"
    other = data("classification", "grid", 8)
    assert FLOORS[name].unfit(other) == "not offered for data of modality grid"


def test_the_network_runs_in_the_child_within_its_limit():
    train, query = halves(waves(80))
    result = run_floors(train, {"validation": query}, ("cnn-1d",), seed=0, planned={"cnn-1d": 0.5})["cnn-1d"]
    assert (result.status, result.planned) == ("ok", 0.5)
    here = run_floors(train, {"validation": query}, ("cnn-1d",), seed=0, planned={"cnn-1d": 0.5}, in_process=True)
    np.testing.assert_array_equal(result.predictions["validation"], here["cnn-1d"].predictions["validation"])
