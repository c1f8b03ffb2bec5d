"""Relative errors of fields against plain loops in torch, with positions that do not count, in any batching."""

import numpy as np
import pytest
import torch

from crosstune.errors import DataError
from crosstune.metrics import get_metric, metrics_for


def fields(shape, gaps, seed=0):
    rng = np.random.default_rng(seed)
    scale = np.array([1.0, 30.0, 0.01])[: shape[1]].reshape(1, -1, *[1] * (len(shape) - 2))
    target = scale * (rng.normal(size=shape) + 0.5)
    prediction = target + 0.2 * scale * rng.normal(size=shape)
    if gaps:
        target[rng.random(shape) < 0.3] = np.nan
        target[1, 0] = np.nan  # a whole channel of one sample
    return prediction, target


def joint(p, y):
    """The nmse of the cross-modal fine-tuning codes: root mean square of the error over that of the target."""
    known = ~torch.isnan(y)
    return torch.sqrt(torch.mean((p - y)[known] ** 2) / torch.mean(y[known] ** 2))


def per_channel(p, y):
    ratios = [joint(p[c], y[c]) for c in range(len(y)) if (~torch.isnan(y[c])).any()]
    return sum(ratios) / len(ratios)


def relative_l2(p, y):
    known = ~torch.isnan(y)
    return torch.linalg.vector_norm((p - y)[known], 2) / torch.linalg.vector_norm(y[known], 2)


@pytest.mark.parametrize("shape", [(9, 1, 40), (9, 3, 17), (7, 3, 8, 6), (4, 2, 3, 4, 5)])
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize(
    ("name", "one"), [("nrmse-field", joint), ("nrmse-channel", per_channel), ("relative-l2", relative_l2)]
)
def test_relative_errors_equal_loops(shape, gaps, name, one):
    if gaps and shape[1] == 1:
        pytest.skip("a whole channel is missing, which is the whole field here")
    prediction, target = fields(shape, gaps)
    expected = np.mean([float(one(torch.tensor(p), torch.tensor(y))) for p, y in zip(prediction, target)])
    metric = get_metric(name, "dense")
    assert metric.score(prediction, target) == pytest.approx(expected, rel=1e-10)
    for cuts in ([1], [2, 3], [0, len(target)]):
        parts = metric.start()
        for rows in np.split(np.arange(len(target))[::-1], cuts):
            parts.update(prediction[rows], target[rows])
        assert parts.compute() == pytest.approx(expected, rel=1e-10)


def test_small_channels_count_in_one_and_not_in_the_other():
    target = np.stack([np.full((5, 8), 100.0), np.full((5, 8), 1.0)], axis=1)
    prediction = target.copy()
    prediction[:, 1] = 0
    assert get_metric("nrmse-channel").score(prediction, target) == 0.5
    assert get_metric("nrmse-field").score(prediction, target) == pytest.approx(1 / np.sqrt(10_001))


def test_a_zero_channel_is_refused_by_row():
    target = np.ones((4, 2, 6))
    target[2, 1] = 0
    with pytest.raises(DataError, match=r"channel 1 .* is zero everywhere in row 2\n.*\n.*joins the channels"):
        get_metric("nrmse-channel").score(target, target)
    assert get_metric("nrmse-field").score(target, target) == 0


def test_names_are_offered_for_fields():
    assert {"nrmse-channel", "relative-l2"} <= set(metrics_for("dense"))
    assert metrics_for("dense")[0] == "nrmse-field"
