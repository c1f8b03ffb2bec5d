"""Any partition of the rows into batches gives the same number, for every metric that discovery finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosstune.metrics import MeanMetric, all_metrics, default_metric

from .cases import case, case_for

CASES = [pytest.param(m, kind, id=f"{name}-{kind}") for name, m in all_metrics().items() for kind in m.kinds]


def batched(metric, prediction, target, cuts, order):
    accumulator = metric.start()
    for rows in np.split(order, sorted(cuts)):
        accumulator.update(prediction[rows], target[rows])
    return accumulator.compute()


@pytest.mark.parametrize(("metric", "kind"), CASES)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), rows=st.integers(6, 40), seed=st.integers(0, 10_000))
def test_any_partition_gives_the_same_number(metric, kind, data, rows, seed):
    prediction, target = case_for(metric, kind, rows, seed)
    cuts = data.draw(st.lists(st.integers(0, rows), max_size=rows))
    order = np.arange(rows) if metric.ordered else np.array(data.draw(st.permutations(range(rows))))
    whole = metric.score(prediction, target)
    assert batched(metric, prediction, target, cuts, order) == pytest.approx(whole, rel=1e-12, abs=1e-12)


class AveragedOverBatches:
    """The smallest wrong accumulator: the mean of the batches' values."""

    def __init__(self, metric):
        self.metric, self.values = metric, []

    def update(self, prediction, target, units=None):
        if len(prediction):
            self.values.append(self.metric.score(prediction, target))

    def compute(self):
        return float(np.mean(self.values))


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "dense", "segmentation"])
def test_the_check_rejects_averaging_over_batches(kind, monkeypatch):
    metric = default_metric(kind)
    prediction, target = case(kind, 25)
    monkeypatch.setattr(type(metric), "start", lambda self: AveragedOverBatches(default_metric(kind)))
    monkeypatch.setattr(type(metric), "score", lambda self, p, t: self.finish(*self.keep(*self.check(p, t))))
    whole = metric.score(prediction, target)
    assert batched(metric, prediction, target, [7, 18], np.arange(25)) != pytest.approx(whole, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("metric", "kind"), CASES)
def test_contributions_average_to_the_metric(metric, kind):
    prediction, target = case_for(metric, kind, 30)
    contributions = metric.per_sample(prediction, target)
    assert (contributions is not None) == isinstance(metric, MeanMetric)
    if contributions is not None:
        assert contributions.shape == (30,)
        assert contributions.mean() == pytest.approx(metric.score(prediction, target), rel=1e-13)


def test_sums_do_not_lose_small_contributions():
    target = np.zeros((1001, 1))
    prediction = np.full((1001, 1), 1e-3)
    prediction[0] = 1e13
    exact = (1e13 + 1000 * 1e-3) / 1001
    assert all_metrics()["mae"].score(prediction, target) == pytest.approx(exact, rel=1e-16)
