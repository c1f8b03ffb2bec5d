"""Floors against answers known beforehand."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import RidgeCV

from crosstune.floors import Allowance, all_floors
from crosstune.floors.common import affordable
from crosstune.floors.fields import coarsened, fill_missing, shrink, stretch
from crosstune.floors.logistic import Logistic
from crosstune.floors.ridge import Ridge
from crosstune.metrics import default_metric
from crosstune.records import Dataset

from .cases import data, halves


def predict(name, train, query, seed=0, seconds=60.0):
    floor = all_floors()[name].build(Allowance(seconds))
    floor.fit(train, seed)
    return floor.predict(replace(query, y=None))


def test_majority_is_the_prior():
    train, query = halves(data("classification", "table"))
    expected = np.bincount(train.y, minlength=3) / len(train)
    np.testing.assert_allclose(predict("majority", train, query), np.tile(expected, (len(query), 1)))
    for kind in ("multilabel", "regression", "dense"):
        train, query = halves(data(kind, "series"))
        np.testing.assert_allclose(predict("majority", train, query)[7], train.y.mean(axis=0), rtol=1e-5)


def test_mean_scores_one_in_nrmse():
    train, _ = halves(data("regression", "table"))
    assert default_metric("regression").score(predict("majority", train, train), train.y) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", ["classification", "regression", "dense"])
def test_nearest_solves_a_lookup(kind):
    """Rows of random targets, each seen twice: the value of the twin is the answer."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2, 10)).astype(np.float32)
    made = data(kind, "series", rows=40)
    y = rng.permutation(made.y)
    train = replace(made, X=np.concatenate([X, X]), y=np.concatenate([y, y]))
    query = replace(made, X=X + np.float32(1e-4), y=y)
    np.testing.assert_allclose(predict("nearest", train, query), np.eye(3)[y] if kind == "classification" else y)


def test_nearest_smooths_where_the_target_is_noisy():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(600, 1)).astype(np.float32)
    y = (np.sin(3 * X) + rng.normal(size=X.shape)).astype(np.float32)
    floor = all_floors()["nearest"].build(Allowance())
    floor.fit(Dataset(X, y, "regression"), 0)
    assert floor.note == "k = 25"
    error = floor.predict(Dataset(X)) - np.sin(3 * X)
    assert np.sqrt(np.mean(error**2)) < 0.35  # one neighbour: 1.0


@pytest.mark.parametrize("shape", [(1, 48), (1, 6, 8)])
def test_linear_solves_a_linear_operator(shape):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, *shape)).astype(np.float32)
    operator = rng.normal(size=(48, 48))
    y = (X.reshape(120, 48).astype(np.float64) @ operator + 2).reshape(120, *shape)
    train, query = halves(Dataset(X, y, "dense"))
    assert default_metric("dense").score(predict("linear", train, query), query.y) < 1e-6
    assert default_metric("dense").score(predict("nearest", train, query), query.y) > 0.5


def test_linear_is_logistic_regression_of_bayes_optimal_quality():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3))
    p = 1 / (1 + np.exp(-(2 * X[:, 0] - X[:, 1] + 0.5)))
    y = (rng.random(4000) < p).astype(np.int64)
    train, query = halves(Dataset(X.astype(np.float32), y, "classification", ("no", "yes")))
    np.testing.assert_allclose(predict("linear", train, query)[:, 1], p[2000:], atol=0.06)
    labels = replace(train, kind="multilabel", y=np.stack([train.y, 1 - train.y], axis=1), classes=None)
    both = predict("linear", labels, query)
    np.testing.assert_allclose(both, np.stack([p, 1 - p], axis=1)[2000:], atol=0.06)


def test_boosting_beats_linear_on_exclusive_or_and_the_prior_on_breast_cancer():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 4)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
    train, query = halves(Dataset(X, y, "classification", ("same", "other")))
    error = default_metric("classification")
    assert error.score(predict("boosting", train, query), query.y) < 0.12
    assert error.score(predict("linear", train, query), query.y) > 0.35
    bunch = load_breast_cancer()
    order = rng.permutation(569)
    made = Dataset(bunch.data[order].astype(np.float32), bunch.target[order], "classification", ("malign", "benign"))
    train, query = halves(made)
    assert error.score(predict("majority", train, query), query.y) > 0.3
    assert error.score(predict("boosting", train, query), query.y) < 0.08
    assert error.score(predict("linear", train, query), query.y) < 0.06


def test_boosting_uses_categories_and_gaps_of_tables():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 12, size=600)
    gap = rng.random(600) < 0.3
    y = (np.isin(codes, [1, 4, 5, 9, 11]) ^ gap).astype(np.int64)
    X = np.stack([codes, np.where(gap, np.nan, 1.0)], axis=1).astype(np.float32)
    made = Dataset(X, y, "classification", ("a", "b"), categories={0: tuple("abcdefghijkl")})
    train, query = halves(made)
    assert default_metric("classification").score(predict("boosting", train, query), query.y) < 0.02


def test_copy_input():
    made = data("dense", "grid", rows=6)
    made = replace(made, y=made.X + 3)
    holes = made.X.copy()
    holes[0, 0, 0, 0] = np.nan
    answer = predict("copy-input", made, replace(made, X=holes))
    np.testing.assert_allclose(answer[1:], made.X[1:])
    assert answer[0, 0, 0, 0] == pytest.approx(made.y.mean(), rel=1e-5)


def test_copy_input_takes_the_closest_channel_where_there_are_others():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3, 16)).astype(np.float32)
    y = np.stack([X[:, 2] + 0.1, 0.9 * X[:, 0]], axis=1)
    y[0, 1, 4] = np.nan
    made = Dataset(X, y, "dense")
    floor = all_floors()["copy-input"].build(Allowance())
    floor.fit(made, 0)
    assert floor.note == "channels: target 0 from input 2, target 1 from input 0"
    np.testing.assert_allclose(floor.predict(made), X[:, [2, 0]])


def test_the_mean_of_the_input_is_exact_where_everything_has_spread_evenly():
    """Heat on a circle after a long time; of ragged series the valid part alone counts."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 2, 20)).astype(np.float32)
    y = np.repeat(X.mean(axis=2, keepdims=True), 20, axis=2)
    made = Dataset(X, y, "dense")
    np.testing.assert_allclose(predict("input-mean", made, made), y, atol=1e-6)
    holes = X.copy()
    holes[0, 0, :10] = np.nan
    holes[1] = np.nan
    answer = predict("input-mean", made, replace(made, X=holes))
    np.testing.assert_allclose(answer[0, 0], X[0, 0, 10:].mean(), rtol=1e-5)
    np.testing.assert_allclose(answer[1], np.broadcast_to(y.mean(axis=(0, 2))[:, None], (2, 20)), atol=1e-6)
    lengths = np.full(12, 20)
    lengths[2] = 5
    X[2, :, 5:] = 0
    answer = predict("input-mean", replace(made, lengths=lengths), replace(made, X=X, lengths=lengths))
    np.testing.assert_allclose(answer[2, :, :5], np.broadcast_to(X[2, :, :5].mean(axis=1)[:, None], (2, 5)), rtol=1e-5)
    assert (answer[2, :, 5:] == 0).all()


def test_unknown_positions_of_fields_take_no_part():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1, 6)).astype(np.float32)
    y = (X @ rng.normal(size=(6, 6)))[:, [0, 0]] + np.array([3, -2])[:, None]
    holed = y.copy()
    holed[rng.random(y.shape) < 0.05] = np.nan
    train = Dataset(X, holed, "dense")
    np.testing.assert_allclose(predict("majority", train, train)[0], np.nanmean(holed, axis=0), atol=1e-12)
    relative = np.linalg.norm(predict("linear", train, train) - y) / np.linalg.norm(y)
    assert relative < 0.1  # a hole filled with anything but its mean would spoil the fit
    near = predict("nearest", train, train)
    np.testing.assert_allclose(near[np.isfinite(holed)], holed[np.isfinite(holed)])
    assert np.isfinite(near).all()


@pytest.mark.parametrize("shape", [(60, 8), (30, 50)])
def test_ridge_equals_scikit_learn(shape):
    rng = np.random.default_rng(0)
    z = rng.normal(size=shape)
    y = z @ rng.normal(size=(shape[1], 3)) + rng.normal(size=(shape[0], 3))
    y /= y.std(axis=0)
    ours = Ridge().fit(z, y, 0)
    theirs = RidgeCV([ours.alpha], store_cv_results=True).fit(z, y)
    query = rng.normal(size=(5, shape[1]))
    np.testing.assert_allclose(ours.predict(query), theirs.predict(query), rtol=1e-8)
    np.testing.assert_allclose((ours.left_out() - y) ** 2, theirs.cv_results_[:, :, 0], atol=1e-5)


@pytest.mark.parametrize("shape", [(25, 4), (12, 30)])
def test_left_out_predictions_equal_refitting_without_the_row(shape):
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    ridge = Ridge().fit(z, y, 0)
    for i in (0, 5):
        keep = np.arange(len(z)) != i
        zc, yc = z[keep] - z[keep].mean(axis=0), y[keep] - y[keep].mean(axis=0)
        w = np.linalg.solve(zc.T @ zc + ridge.alpha * np.eye(shape[1]), zc.T @ yc)
        np.testing.assert_allclose(
            ridge.left_out()[i], (z[i] - z[keep].mean(axis=0)) @ w + y[keep].mean(axis=0), rtol=1e-6
        )


def test_ridge_shrinks_noise_and_a_sketch_of_many_outputs_agrees():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(80, 40))
    assert Ridge().fit(z, rng.normal(size=(80, 1)), 0).alpha > 10
    y = z @ rng.normal(size=(40, 200)) + 3 * rng.normal(size=(80, 200))
    exact = np.mean([Ridge().fit(z, y[:, [k]], 0).alpha for k in range(60)])
    assert Ridge().fit(z, y, 0).alpha == pytest.approx(exact, rel=1.0)


def test_rotating_wide_features_does_not_change_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 100))
    z -= z.mean(axis=0)
    codes = (z[:, 0] + 0.5 * rng.normal(size=40) > 0).astype(np.int64)
    ours = Logistic(2, 0).fit(z, codes[:, None])
    theirs = LogisticRegression(C=ours.c, max_iter=1000, tol=1e-8).fit(z, codes)
    query = rng.normal(size=(20, 100))
    np.testing.assert_allclose(ours.predict(query)[:, 0], theirs.predict_proba(query), atol=2e-3)


def test_rows_are_cut_to_what_is_affordable():
    made = data("classification", "table", rows=3000)
    kept, note = affordable(made, lambda n: n / 100, 5.0, seed=0)
    assert note == "trained on 500 of 3,000 rows to keep the time limit"
    share = np.bincount(made.y) / 3000
    np.testing.assert_allclose(np.bincount(kept.y) / 500, share, atol=0.003)
    again, _ = affordable(made, lambda n: n / 100, 5.0, seed=0)
    np.testing.assert_array_equal(kept.X, again.X)
    other, _ = affordable(made, lambda n: n / 100, 5.0, seed=1)
    assert not np.array_equal(kept.X, other.X)
    whole, silence = affordable(made, lambda n: n / 100, 30.0, seed=0)
    assert whole is made
    assert silence == ""
    assert len(affordable(made, lambda n: 1e9, 1.0, seed=0)[0]) == 64


@pytest.mark.parametrize("name", ["nearest", "linear", "boosting"])
def test_a_short_allowance_is_met_by_fewer_rows(name):
    train, query = halves(data("classification", "table", rows=4000))
    floor = all_floors()[name].build(Allowance(0.02))
    floor.fit(train, 0)
    assert "of 2,000 rows to keep the time limit" in floor.note
    assert default_metric("classification").score(floor.predict(query), query.y) < 0.4


def test_ragged_fields_are_stretched_and_shrunk_back():
    grid = np.linspace(0, 1, 30)
    lengths = np.array([7, 30, 12, 1])
    values = np.zeros((4, 1, 30))
    for i, length in enumerate(lengths):
        values[i, 0, :length] = 2 * np.linspace(0, 1, length) + i
    stretched = stretch(values, lengths)
    for i in range(3):
        np.testing.assert_allclose(stretched[i, 0], 2 * grid + i)
    np.testing.assert_allclose(shrink(stretched, lengths), values, atol=1e-12)


def test_gaps_in_series_are_interpolated():
    series = np.array([[[0.0, np.nan, 2.0, np.nan], [np.nan] * 4]])
    np.testing.assert_allclose(fill_missing(series), [[[0, 1, 2, 2], [0, 0, 0, 0]]])


@pytest.mark.slow  # compiles for up to half a minute on its first use
def test_minirocket_tells_shapes_apart_where_phase_hides_them_from_linear_models():
    pytest.importorskip("aeon")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, size=120)
    time = np.linspace(0, 1, 60)
    phase = rng.uniform(0, 2 * np.pi, size=(120, 1))
    wave = np.sin(2 * np.pi * np.where(y, 6, 4)[:, None] * time + phase)
    X = (wave + 0.3 * rng.normal(size=wave.shape))[:, None].astype(np.float32)
    train, query = halves(Dataset(X, y.astype(np.int64), "classification", ("slow", "fast")))
    error = default_metric("classification")
    prediction = predict("minirocket", train, query)
    assert error.score(prediction, query.y) < 0.05
    assert error.score(predict("linear", train, query), query.y) > 0.2
    values = Dataset(X, y[:, None].astype(np.float32) * 5, "regression")
    train, query = halves(values)
    assert default_metric("regression").score(predict("minirocket", train, query), query.y) < 0.5


def test_large_inputs_are_averaged_over_blocks():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 2, 10, 7))
    x[0, 0, :3, :3] = np.nan
    coarse = coarsened(Dataset(x), 2 * 4 * 3).X
    assert coarse.shape == (3, 2, 4, 3)
    assert np.isnan(coarse[0, 0, 0, 0])
    np.testing.assert_allclose(coarse[1, 1, 1, 1], x[1, 1, 3:6, 3:6].mean())
    np.testing.assert_allclose(coarse[2, 0, 3, 2], x[2, 0, 9:, 6:].mean())
    same = Dataset(x)
    assert coarsened(same, 140) is same


def test_averaging_ragged_series_ignores_what_lies_behind_their_end():
    x = np.ones((2, 1, 10))
    x[0, :, 5:] = 0
    coarse = coarsened(Dataset(x, lengths=np.array([5, 10])), 3)
    np.testing.assert_array_equal(coarse.lengths, [2, 3])
    np.testing.assert_array_equal(coarse.X[:, 0], [[1, 1, 0], [1, 1, 1]])
