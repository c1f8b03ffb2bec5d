"""Figures of resamples from scores sorted once equal those of the drawn rows themselves."""

import numpy as np
import pytest

from crosstune.metrics import get_metric
from crosstune.metrics.base import Metric


@pytest.mark.parametrize("name", ["1-map", "1-auroc-multilabel", "1-map-clips"])
@pytest.mark.parametrize("decimals", [1, 6])  # many ties, none
def test_resamples_equal_the_figure_of_the_drawn_rows(name: str, decimals: int) -> None:
    rng = np.random.default_rng(0)
    metric = get_metric(name)
    score, truth = np.round(rng.random((40, 7)), decimals), (rng.random((40, 7)) < 0.1).astype(np.int64)
    truth[:, 2], truth[:, 3], truth[0, 4:] = 0, 1, 1  # a label nowhere, one everywhere, rare ones
    kept = metric.keep(score, truth)
    draws = rng.integers(0, 40, (200, 40))
    expected = np.array([metric.finish(*(part[rows] for part in kept)) for rows in draws])
    assert metric.resampled(kept, draws) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert len(np.unique(expected)) > 100


def test_a_draw_without_any_positive_is_undefined() -> None:
    for name in ("1-map", "1-auroc-multilabel"):
        metric: Metric = get_metric(name)
        kept = metric.keep(np.array([[0.1], [0.9]]), np.array([[1], [0]]))
        values = metric.resampled(kept, np.array([[1, 1], [0, 1]]))
        assert np.isnan(values[0])
        assert values[1] == (0.5 if name == "1-map" else 1.0)
