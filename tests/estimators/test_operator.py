"""Fields to fields."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from tests.estimators.common import QUICK

from crosstune import CrossModalOperator
from crosstune.errors import DataError, TaskError


def waves(n: int = 120, points: int = 32) -> np.ndarray:
    """(n, 1, points): random sums of four modes."""
    rng = np.random.default_rng(0)
    x = np.arange(points) / points
    k = np.arange(1, 5)[:, None]
    return (rng.normal(size=(n, 4, 1)) * np.cos(2 * np.pi * (k * x + rng.random((n, 4, 1)))).reshape(n, 4, points)).sum(
        1, keepdims=True
    )


def test_a_shift_is_linear_and_so_nearly_exact():
    X = waves()
    y = np.roll(X, 5, axis=2)
    model = CrossModalOperator(**QUICK).fit(X[:90], y[:90])
    assert 1 - model.score(X[90:], y[90:]) < 1e-3
    # the linear part is what does it
    without = CrossModalOperator(**QUICK, settings={"linear_part": False}).fit(X[:90], y[:90])
    assert 1 - without.score(X[90:], y[90:]) > 0.02


def test_score_is_one_minus_the_mean_relative_error():
    X = waves()
    y = np.cumsum(X, axis=2) ** 2 + 1
    model = CrossModalOperator(**QUICK).fit(X, y)
    p = model.predict(X)
    assert p.shape == y.shape
    by_hand = np.mean([np.sqrt(((a - b) ** 2).sum()) / np.sqrt((b**2).sum()) for a, b in zip(p, y)])
    assert model.score(X, y) == pytest.approx(1 - by_hand, abs=1e-12)
    with pytest.raises(DataError, match="zero everywhere"):
        model.score(X, np.zeros_like(y))


def test_bare_signals_and_other_resolutions():
    X = waves()[:, 0]
    model = CrossModalOperator(**QUICK).fit(X, X[:, ::2])
    assert model.predict(X[:3]).shape == (3, 16)
    assert model.score(X, X[:, ::2]) > 0.99
    assert cross_val_score(CrossModalOperator(**QUICK), X, X[:, ::2], cv=2).mean() > 0.9


def test_planes_with_several_channels():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2, 8, 8))
    y = X.sum(1, keepdims=True)
    model = CrossModalOperator(**QUICK).fit(X, y)
    assert model.predict(X).shape == (40, 1, 8, 8)


def test_what_is_no_pair_of_fields():
    X = waves(20)
    for wrong in (np.zeros(20), np.zeros((20, 1, 32, 32))):
        with pytest.raises(TaskError, match="no pair of fields"):
            CrossModalOperator(**QUICK).fit(X, wrong)
    with pytest.raises(TaskError, match="no pair of fields"):
        CrossModalOperator(**QUICK).fit(np.ones((5, 1, 4, 4, 4)), np.ones((5, 1, 4, 4, 4)))
    with pytest.raises(TaskError, match="no pair of fields"):
        CrossModalOperator(**QUICK).fit(X, X, lengths=np.full(20, 16))
