"""Scores of features against computations of another kind."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from crosstune.errors import DataError
from crosstune.experiment.ranking import _correlations, h_score, log_evidence, rank, render
from crosstune.records import Dataset


def marginal(features: np.ndarray, y: np.ndarray, alpha: float, beta: float) -> float:
    """log p(y | alpha, beta) of the Bayesian linear model, from the density of y itself."""
    cov = np.eye(len(y)) / beta + features @ features.T / alpha
    return float(multivariate_normal(np.zeros(len(y)), cov).logpdf(y))


def best_evidence(features: np.ndarray, y: np.ndarray) -> float:
    """The maximum over both precisions, by a general optimiser."""
    found = [
        minimize(lambda p: -marginal(features, y, *np.exp(p)), start, method="Nelder-Mead",
                 options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000}).fun
        for start in ([0.0, 0.0], [2.0, 2.0])
    ]  # fmt: skip
    return -min(found)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (12, 20)])
def test_log_evidence_is_the_maximum_of_the_marginal_likelihood(n: int, d: int) -> None:
    rng = np.random.default_rng(n)
    features = rng.standard_normal((n, d)) * np.linspace(0.5, 2, d)
    weights = rng.standard_normal((d, 2))
    y = features @ weights + 0.7 * rng.standard_normal((n, 2))
    expected = np.mean([best_evidence(features, column) for column in y.T]) / n
    assert log_evidence(features, y, iterations=2000) == pytest.approx(expected, abs=2e-3)
    # fifty iterations are what a ranking takes: hardly less, never more
    assert expected - 0.02 < log_evidence(features, y) <= expected + 1e-6


def test_log_evidence_prefers_features_that_know_the_target() -> None:
    rng = np.random.default_rng(0)
    informed = rng.standard_normal((100, 8))
    y = np.eye(2)[(informed[:, 0] > 0).astype(int)]
    assert log_evidence(informed, y) > log_evidence(rng.standard_normal((100, 8)), y)


def test_h_score_against_the_eigenvalues_of_discriminant_analysis() -> None:
    """tr(T^-1 B) is the sum of eta / (1 + eta) over the eigenvalues eta of W^-1 B; so many rows hardly shrink."""
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 3
    features = rng.standard_normal((4000, 4)) + np.eye(3, 4)[labels] * 2
    centred = features - features.mean(0)
    model = LinearDiscriminantAnalysis(solver="eigen").fit(features, labels)
    total = np.cov(features.T, bias=True)
    within = sum(np.cov(features[labels == k].T, bias=True) * np.mean(labels == k) for k in range(3))
    eta = np.linalg.eigvals(np.linalg.solve(within, total - within)).real
    assert h_score(centred, labels) == pytest.approx(float((eta / (1 + eta)).sum()), rel=5e-3)
    # the same eigenvalues in scikit-learn's words: shares of explained variance
    assert np.sort(eta)[::-1][:2] / eta.sum() == pytest.approx(model.explained_variance_ratio_, abs=1e-6)


def test_h_score_in_closed_form_and_its_range() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(300) % 3
    noise = rng.standard_normal((300, 5))
    assert 0 <= h_score(noise, labels) < 0.2
    separated = noise * 0.01 + 5 * np.eye(3, 5)[labels]
    assert h_score(separated, labels) == pytest.approx(2, rel=0.02)  # the rank of the class means, but for shrinkage
    # one feature: the share of variance that lies between the classes, times what shrinkage leaves of it (all)
    one = (labels[:, None] + 0.1 * noise[:, :1]).astype(float)
    between = np.var([one[labels == k].mean() for k in range(3)])
    shrunk = LedoitWolf(assume_centered=True).fit(one - one.mean()).covariance_[0, 0]
    assert h_score(one, labels) == pytest.approx(between / shrunk, rel=1e-9)
    assert h_score(one + 17.0, labels) == pytest.approx(h_score(one, labels), rel=1e-9)


def test_correlation_counts_better_as_better() -> None:
    entries = [
        {"name": n, "bound": b, "neg_leep": b, "logme": -b, "h_score": -b}
        for n, b in (("a", 1.0), ("b", 2.0), ("c", 3.0))
    ]
    perfect = _correlations(entries, {"a": 0.1, "b": 0.2, "c": 0.3})
    assert perfect == {"bound": 1.0, "neg_leep": 1.0, "logme": 1.0, "h_score": 1.0}
    assert set(_correlations(entries, {"a": 0.3, "b": 0.2, "c": 0.1}).values()) == {-1.0}
    assert _correlations(entries, {"a": 0.3, "b": 0.2}) == {}  # two points say nothing


def test_rank_is_deterministic_and_needs_a_target(waves: Dataset) -> None:
    first = rank(waves, ["twin-bert"])
    assert first == rank(waves, ["twin-bert"])
    assert first["rows"] == 36  # the training part; the rest is not looked at
    assert "Kendall" not in render(first)
    with pytest.raises(DataError, match="--target"):
        rank(Dataset(X=waves.X), ["twin-bert"])
