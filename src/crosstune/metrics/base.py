"""What a metric is: per-row facts that are kept, and one function of all rows at the end.

A metric never averages over batches. Each batch is reduced to facts about its rows (a contribution, a pair of
class codes, a squared error per field), the facts are concatenated, and the number is computed once. Batching can
therefore not change it, and the bootstrap can resample the facts of rows instead of the fields themselves.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import numpy as np

from crosstune.errors import DataError
from crosstune.metrics.checks import checked
from crosstune.metrics.units import Pooling, pool
from crosstune.records import TargetKind

Kept = tuple[np.ndarray, ...]


class Metric(ABC):
    """One figure of merit over a whole split.

    ``name``: unique, what a user types. ``direction``: which way is better. ``low``, ``high``: the range (may be
    infinite). ``kinds``: target kinds it is defined for. ``summary``: one line, with what happens in corner cases.

    ``grouped``: whether the rows of one unit (the windows of a recording, the crops of a clip) make one row before
    anything is counted. ``pooling`` says how their predictions become one: the mean of the probabilities or values, the
    mean of the logits, or the votes for classes; another rule overrides ``pooled``. Metrics that are not grouped ignore
    units, and without units every row is one. ``ordered``: whether the order of the rows matters, as it does for
    figures of published code that average chunks or look at the first row; how they are batched never does.

    A new metric is a subclass with ``keep`` and ``finish`` (or a ``MeanMetric`` with ``contribution``), and an
    instance of it in the module's ``METRIC``.
    """

    name: str
    direction: Literal["lower", "higher"] = "lower"
    low: float = 0.0
    high: float = math.inf
    kinds: tuple[TargetKind, ...]
    summary: str
    grouped: bool = False
    ordered: bool = False
    pooling: Pooling = "mean"

    @abstractmethod
    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        """Facts about the rows of one checked batch: arrays whose first axis is the row."""

    @abstractmethod
    def finish(self, *kept: np.ndarray) -> float:
        """The figure from the facts of all rows, in any order unless ``ordered``; NaN where it is undefined."""

    def check(self, prediction: np.ndarray, target: np.ndarray, first_row: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Canonical arrays of ``records.py`` for the first of ``kinds``; ``DataError`` names bad rows."""
        return checked(self.kinds[0], prediction, target, first_row)

    def start(self) -> Accumulator:
        """An empty accumulator."""
        return Accumulator(self)

    def score(self, prediction: np.ndarray, target: np.ndarray, units: np.ndarray | None = None) -> float:
        """The figure over all rows at once. Shapes as in ``records.py``, per target kind; units: (n,) integers.

        Raises ``DataError`` for NaN or infinite predictions, for shapes that do not fit, where the figure is
        undefined, and for a unit whose rows have different targets.
        """
        accumulator = self.start()
        accumulator.update(prediction, target, units)
        return accumulator.compute()

    def pooled(
        self, prediction: np.ndarray, target: np.ndarray, units: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Prediction and target (u, ...) of the units of a grouped metric, in ascending order of their numbers; the
        rows as they are for any other metric, and without units."""
        if not self.grouped or units is None:
            return prediction, target
        return pool(prediction, target, units, self.pooling)

    def per_sample(
        self, prediction: np.ndarray, target: np.ndarray, units: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Contributions (n,) of rows, or of units, whose mean is the metric; None where there is no such
        decomposition."""
        return None

    def resampled(self, kept: Kept, draws: np.ndarray) -> np.ndarray:
        """The figure of every draw of rows, (r,). kept: of ``keep``; draws: (r, n) row numbers. Metrics that sort all
        rows sort them once."""
        return np.array([self.finish(*(part[rows] for part in kept)) for rows in draws])

    def remark(self, prediction: np.ndarray, target: np.ndarray, units: np.ndarray | None = None) -> str | None:
        """What a reader of the figure must know about these rows (labels or proteins left out); None for nothing."""
        return self.left_out(self.pooled(*self.check(prediction, target), units)[1])

    def left_out(self, target: np.ndarray) -> str | None:
        """What of the checked and pooled target takes no part in the figure, in words."""
        return None

    def error(self, value: float) -> float:
        """The lower-is-better form used in comparisons: the value itself, or its distance from the best score."""
        return float(value) if self.direction == "lower" else float(self.high - value)

    def better(self, a: float, b: float) -> bool:
        """Whether value ``a`` is strictly better than value ``b``."""
        return self.error(a) < self.error(b)

    def __repr__(self) -> str:
        return f"<metric {self.name}>"


class MeanMetric(Metric):
    """A metric that is the plain mean of one contribution per row."""

    @abstractmethod
    def contribution(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Contributions (n,) of checked rows."""

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        return (self.contribution(prediction, target),)

    def finish(self, *kept: np.ndarray) -> float:
        values = kept[0]
        return math.fsum(values.tolist()) / len(values) if len(values) else math.nan

    def per_sample(
        self, prediction: np.ndarray, target: np.ndarray, units: np.ndarray | None = None
    ) -> np.ndarray | None:
        return self.contribution(*self.pooled(*self.check(prediction, target), units))


class Accumulator:
    """Takes any batches of rows and computes the metric once, over all of them."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.rows = 0
        self._pools = False
        self._shape: tuple[int, ...] | None = None
        self._kept: list[Kept] = []

    def update(self, prediction: np.ndarray, target: np.ndarray, units: np.ndarray | None = None) -> None:
        """Adds a batch of rows; an empty batch is allowed. ``DataError`` counts rows from the first batch on.

        units: (n,) numbers of the units the rows belong to, for grouped metrics: a unit may be spread over batches,
        so these keep the rows themselves until the end.
        """
        prediction, target = self.metric.check(prediction, target, self.rows)
        if self._shape is not None and prediction.shape[1:] != self._shape:
            raise DataError(
                f"metric {self.metric.name!r}: a batch has predictions of shape {prediction.shape[1:]} per row, "
                f"earlier batches had {self._shape}",
                cause="batches of two different models or tasks were mixed",
            )
        self._shape = prediction.shape[1:]
        pools = self.metric.grouped and units is not None
        if self.rows and pools != self._pools:
            raise DataError(
                f"metric {self.metric.name!r}: some batches have units and others have none",
                cause="two sources of data were mixed",
            )
        self._pools = pools
        if len(prediction):
            facts = (prediction, target, np.asarray(units)) if pools else self.metric.keep(prediction, target)
            self._kept.append(facts)
        self.rows += len(prediction)

    def compute(self) -> float:
        """The figure over every row seen. ``DataError`` when there are none, or when it is undefined for them."""
        if not self.rows:
            raise DataError(f"metric {self.metric.name!r} has seen no rows", cause="the split is empty")
        facts = tuple(np.concatenate(parts) for parts in zip(*self._kept))
        if self._pools:
            facts = self.metric.keep(*self.metric.pooled(*facts))
        value = self.metric.finish(*facts)
        if math.isnan(value):
            raise DataError(
                f"metric {self.metric.name!r} is undefined for these {self.rows} rows",
                cause=self.metric.summary,
                fix="use a larger or stratified split, or another --metric",
            )
        return float(value)


def column_sums(values: np.ndarray) -> np.ndarray:
    """Sums (K,) over the rows of (n, K) by pairwise summation, whose error grows with log n instead of n.

    NumPy sums pairwise along the contiguous axis only, hence the transposed copy.
    """
    return np.ascontiguousarray(values.T).sum(axis=-1)
