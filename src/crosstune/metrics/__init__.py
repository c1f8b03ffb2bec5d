"""Metrics: accumulate over the split, then compute. One file per family; a new file is a new metric.

>>> from crosstune.metrics import default_metric
>>> metric = default_metric("classification")
>>> metric.score([[0.9, 0.1], [0.4, 0.6]], [0, 0])
0.5
"""

from __future__ import annotations

from crosstune.discovery import discover, pick, suggest
from crosstune.errors import UsageError
from crosstune.metrics.base import Accumulator, MeanMetric, Metric
from crosstune.records import TargetKind

__all__ = ["Accumulator", "MeanMetric", "Metric", "all_metrics", "default_metric", "get_metric", "metrics_for"]

_DEFAULTS: dict[str, str] = {
    "classification": "error",
    "multilabel": "1-map",
    "regression": "nrmse",
    "dense": "nrmse-field",
    "segmentation": "pixel-error",
}


def all_metrics() -> dict[str, Metric]:
    """Every metric by name."""
    return dict(discover("crosstune.metrics", "METRIC"))


def metrics_for(kind: TargetKind) -> tuple[str, ...]:
    """Names of the metrics defined for a target kind, the default first."""
    names = [name for name, metric in all_metrics().items() if kind in metric.kinds]
    return tuple(sorted(names, key=lambda name: (name != _DEFAULTS.get(kind), name)))


def get_metric(name: str, kind: TargetKind | None = None) -> Metric:
    """The metric called ``name``; with ``kind``, only if it is defined for that target kind.

    Raises ``UsageError`` with a suggestion for an unknown name, or with the metrics that fit for a wrong kind.
    """
    metric: Metric = pick("crosstune.metrics", "METRIC", name, "metric")
    if kind is not None and kind not in metric.kinds:
        raise UsageError(
            f"metric {name!r} is not defined for {kind} targets (only for {', '.join(metric.kinds)})",
            fix=f"use --metric with one of: {', '.join(metrics_for(kind))}",
        )
    return metric


def default_metric(kind: TargetKind) -> Metric:
    """The metric a target kind is judged by when none is asked for: error, 1-map, nrmse, nrmse-field, pixel-error."""
    if kind not in _DEFAULTS:
        raise UsageError(f"unknown target kind {kind!r}", fix=suggest(kind, list(_DEFAULTS)))
    return get_metric(_DEFAULTS[kind])
