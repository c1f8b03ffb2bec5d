import numpy as np
import pytest
from scipy import stats

from crosstune.errors import DataError
from crosstune.metrics import all_metrics, get_metric
from crosstune.metrics.bootstrap import interval, paired_difference

from .cases import case, case_for, outputs_for, truth

CASES = [pytest.param(m, kind, id=f"{name}-{kind}") for name, m in all_metrics().items() for kind in m.kinds]


@pytest.mark.parametrize(("metric", "kind"), CASES)
def test_interval_holds_the_value_and_repeats(metric, kind):
    prediction, target = case_for(metric, kind, 60)
    low, high = interval(metric, prediction, target, n=200, seed=1)
    assert low < metric.score(prediction, target) < high
    assert (low, high) == interval(metric, prediction, target, n=200, seed=1)
    assert (low, high) != interval(metric, prediction, target, n=200, seed=2)


@pytest.mark.parametrize(("metric", "kind"), CASES)
def test_a_model_compared_with_itself_is_a_tie(metric, kind):
    prediction, target = case_for(metric, kind, 40)
    result = paired_difference(metric, prediction, prediction, target, n=100, seed=0)
    assert (result.difference, result.low, result.high, result.p_a_better) == (0, 0, 0, 0.5)
    assert not result.decided


@pytest.mark.parametrize(("metric", "kind"), CASES)
def test_the_better_model_has_the_smaller_error(metric, kind):
    prediction, target = case_for(metric, kind, 60)
    better = 0.5 * prediction + 0.5 * truth(kind, target, outputs_for(metric))
    result = paired_difference(metric, better, prediction, target, n=200, seed=0)
    swapped = paired_difference(metric, prediction, better, target, n=200, seed=0)
    assert result.difference < 0
    assert result.p_a_better > 0.9
    assert (swapped.low, swapped.high) == pytest.approx((-result.high, -result.low))
    assert result.rows == 60


def test_paired_difference_of_means_agrees_with_scipy():
    a, target = case("regression", 200, outputs=1)
    b = target + 1.2 * np.random.default_rng(5).normal(size=target.shape)
    ours = paired_difference(get_metric("mae"), a, b, target, n=20_000, seed=0)
    gaps = np.abs(a - target)[:, 0] - np.abs(b - target)[:, 0]
    theirs = stats.bootstrap((gaps,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert ours.difference == pytest.approx(gaps.mean(), rel=1e-12)
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(0)
    target = np.zeros((300, 1))
    hardness = rng.gamma(1.0, size=(300, 1))
    a, b = hardness, hardness + 0.1 + 0.01 * rng.normal(size=(300, 1))
    metric = get_metric("mae")
    paired = paired_difference(metric, a, b, target, seed=0)
    apart = interval(metric, a, target, seed=0)
    assert paired.decided
    assert paired.high - paired.low < 0.1 * (apart[1] - apart[0])


def test_large_splits_get_fewer_resamples():
    prediction, target = case("regression", 400_000, outputs=1)
    assert paired_difference(get_metric("mae"), prediction, prediction, target, seed=0).resamples == 200


def test_resamples_of_one_class_are_left_out():
    prediction, target = case("classification", 4, outputs=2)
    result = paired_difference(get_metric("1-auroc"), prediction, prediction, target, n=500, seed=0)
    assert 300 < result.resamples < 500
    with pytest.raises(DataError, match="undefined in every resample"):
        interval(get_metric("1-auroc"), prediction, np.zeros(4, int), seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mae", "rmse"])
def test_coverage(name):
    """The 90 % interval holds the population value in about 90 % of simulated data sets of 100 rows."""
    metric = get_metric(name)
    truth = {"mae": np.sqrt(2 / np.pi), "rmse": 1.0}[name]
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(1000):
        low, high = interval(metric, rng.normal(size=(100, 1)), np.zeros((100, 1)), n=400, seed=trial, level=0.9)
        hits += low <= truth <= high
    assert 0.85 < hits / 1000 < 0.93
