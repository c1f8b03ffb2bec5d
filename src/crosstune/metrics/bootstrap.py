"""Intervals and paired comparisons by resampling rows (percentile bootstrap, Efron 1979).

Rows are drawn with replacement and treated as independent; a metric that pools the rows of a unit is resampled by
units. Where rows or units are not independent (several recordings of one patient), the intervals are too narrow. A
metric at the edge of its range (no error at all) gets an interval of width zero.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crosstune.errors import DataError
from crosstune.metrics.base import Kept, Metric
from crosstune.seeding import derive_seed

_CHUNK = 2_000_000  # row indices drawn at once: 16 MB
_DRAWS = 50_000_000  # row indices drawn in all; larger splits get fewer resamples
_VALUES = 20_000_000  # scores gone through in all by metrics that are computed anew for every resample
_FEWEST = 200


@dataclass(frozen=True)
class PairedDifference:
    """Model a against model b on the same rows, in the lower-is-better form of the metric.

    ``difference``: error of a minus error of b; below zero a is better. ``low``, ``high``: percentile interval of it.
    ``p_a_better``: share of resamples in which a has the smaller error, ties counted half. ``rows``: n, of rows or
    of pooled units.
    """

    difference: float
    low: float
    high: float
    p_a_better: float
    rows: int
    level: float = 0.95
    resamples: int = 1000

    @property
    def decided(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def interval(
    metric: Metric,
    prediction: np.ndarray,
    target: np.ndarray,
    units: np.ndarray | None = None,
    *,
    n: int = 1000,
    seed: int,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of the metric over rows, over units where the metric pools them.

    prediction, target: (rows, ...) in the canonical form of the metric's kind; units: (rows,). Deterministic in
    ``seed``. Means are resampled in vectorised form; other metrics are recomputed per resample. Splits beyond 50,000
    rows, of recomputed metrics beyond 20,000 scores, get fewer than 1,000 resamples, never fewer than 200. Resamples in
    which the metric is undefined (one class only) are left out.

    Raises ``DataError`` for unusable predictions or where every resample is undefined.
    """
    (values,) = _resampled(metric, [_pooled(metric, prediction, target, units)], n, seed)
    return _percentiles(values, metric, level)


def paired_difference(
    metric: Metric,
    prediction_a: np.ndarray,
    prediction_b: np.ndarray,
    target: np.ndarray,
    units: np.ndarray | None = None,
    *,
    n: int = 1000,
    seed: int,
    level: float = 0.95,
) -> PairedDifference:
    """Compares two models on the same rows: every resample draws the same rows for both.

    Shapes and errors as in ``interval``. The pairing removes what both models share: rows that are hard for everyone.
    """
    sides = [_pooled(metric, prediction, target, units) for prediction in (prediction_a, prediction_b)]
    observed = [metric.error(metric.score(*side)) for side in sides]
    a, b = _resampled(metric, sides, n, seed)
    if metric.direction == "higher":
        a, b = metric.high - a, metric.high - b
    gap = a - b
    low, high = _percentiles(gap, metric, level)
    defined = gap[~np.isnan(gap)]
    return PairedDifference(
        difference=observed[0] - observed[1],
        low=low,
        high=high,
        p_a_better=float(np.mean(defined < 0) + np.mean(defined == 0) / 2),
        rows=len(sides[0][1]),
        level=level,
        resamples=len(defined),
    )


def _pooled(
    metric: Metric, prediction: np.ndarray, target: np.ndarray, units: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    if not metric.grouped or units is None:
        return prediction, target
    return metric.pooled(*metric.check(prediction, target), units)


def _resampled(metric: Metric, sides: list[tuple[np.ndarray, np.ndarray]], n: int, seed: int) -> list[np.ndarray]:
    """Per side the metric's values (resamples,), all sides on the same draws."""
    contributions = [metric.per_sample(*side) for side in sides]
    means = all(values is not None for values in contributions)
    kept: list[Kept] = (
        [(values,) for values in contributions if values is not None]
        if means
        else [metric.keep(*metric.check(*side)) for side in sides]
    )
    rows = len(kept[0][0])
    if not rows:
        raise DataError(f"metric {metric.name!r} has no rows to resample", cause="the split is empty")
    recompute = _means if means else _recomputed
    most = _DRAWS // rows if means else min(_DRAWS // rows, _VALUES // max(1, kept[0][0].size))
    resamples = int(min(n, max(_FEWEST, most)))
    chunk = max(1, _CHUNK // rows)
    generator = np.random.default_rng(derive_seed(seed, "bootstrap", rows))
    values: list[list[np.ndarray]] = [[] for _ in sides]
    for start in range(0, resamples, chunk):
        draws = generator.integers(0, rows, size=(min(chunk, resamples - start), rows))
        for side, facts in zip(values, kept):
            side.append(recompute(metric, facts, draws))
    return [np.concatenate(side) for side in values]


def _means(metric: Metric, facts: Kept, draws: np.ndarray) -> np.ndarray:
    return facts[0][draws].mean(axis=1)


def _recomputed(metric: Metric, facts: Kept, draws: np.ndarray) -> np.ndarray:
    return metric.resampled(facts, draws)


def _percentiles(values: np.ndarray, metric: Metric, level: float) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    if not len(defined):
        raise DataError(f"metric {metric.name!r} is undefined in every resample", cause=metric.summary)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
