"""Metrics that make one row of the rows of a unit: the windows of a recording, the crops of a clip."""

import numpy as np
import pytest
from sklearn import metrics as sk

from crosstune.errors import DataError
from crosstune.metrics import all_metrics, get_metric
from crosstune.metrics.bootstrap import interval, paired_difference
from crosstune.metrics.classification import Error, MacroF1
from crosstune.metrics.multilabel import OneMinusMap
from crosstune.metrics.units import pool

from .cases import case, case_for


class Voted(MacroF1):
    name, grouped, pooling = "voted", True, "votes"


class Averaged(Error):
    name, grouped = "averaged", True


class OfLogits(OneMinusMap):
    name, grouped, pooling = "of-logits", True, "logits"


def windows(seed=0, units=12, classes=3):
    """Predictions of windows and the class of their unit, in shuffled order."""
    rng = np.random.default_rng(seed)
    number = np.repeat(rng.permutation(units) * 10, rng.integers(1, 7, units))
    rng.shuffle(number)
    target = number // 10 % classes
    p, _ = case("classification", len(number), seed, classes)
    p = 0.7 * p + 0.3 * np.eye(classes)[target]
    return p, target, number


def test_votes_are_the_most_common_class_of_each_unit():
    p, y, units = windows()
    numbers = np.unique(units)
    predicted = [np.bincount(p[units == u].argmax(1)).argmax() for u in numbers]
    true = [y[units == u][0] for u in numbers]
    assert Voted().score(p, y, units) == pytest.approx(sk.f1_score(true, predicted, average="macro"), abs=1e-12)
    assert Voted().score(p, y, units) != pytest.approx(Voted().score(p, y))


def test_probabilities_are_averaged():
    p, y, units = windows()
    numbers = np.unique(units)
    wrong = [p[units == u].mean(0).argmax() != y[units == u][0] for u in numbers]
    assert Averaged().score(p, y, units) == pytest.approx(np.mean(wrong))
    assert Averaged().per_sample(p, y, units).tolist() == wrong


def test_logits_of_labels_and_of_classes_are_averaged():
    rng = np.random.default_rng(1)
    z, units = rng.normal(size=(30, 4)), np.arange(30) // 3
    labels = np.repeat(rng.integers(0, 2, (10, 4)).astype(float), 3, axis=0)
    mean = z.reshape(10, 3, 4).mean(axis=1)
    ours, _ = pool(1 / (1 + np.exp(-z)), labels, units, "logits")
    np.testing.assert_allclose(ours, 1 / (1 + np.exp(-mean)), rtol=1e-12)
    expected = 1 - sk.average_precision_score(labels[::3], mean)
    assert OfLogits().score(1 / (1 + np.exp(-z)), labels, units) == pytest.approx(expected, abs=1e-12)
    softmax = lambda v: np.exp(v) / np.exp(v).sum(axis=1, keepdims=True)  # noqa: E731
    ours, _ = pool(softmax(z), np.arange(30) // 3 % 4, units, "logits")
    np.testing.assert_allclose(ours, softmax(mean), rtol=1e-12)


def test_votes_of_positions_keep_their_shape():
    p, y = case("segmentation", 6)
    y[:] = y[0]
    ours, target = pool(p, y, np.array([4, 4, 4, 2, 2, 2]), "votes")
    assert ours.shape == (2, *p.shape[1:])
    np.testing.assert_array_equal(target, y[:2])
    np.testing.assert_allclose(ours[1, 2], (p[:3].argmax(1) == 2).mean(0))


@pytest.mark.parametrize("metric", [Voted(), Averaged()])
def test_a_unit_may_be_spread_over_batches(metric):
    p, y, units = windows()
    accumulator = metric.start()
    for rows in np.array_split(np.arange(len(p)), 7):
        accumulator.update(p[rows], y[rows], units[rows])
    assert accumulator.compute() == pytest.approx(metric.score(p, y, units), abs=1e-12)
    with pytest.raises(DataError, match="some batches have units and others have none"):
        accumulator.update(p, y)


@pytest.mark.parametrize("name", all_metrics())
def test_other_metrics_ignore_units(name):
    metric = get_metric(name)
    if metric.grouped or metric.kinds[0] == "segmentation":
        return
    prediction, target = case_for(metric, metric.kinds[0], 30)
    assert metric.score(prediction, target, np.arange(30) // 5) == metric.score(prediction, target)


def test_intervals_resample_units():
    """Rows that repeat their unit say nothing new: the interval is that of the units."""
    p, y = case("classification", 20)
    units = np.arange(20) + 7
    repeated = [np.repeat(a, 9, axis=0) for a in (p, y, units)]
    alone = interval(Averaged(), p, y, seed=3)
    assert interval(Averaged(), *repeated, seed=3) == alone
    rows = interval(Averaged(), *repeated[:2], seed=3)
    assert rows[1] - rows[0] < 0.6 * (alone[1] - alone[0])
    worse = np.roll(p, 1, axis=1)
    pair = paired_difference(Voted(), repeated[0], np.repeat(worse, 9, axis=0), *repeated[1:], seed=0)
    assert pair.rows == 20
    assert pair.difference == pytest.approx(Voted().error(Voted().score(p, y)) - Voted().error(Voted().score(worse, y)))


def test_rows_of_a_unit_have_one_target():
    p, y, units = windows()
    y[np.flatnonzero(units == 50)[-1]] += 1
    with pytest.raises(DataError, match=r"unit 50: row \d+ has another target than row \d+"):
        Voted().score(p, y % 3, units)
    with pytest.raises(DataError, match=r"not one integer for each of \d+ rows"):
        Voted().score(p, y % 3, units[1:])
    with pytest.raises(DataError, match="not one integer for each"):
        Averaged().score(p, y % 3, units.astype(float))
