"""Class maps through the Python API."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from tests.estimators.common import QUICK

import crosstune
from crosstune import CrossModalOperator, CrossModalSegmenter
from crosstune.errors import DataError, TaskError


def bumps(n: int = 120, points: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bump of eight samples at a random place, and where it is."""
    rng = np.random.default_rng(seed)
    X = 0.3 * rng.normal(size=(n, 1, points))
    y = np.zeros((n, points), int)
    for row, at in enumerate(rng.integers(0, points - 8, n)):
        X[row, 0, at : at + 8] += 2
        y[row, at : at + 8] = 1
    return X, y


def test_maps_of_a_series_are_learnt_and_travel(tmp_path):
    X, y = bumps()
    known = np.where(np.random.default_rng(1).random(y.shape) < 0.2, -1, y)
    model = CrossModalSegmenter(**QUICK).fit(X[:90], known[:90])
    assert model.predict(X[90:]).shape == (30, 32)
    accuracy = model.score(X[90:], y[90:])
    assert accuracy == pytest.approx((model.predict(X[90:]) == y[90:]).mean())
    assert accuracy > 0.95 > 1 - y.mean() + 0.1
    np.testing.assert_allclose(model.predict_proba(X[90:]).sum(axis=1), 1)
    counted = known[90:] >= 0
    assert model.score(X[90:], known[90:]) == pytest.approx((model.predict(X[90:]) == y[90:])[counted].mean())
    assert model.report_["metric"] == "pixel-error"
    expected = model.predict(X[90:])
    for again in (pickle.loads(pickle.dumps(model)), crosstune.load(model.save_pretrained(tmp_path / "m"))):
        assert isinstance(again, CrossModalSegmenter)
        np.testing.assert_array_equal(again.predict(X[90:]), expected)
        np.testing.assert_array_equal(again.classes_, [0, 1])
    assert clone(model).get_params()["backbone"] == "twin-bert"


def test_masks_of_names_on_bare_signals_and_images():
    X, y = bumps(60)
    names = np.array(["noise", "bump"])[y]
    names[:, 0] = ""
    model = CrossModalSegmenter(**QUICK).fit(X[:, 0], names)
    assert set(np.unique(model.predict(X[:, 0]))) <= {"bump", "noise"}
    assert model.score(X[:, 0], names) > 0.9
    with pytest.raises(TaskError, match="y holds 'dip', which the model was not fitted on"):
        model.score(X[:, 0], np.where(names == "bump", "dip", names))
    rng = np.random.default_rng(0)
    grids = rng.normal(size=(60, 2, 8, 8))
    masks = np.where(np.repeat(np.repeat(grids[:, 0, ::4, ::4] > 0, 4, axis=1), 4, axis=2), 7, 3)
    images = CrossModalSegmenter(**QUICK).fit(grids + 2 * (masks[:, None] == 7), masks)
    assert images.classes_.tolist() == [3, 7]
    assert images.predict(grids).shape == (60, 8, 8)


def test_what_is_no_pair_of_a_signal_and_its_map():
    X, y = bumps(20)
    for wrong in (y[:, 0], y[:, None, None]):
        with pytest.raises(TaskError, match="with a class at each position"):
            CrossModalSegmenter(**QUICK).fit(X, wrong)
    with pytest.raises(TaskError, match="missing everywhere in 1 of 20 rows: rows 4"):
        CrossModalSegmenter(**QUICK).fit(X, np.where(np.arange(20)[:, None] == 4, -1, y))
    with pytest.raises(DataError, match="undefined for these 20 rows"):
        CrossModalSegmenter(**QUICK).fit(X, y).score(X, np.full_like(y, -1))


def test_fields_with_unknown_points():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 1, 24))
    y = np.roll(X, 2, axis=2) + 1
    gappy = np.where(rng.random(y.shape) < 0.2, np.nan, y)
    model = CrossModalOperator(**QUICK).fit(X, gappy)
    assert model.score(X, y) > 0.98
    assert model.score(X, gappy) > 0.98
    gappy[7] = np.nan
    with pytest.raises(TaskError, match="missing everywhere in 1 of 80 rows: rows 7"):
        CrossModalOperator(**QUICK).fit(X, gappy)
