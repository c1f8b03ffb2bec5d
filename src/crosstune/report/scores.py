"""Scores of the arms of one run on one split, with intervals, and each arm's paired difference to the method.

Intervals resample rows (``crosstune.metrics.bootstrap``). With several seeds a row is drawn together with its
predictions of every seed, and the figure is the mean over seeds: the interval says how much the rows matter, not
how much the seed does; the figure of each seed is kept next to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosstune.errors import DataError
from crosstune.metrics import Metric, get_metric
from crosstune.metrics.base import Kept, MeanMetric
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


@dataclass(frozen=True)
class Facts:
    """What a metric needs to know of each row: a few numbers instead of the predicted fields.

    parts: arrays (n, S, ...) with a seed axis behind the rows. Stands in for a prediction in ``metrics.bootstrap``,
    which asks it for its length, its shape and slices of rows.
    """

    parts: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, rows: Any) -> Facts:
        return Facts(tuple(part[rows] for part in self.parts))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.parts[0].shape[:2]

    def seed(self, index: int) -> Facts:
        """The facts of one seed alone."""
        return Facts(tuple(part[:, index : index + 1] for part in self.parts))


class SeedMean(Metric):
    """A metric averaged over seeds, on facts: rows are resampled with all seeds of a row kept together."""

    def __init__(self, inner: Metric) -> None:
        self.inner = inner  # its units are pooled in ``facts``; what is resampled afterwards is one row per unit
        self.name, self.direction, self.summary = inner.name, inner.direction, inner.summary
        self.low, self.high, self.kinds = inner.low, inner.high, inner.kinds

    def facts(self, predictions: list[np.ndarray], target: np.ndarray, units: np.ndarray | None = None) -> Facts:
        """Facts of the rows, or of the units (u, ...) of a metric that pools them, from one prediction (n, ...) per
        seed. Raises DataError for unusable predictions."""
        checked = [self.inner.check(prediction, target) for prediction in predictions]
        kept = [self.inner.keep(*self.inner.pooled(*pair, units)) for pair in checked]
        return Facts(tuple(np.stack(parts, axis=1) for parts in zip(*kept)))

    def check(self, prediction: Any, target: np.ndarray, first_row: int = 0) -> tuple[Any, np.ndarray]:
        return prediction, target

    def keep(self, prediction: Any, target: np.ndarray) -> Kept:
        return prediction.parts

    def finish(self, *kept: np.ndarray) -> float:
        return float(np.mean([self.inner.finish(*(part[:, s] for part in kept)) for s in range(kept[0].shape[1])]))

    def value(self, facts: Facts) -> float:
        """The mean over seeds of the metric; NaN where it is undefined for these rows."""
        return self.finish(*self.keep(facts, facts.parts[0]))


class _SeedMeanOfRows(SeedMean, MeanMetric):
    """The same for a metric that is a mean over rows: one number per row, resampled in vectorised form."""

    def contribution(self, prediction: Any, target: np.ndarray) -> np.ndarray:
        return prediction.parts[0].mean(axis=1)

    def keep(self, prediction: Any, target: np.ndarray) -> Kept:
        return (self.contribution(prediction, target),)

    def finish(self, *kept: np.ndarray) -> float:
        return MeanMetric.finish(self, *kept)

    def per_sample(self, prediction: Any, target: np.ndarray, units: np.ndarray | None = None) -> np.ndarray:
        return self.contribution(prediction, target)


def seed_mean(metric: Metric) -> SeedMean:
    """``metric`` averaged over seeds."""
    return _SeedMeanOfRows(metric) if isinstance(metric, MeanMetric) else SeedMean(metric)


def metric_of(record: RunRecord) -> Metric:
    """The metric that the run was judged by. Raises UsageError for a metric this version does not have."""
    return get_metric(record.metric)


def score_arms(record: RunRecord, split: str) -> tuple[ArmScore, ...]:
    """Every arm of run.json and every arm that has predictions: the method first, then controls, then floors."""
    metric = seed_mean(metric_of(record))
    arms = dict(record.arms)
    for name in record.prediction_files(split):
        role = "floor" if name.startswith("floor") else "control"
        arms.setdefault(name, Arm(name, role, record.label(name), "ok", None, None))
    stacks = {name: _stack(metric, record.predictions_of(split, name)) for name in arms}
    method = stacks.get(record.method)
    pair = method if isinstance(method, _Stack) else None
    return tuple(_score(metric, arm, stacks[name], pair, name == record.method) for name, arm in arms.items())


@dataclass(frozen=True)
class _Stack:
    """One arm reduced to facts. rows: (n,), or the numbers of units where the metric pools them; seeds: S of them;
    marks: (n, 2), sum and square sum of each target as far as it is known."""

    rows: np.ndarray
    facts: Facts
    marks: np.ndarray
    seeds: tuple[int, ...]

    def take(self, rows: np.ndarray) -> _Stack:
        keep = np.searchsorted(self.rows, rows)
        return _Stack(rows, self.facts[keep], self.marks[keep], self.seeds)


def _stack(metric: SeedMean, seeds: Mapping[int, Prediction]) -> _Stack | str | None:
    """The facts of an arm; None without predictions, the reason where they cannot be scored."""
    if not seeds:
        return None
    rows = next(iter(seeds.values())).rows
    for prediction in seeds.values():
        rows = np.intersect1d(rows, prediction.rows)
    if not len(rows):
        return None
    order = tuple(sorted(seeds))
    aligned = [seeds[seed].take(rows) for seed in order]
    target, units = aligned[0].target, aligned[0].units
    try:
        facts = metric.facts([p.prediction for p in aligned], target, units)
    except DataError as error:
        return f"no score: {error.problem}"
    if metric.inner.grouped and units is not None:
        rows, first = np.unique(units, return_index=True)
        target = target[first]
    flat = np.nan_to_num(target.reshape(len(rows), -1).astype(np.float64))
    return _Stack(rows, facts, np.column_stack([flat.sum(axis=1), (flat**2).sum(axis=1)]), order)


def _score(metric: SeedMean, arm: Arm, stack: _Stack | str | None, method: _Stack | None, is_method: bool) -> ArmScore:
    steps = arm.raw.get("steps")
    plain: dict[str, Any] = {
        "arm": arm.name,
        "role": arm.role,
        "label": arm.label,
        "status": arm.status,
        "seconds": arm.seconds,
        "steps": int(steps) if isinstance(steps, int | float) else None,
    }
    if not isinstance(stack, _Stack):
        return ArmScore(**plain, note=stack or arm.note or _why_missing(arm.status))
    value = metric.value(stack.facts)
    if math.isnan(value):
        note = f"no score: {metric.name} is undefined for these {len(stack.rows)} rows"
        return ArmScore(**plain, rows=len(stack.rows), note=note)
    each = {s: metric.value(stack.facts.seed(i)) for i, s in enumerate(stack.seeds)}
    low, high = _interval(metric, stack)
    difference, trouble = None, None
    if method is not None and not is_method:
        difference, trouble = _difference(metric, stack, method)
    return ArmScore(
        **plain,
        value=value,
        low=low,
        high=high,
        error=metric.error(value),
        rows=len(stack.rows),
        by_seed=each,
        difference=difference,
        note=arm.note or trouble,
    )


def _why_missing(status: str) -> str:
    return {
        "timeout": "stopped at its time limit without a result",
        "failed": "failed",
        "skipped": "skipped",
    }.get(status, "no predictions recorded")


def _prediction(stack: _Stack) -> Any:
    """Facts in the place of a prediction: all that the bootstrap does with one is to hand it back to the metric."""
    return stack.facts


def _interval(metric: SeedMean, stack: _Stack) -> tuple[float | None, float | None]:
    if len(stack.rows) < FEWEST_ROWS:
        return None, None
    try:
        return interval(metric, _prediction(stack), stack.marks, seed=SEED, level=LEVEL)
    except DataError:
        return None, None


def difference_by_rows(
    metric: Metric, method: Mapping[int, Prediction], other: Mapping[int, Prediction]
) -> Difference | None:
    """``other`` against ``method`` on the rows both predicted, over the seeds given: rows are resampled with the seeds
    held fixed. None where the two cannot be paired or scored."""
    mean = seed_mean(metric)
    stacks = [_stack(mean, side) for side in (other, method)]
    if not all(isinstance(stack, _Stack) for stack in stacks):
        return None
    return _difference(mean, *stacks)[0]  # type: ignore[arg-type]


def _difference(metric: SeedMean, other: _Stack, method: _Stack) -> tuple[Difference | None, str | None]:
    rows = np.intersect1d(other.rows, method.rows)
    if not len(rows):
        return None, "scored on other rows than the method, so not comparable"
    a, b = other.take(rows), method.take(rows)
    if not np.array_equal(a.marks, b.marks, equal_nan=True):
        return None, "scored against another target than the method, so not comparable"
    try:
        paired = paired_difference(metric, _prediction(a), _prediction(b), a.marks, seed=SEED, level=LEVEL)
    except DataError as error:
        return None, f"no paired difference: {error.problem}"
    few = len(rows) < FEWEST_ROWS
    # Two equal scores reached by different sums differ by rounding; that is a tie, not a lead.
    dust = 1e-12 * max(abs(metric.error(metric.value(side.facts))) for side in (a, b))
    value, low, high = (0.0 if abs(v) <= dust else v for v in (paired.difference, paired.low, paired.high))
    note = None if len(rows) == len(other.rows) == len(method.rows) else f"compared on the {len(rows)} common rows only"
    return Difference(
        value=value,
        low=None if few else low,
        high=None if few else high,
        p_method_better=None if few else 1 - paired.p_a_better,
        rows=len(rows),
    ), note
