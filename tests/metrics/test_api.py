import math

import numpy as np
import pytest

from crosstune.errors import DataError, UsageError
from crosstune.metrics import all_metrics, default_metric, get_metric, metrics_for

from .cases import case, case_for, outputs_for, truth

METRICS = all_metrics()
KINDS = ("classification", "multilabel", "regression", "dense", "segmentation")


def test_defaults():
    assert [default_metric(kind).name for kind in KINDS] == ["error", "1-map", "nrmse", "nrmse-field", "pixel-error"]
    assert all(metrics_for(kind)[0] == default_metric(kind).name for kind in KINDS)


@pytest.mark.parametrize("name", METRICS)
def test_description_and_range(name):
    metric = METRICS[name]
    assert metric.summary
    assert metric.kinds
    assert metric.direction in ("lower", "higher")
    for kind in metric.kinds:
        value = metric.score(*case_for(metric, kind, 30))
        assert metric.low <= value <= metric.high


@pytest.mark.parametrize("name", METRICS)
def test_a_perfect_prediction_has_no_error(name):
    metric = METRICS[name]
    for kind in metric.kinds:
        prediction, target = case_for(metric, kind, 30)
        perfect = metric.score(truth(kind, target, outputs_for(metric)), target)
        assert metric.error(perfect) == pytest.approx(0, abs=1e-12)
        assert metric.better(perfect, metric.score(prediction, target))


def test_unknown_name_is_answered_with_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        get_metric("acuracy")


def test_wrong_kind_is_answered_with_the_metrics_that_fit():
    with pytest.raises(UsageError, match=r"'rmse' is not defined for dense targets.*\n.*nrmse-field, mae-field"):
        get_metric("rmse", "dense")
    with pytest.raises(UsageError, match="unknown target kind 'clasification'"):
        default_metric("clasification")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_not_numbers_are_refused_by_row(kind, bad):
    prediction, target = case(kind, 12)
    prediction[[3, 8], 0] = bad
    for name in metrics_for(kind):
        with pytest.raises(DataError, match="prediction is NaN or infinite in rows 3, 8"):
            get_metric(name).score(prediction, target)


def test_rows_are_counted_over_batches():
    prediction, target = case("regression", 10)
    accumulator = default_metric("regression").start()
    accumulator.update(prediction, target)
    prediction[2] = np.nan
    with pytest.raises(DataError, match="row 12"):
        accumulator.update(prediction, target)


def test_many_bad_rows_are_counted():
    prediction, target = case("regression", 100)
    prediction[:] = np.nan
    with pytest.raises(DataError, match="rows 0, 1, 2, 3, 4 and 95 more"):
        default_metric("regression").score(prediction, target)


REFUSED = [
    ("classification", np.ones((3, 2)), np.zeros(3, int), "do not sum to one in rows 0, 1, 2"),
    ("classification", np.array([[3.0, -2.0]]), np.zeros(1, int), "apply a softmax"),
    ("classification", np.array([[0.5, 0.5]]), np.array([2]), r"code outside 0\.\.1"),
    ("classification", np.array([[0.5, 0.5]]), np.array([0.0]), "encode the classes"),
    ("classification", np.array([0, 1]), np.array([0, 1]), r"needs probabilities \(n, K\)"),
    ("multilabel", np.array([[0.5]]), np.array([[2.0]]), "target is not 0 or 1 in row 0"),
    ("multilabel", np.array([[1.5]]), np.array([[1.0]]), "sigmoid"),
    ("regression", np.zeros(4), np.zeros(4), r"reshape a single output to \(n, 1\)"),
    ("regression", np.zeros((1, 1)), np.array([[np.nan]]), "target is NaN or infinite in row 0"),
    ("segmentation", np.full((2, 2, 3), 0.5), np.array([[0, 1, 2]] * 2), r"code outside 0\.\.1.* in rows 0, 1"),
    ("segmentation", np.full((2, 2, 3), 0.5), np.array([[0, 1, -1], [0, -2, 1]]), r"code outside 0\.\.1.* in row 1"),
    ("segmentation", np.full((2, 2, 3), 0.4), np.zeros((2, 3), int), "do not sum to one in rows 0, 1"),
    ("segmentation", np.full((2, 2, 3), 0.5), np.zeros((2, 3)), "segmentation targets have dtype float64"),
    ("segmentation", np.zeros((2, 3), int), np.zeros((2, 3), int), r"needs probabilities \(n, K, \.\.\.\)"),
    ("dense", np.zeros((2, 1, 4)), np.zeros((2, 1, 8)), "resample the prediction"),
    ("dense", np.zeros((2, 1, 2)), np.array([[[1, np.nan]], [[np.nan] * 2]]), "target is NaN everywhere in row 1"),
    ("dense", np.zeros((2, 1, 2)), np.array([[[1, np.nan]], [[np.inf, 1]]]), "target is NaN or infinite in row 1"),
    ("dense", np.zeros((1, 1, 2)), np.array([[[0, np.nan]]]), "zero everywhere in row 0"),
    ("dense", np.ones((2, 1, 4)), np.eye(2)[:, None, [0, 0, 0, 0]] * 0, "zero everywhere in rows 0, 1"),
]


@pytest.mark.parametrize(("kind", "prediction", "target", "message"), REFUSED)
def test_input_out_of_contract_is_refused(kind, prediction, target, message):
    with pytest.raises(DataError, match=message):
        default_metric(kind).score(prediction, target)


def test_undefined_figures_are_errors_not_nan():
    prediction = np.full((4, 2), 0.5)
    with pytest.raises(DataError, match="'1-auroc' is undefined for these 4 rows"):
        get_metric("1-auroc").score(prediction, np.zeros(4, int))
    with pytest.raises(DataError, match="'nrmse' is undefined"):
        get_metric("nrmse").score(np.zeros((4, 1)), np.ones((4, 1)))
    with pytest.raises(DataError, match="'1-auroc-hard' is undefined"):
        get_metric("1-auroc-hard").score(np.full((4, 2, 3), 0.5), np.zeros((4, 3), int))
    with pytest.raises(DataError, match="'pixel-error' is undefined"):
        get_metric("pixel-error").score(np.full((4, 2, 3), 0.5), np.full((4, 3), -1))
    with pytest.raises(DataError, match="'1-map' is undefined"):
        get_metric("1-map").score(prediction, np.zeros((4, 2)))


def test_no_rows_and_mixed_batches_are_refused():
    accumulator = default_metric("regression").start()
    with pytest.raises(DataError, match="has seen no rows"):
        accumulator.compute()
    accumulator.update(np.zeros((2, 1)), np.zeros((2, 1)))
    with pytest.raises(DataError, match="two different models"):
        accumulator.update(np.zeros((2, 3)), np.zeros((2, 3)))


def test_error_form():
    assert get_metric("accuracy").error(0.8) == pytest.approx(0.2)
    assert get_metric("r2").error(-3.0) == 4.0
    assert get_metric("rmse").error(2.5) == 2.5
    assert get_metric("rmse").high == math.inf
