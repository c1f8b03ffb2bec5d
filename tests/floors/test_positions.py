"""Floors for class maps, and for fields with gaps, against answers known beforehand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from crosstune.floors import Allowance, all_floors
from crosstune.floors.fields import mean_field
from crosstune.floors.maps import best_neighbours, frequencies, shrink_maps, stretch_codes, votes
from crosstune.floors.ridge import Ridge
from crosstune.floors.window import Windows
from crosstune.metrics import default_metric
from crosstune.records import Dataset

from .cases import data, halves

ERROR = default_metric("segmentation")
MOTIF = np.array([1.0, 2.0, 3.0, 2.0, 1.0])


def predict(name, train, query, seed=0, seconds=60.0):
    floor = all_floors()[name].build(Allowance(seconds))
    floor.fit(train, seed)
    return floor.predict(replace(query, y=None))


def motifs(rows=120, length=64, seed=0):
    """Series of noise with a motif at a random place, whose samples are the second class."""
    rng = np.random.default_rng(seed)
    X = 0.4 * rng.normal(size=(rows, 1, length)).astype(np.float32)
    y = np.zeros((rows, length), np.int64)
    for row, at in enumerate(rng.integers(0, length - 5, rows)):
        X[row, 0, at : at + 5] += MOTIF
        y[row, at : at + 5] = 1
    return Dataset(X, y, "segmentation", ("noise", "motif"))


def test_majority_is_the_frequency_at_each_position():
    y = np.array([[0, 1, -1, 2], [0, 1, -1, 2], [0, 0, -1, 2]])
    found = frequencies(y, 3)
    overall = np.array([4, 2, 3]) / 9
    expected = np.stack([[3, 0, 0], [1, 2, 0], [0, 0, 0], [0, 0, 3]]).T + overall[:, None]
    np.testing.assert_allclose(found, expected / expected.sum(axis=0))
    made = data("segmentation", "series")
    np.testing.assert_allclose(predict("majority", made, made)[7], frequencies(made.y, 2))


@pytest.mark.parametrize(("name", "bound"), [("window", 0.03), ("window-boosting", 0.03)])
def test_a_window_finds_a_motif_and_nothing_else_does(name, bound):
    train, query = halves(motifs())
    share = (query.y == 1).mean()
    assert ERROR.score(predict("majority", train, query), query.y) == pytest.approx(share)
    assert ERROR.score(predict(name, train, query), query.y) < bound < 0.6 * share


def test_nearest_answers_with_the_map_of_the_twin():
    made = motifs(rows=40)
    query = replace(made, X=made.X + np.float32(1e-4))
    floor = all_floors()["nearest"].build(Allowance())
    floor.fit(made.take(np.repeat(np.arange(40), 2)), 0)  # twins, so that one neighbour is best when left out
    assert floor.note == "k = 1"
    np.testing.assert_array_equal(floor.predict(query).argmax(axis=1), made.y)


def test_votes_count_what_neighbours_know():
    codes = np.array([[0, -1, 1, -1], [0, 1, 1, -1], [1, 1, -1, -1]])
    prior = np.array([[0.9, 0.9, 0.9, 0.2], [0.1, 0.1, 0.1, 0.8]])
    found = votes(codes, np.array([[0, 1, 2]]), prior)[0]
    np.testing.assert_allclose(found[1], [1 / 3, 1, 1, 0.8], atol=1e-3)
    neighbours = np.array([[1, 2], [0, 2], [1, 0]])
    assert best_neighbours(codes, neighbours, [1, 2], prior) == 2


def test_stretched_maps_shrink_back():
    rng = np.random.default_rng(0)
    codes, lengths = rng.integers(0, 3, (6, 12)), np.array([12, 6, 4, 3, 12, 1])
    stretched = stretch_codes(codes, lengths)
    assert np.array_equal(stretched[1], np.repeat(codes[1, :6], 2))
    back = shrink_maps(np.moveaxis(np.eye(3)[stretched], -1, 1), lengths, np.array([0.2, 0.3, 0.5]))
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(back[row, :, :length].argmax(axis=0), codes[row, :length])
        np.testing.assert_allclose(back[row, :, length:], np.array([[0.2], [0.3], [0.5]]) * np.ones(12 - length))


@pytest.mark.parametrize("modality", ["series", "grid", "volume"])
def test_windows_are_cut_where_they_should_be(modality):
    made = data("segmentation", modality, rows=5)
    windows = Windows(made, 30)
    features = windows.at(windows.prepared(made), np.array([2, 4]), np.array([0, 7]))
    assert features.shape == (2, windows.width)
    side, r = 2 * windows.radius + 1, windows.radius
    z = (made.X - windows.mean.reshape(1, -1, *[1] * (made.X.ndim - 2))) / windows.scale.reshape(
        1, -1, *[1] * (made.X.ndim - 2)
    )
    padded = np.pad(z, [(0, 0), (0, 0)] + [(r, r)] * (made.X.ndim - 2))
    place = np.unravel_index(7, made.y.shape[1:])
    expected = padded[(4, slice(None), *(slice(p, p + side) for p in place))].ravel()
    np.testing.assert_allclose(features[1, : expected.size], expected, rtol=1e-5, atol=1e-6)


def test_a_target_on_a_coarser_grid_is_looked_up_where_it_lies():
    fine = motifs(rows=200)
    coarse = replace(fine, y=fine.y.reshape(200, 16, 4).max(axis=2))
    train, query = halves(coarse)
    assert ERROR.score(predict("window", train, query), query.y) < 0.75 * (query.y == 1).mean()


def test_the_mean_field_leaves_out_what_is_unknown():
    y = np.array([[[1.0, np.nan, np.nan]], [[3.0, 5.0, np.nan]]])
    np.testing.assert_allclose(mean_field(y), [[2, 5, 3]])


def test_nearest_fills_gaps_from_the_next_neighbours():
    X = np.array([[0.0], [0.1], [5.0]], np.float32)[:, :, None] * np.ones((1, 1, 3), np.float32)
    y = np.array([[[np.nan, 2, np.nan]], [[1, 9, np.nan]], [[8, 8, np.nan]]])
    found = predict("nearest", Dataset(X, y, "dense"), Dataset(X[:1] - 0.01, kind="dense"))
    np.testing.assert_allclose(found[0, 0], [1, 2, mean_field(y)[0, 2]])


def test_linear_finds_an_operator_from_fields_with_gaps():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 1, 40)).astype(np.float32)
    full = np.roll(X, 3, axis=2) + 2.0
    y = np.where(rng.random(X.shape) < 0.25, np.nan, full)
    found = predict("linear", Dataset(X[:120], y[:120], "dense"), Dataset(X[120:], kind="dense"))
    # filled with means instead, the target is mostly noise: 0.3
    assert np.sqrt(np.mean((found - full[120:]) ** 2)) < 0.02


def test_ridge_with_gaps_minimises_the_error_of_what_is_known():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 5))
    full = z @ rng.normal(size=(5, 3)) + rng.normal(size=3) + 0.3 * rng.normal(size=(60, 3))
    y = np.where(rng.random(full.shape) < 0.3, np.nan, full)
    model = Ridge().fit(z, y, 0)
    centred = z - z.mean(axis=0)

    def penalised(w):
        w = w.reshape(6, 3)
        return np.nansum((y - centred @ w[:5] - w[5]) ** 2) + model.alpha * (w[:5] ** 2).sum()

    best = minimize(penalised, np.zeros(18), tol=1e-14).x.reshape(6, 3)
    np.testing.assert_allclose(model.predict(z), centred @ best[:5] + best[5], atol=1e-3)
    filled = Ridge().fit(z, np.where(np.isnan(y), np.nanmean(y, axis=0), y), 0).predict(z)
    assert np.abs(filled - full).mean() > 1.5 * np.abs(model.predict(z) - full).mean()
