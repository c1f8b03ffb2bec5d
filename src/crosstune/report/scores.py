"""Scores of the arms of one run on one split, with intervals, and each arm's paired difference to the method.

Intervals resample rows (``crosstune.metrics.bootstrap``). With several seeds a row is drawn together with its
predictions of every seed, and the figure is the mean over seeds: the interval says how much the rows matter, not
how much the seed does; the figure of each seed is kept next to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosstune.errors import DataError
from crosstune.metrics import Metric, get_metric
from crosstune.metrics.base import Kept
from crosstune.metrics.bootstrap import interval, paired_difference
from crosstune.report.record import Arm, Prediction, RunRecord

LEVEL = 0.95
SEED = 0
# The sign test cannot reach p < 0.05 with fewer rows (2 * 0.5**5 = 0.0625); the percentile bootstrap, which has no
# such floor and gives one row a width of zero, must not claim more than that test could.
FEWEST_ROWS = 6


@dataclass(frozen=True)
class Difference:
    """The method against another arm on the same rows, in the lower-is-better form of the metric.

    ``value``: error of the other arm minus error of the method, so above zero the method is better. ``low``, ``high``:
    95 % percentile interval, None below ``FEWEST_ROWS`` rows. ``p_method_better``: share of resamples in which the
    method has the smaller error.
    """

    value: float
    low: float | None
    high: float | None
    p_method_better: float | None
    rows: int

    @property
    def method_better(self) -> bool:
        """The interval lies above zero."""
        return self.low is not None and self.low > 0

    @property
    def method_worse(self) -> bool:
        """The interval lies below zero."""
        return self.high is not None and self.high < 0


@dataclass(frozen=True)
class ArmScore:
    """One arm on one split. ``value`` is the metric (mean over seeds), ``error`` its lower-is-better form.

    Without usable predictions ``value`` is None and ``note`` says why. ``difference`` is None for the method itself.
    """

    arm: str
    role: str
    label: str
    status: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    error: float | None = None
    rows: int = 0
    by_seed: Mapping[int, float] = field(default_factory=dict)
    seconds: float | None = None
    steps: int | None = None
    difference: Difference | None = None
    note: str | None = None


class SeedMean(Metric):
    """A metric averaged over seeds, so that rows can be resampled with all seeds of a row kept together.

    prediction: (n, S, ...), the inner metric's prediction with a seed axis behind the rows; target: (n, ...).
    """

    def __init__(self, inner: Metric) -> None:
        self.inner = inner
        self.name, self.direction, self.summary = inner.name, inner.direction, inner.summary
        self.low, self.high, self.kinds = inner.low, inner.high, inner.kinds

    def check(self, prediction: np.ndarray, target: np.ndarray, first_row: int = 0) -> tuple[np.ndarray, np.ndarray]:
        checked = [self.inner.check(prediction[:, s], target, first_row) for s in range(prediction.shape[1])]
        return np.stack([p for p, _ in checked], axis=1), checked[0][1]

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        kept = [self.inner.keep(prediction[:, s], target) for s in range(prediction.shape[1])]
        return tuple(np.stack(parts, axis=1) for parts in zip(*kept))

    def finish(self, *kept: np.ndarray) -> float:
        return float(np.mean([self.inner.finish(*(part[:, s] for part in kept)) for s in range(kept[0].shape[1])]))

    def per_sample(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray | None:
        each = [self.inner.per_sample(prediction[:, s], target) for s in range(prediction.shape[1])]
        known = [contribution for contribution in each if contribution is not None]
        return np.mean(known, axis=0) if len(known) == len(each) else None


def metric_of(record: RunRecord) -> Metric:
    """The metric that the run was judged by. Raises UsageError for a metric this version does not have."""
    return get_metric(record.metric)


def score_arms(record: RunRecord, split: str) -> tuple[ArmScore, ...]:
    """Every arm of run.json and every arm that has predictions: the method first, then controls, then floors."""
    metric = metric_of(record)
    stacks = {arm: _stack(seeds) for arm, seeds in record.predictions(split).items()}
    arms = dict(record.arms)
    for name in stacks:
        arms.setdefault(name, Arm(name, "floor" if name.startswith("floor") else "control", record.label(name), "ok",
                                  None, None))  # fmt: skip
    method = stacks.get(record.method)
    return tuple(_score(metric, arm, stacks.get(name), method, name == record.method) for name, arm in arms.items())


@dataclass(frozen=True)
class _Stack:
    """Predictions of one arm: rows (n,), target (n, ...), prediction (n, S, ...), and the S seeds."""

    rows: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    seeds: tuple[int, ...]

    def take(self, rows: np.ndarray) -> _Stack:
        keep = np.searchsorted(self.rows, rows)
        return _Stack(rows, self.target[keep], self.prediction[keep], self.seeds)


def _stack(seeds: Mapping[int, Prediction]) -> _Stack:
    rows = next(iter(seeds.values())).rows
    for prediction in seeds.values():
        rows = np.intersect1d(rows, prediction.rows)
    aligned = [seeds[seed].take(rows) for seed in sorted(seeds)]
    return _Stack(rows, aligned[0].target, np.stack([p.prediction for p in aligned], axis=1), tuple(sorted(seeds)))


def _score(metric: Metric, arm: Arm, stack: _Stack | None, method: _Stack | None, is_method: bool) -> ArmScore:
    steps = arm.raw.get("steps")
    plain: dict[str, Any] = {
        "arm": arm.name, "role": arm.role, "label": arm.label, "status": arm.status, "seconds": arm.seconds,
        "steps": int(steps) if isinstance(steps, int | float) else None,
    }  # fmt: skip
    if stack is None or not len(stack.rows):
        return ArmScore(**plain, note=arm.note or _why_missing(arm.status))
    mean = SeedMean(metric)
    try:
        value = mean.score(stack.prediction, stack.target)
        by_seed = {s: metric.score(stack.prediction[:, i], stack.target) for i, s in enumerate(stack.seeds)}
    except DataError as error:
        return ArmScore(**plain, rows=len(stack.rows), note=f"no score: {error.problem}")
    low, high = _interval(mean, stack)
    difference, trouble = None, None
    if method is not None and not is_method:
        difference, trouble = _difference(mean, stack, method)
    return ArmScore(
        **plain,
        value=value,
        low=low,
        high=high,
        error=metric.error(value),
        rows=len(stack.rows),
        by_seed=by_seed,
        difference=difference,
        note=arm.note or trouble,
    )


def _why_missing(status: str) -> str:
    return {
        "timeout": "stopped at its time limit without a result",
        "failed": "failed",
        "skipped": "skipped",
    }.get(status, "no predictions recorded")


def _interval(metric: Metric, stack: _Stack) -> tuple[float | None, float | None]:
    if len(stack.rows) < FEWEST_ROWS:
        return None, None
    try:
        return interval(metric, stack.prediction, stack.target, seed=SEED, level=LEVEL)
    except DataError:
        return None, None


def _difference(metric: Metric, other: _Stack, method: _Stack) -> tuple[Difference | None, str | None]:
    rows = np.intersect1d(other.rows, method.rows)
    if not len(rows):
        return None, "scored on other rows than the method, so not comparable"
    a, b = other.take(rows), method.take(rows)
    if a.target.shape != b.target.shape or not np.array_equal(a.target, b.target, equal_nan=True):
        return None, "scored against another target than the method, so not comparable"
    try:
        paired = paired_difference(metric, a.prediction, b.prediction, a.target, seed=SEED, level=LEVEL)
    except DataError as error:
        return None, f"no paired difference: {error.problem}"
    few = len(rows) < FEWEST_ROWS
    # Two equal scores reached by different sums differ by rounding; that is a tie, not a lead.
    dust = 1e-12 * max(abs(metric.error(metric.score(side.prediction, side.target))) for side in (a, b))
    value, low, high = (0.0 if abs(v) <= dust else v for v in (paired.difference, paired.low, paired.high))
    note = None if len(rows) == len(other.rows) == len(method.rows) else f"compared on the {len(rows)} common rows only"
    return Difference(
        value=value,
        low=None if few else low,
        high=None if few else high,
        p_method_better=None if few else 1 - paired.p_a_better,
        rows=len(rows),
    ), note
