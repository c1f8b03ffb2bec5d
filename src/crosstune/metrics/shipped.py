"""Metrics as public code computes them, under names of their own: a published row is compared with nothing else.

Public evaluation gathers mini-batches until at least 1,000 rows are there, takes the metric of this chunk, and averages
the chunks with equal weight, the short last one included. A chunk has the first multiple of the batch size from 1,000
on: 1,000 at 4, 1,008 at 16 and 28, 1,024 at 32. Here chunks follow the order of the rows, which public code shuffles
for ECG and DeepSEA; how rows arrive in batches changes nothing.
"""

from __future__ import annotations

import math

import numpy as np

from crosstune.metrics.base import Kept, Metric
from crosstune.metrics.classification import Error, OneMinusF1
from crosstune.metrics.multilabel import OneMinusAurocMultilabel
from crosstune.metrics.regression import OneMinusR2
from crosstune.metrics.segmentation import HardAuroc
from crosstune.records import IGNORED


class ChunkMean(Metric):
    """The mean of a metric over chunks of rows in their order. Undefined where it is undefined for a chunk."""

    ordered = True

    def __init__(self, inner: Metric, chunk: int, name: str | None = None) -> None:
        self.inner, self.chunk = inner, chunk
        self.name = name or f"shipped-{inner.name}-{chunk}"
        self.kinds, self.direction, self.low, self.high = inner.kinds, inner.direction, inner.low, inner.high
        self.summary = (
            f"{inner.name} of each {chunk:,} rows in their order, averaged with equal weight, the short last chunk "
            "included"
        )

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        return self.inner.keep(prediction, target)

    def left_out(self, target: np.ndarray) -> str | None:
        return self.inner.left_out(target)

    def finish(self, *kept: np.ndarray) -> float:
        rows = len(kept[0])
        starts = range(0, rows, self.chunk)
        values = [self.inner.finish(*(part[start : start + self.chunk] for part in kept)) for start in starts]
        return math.fsum(values) / len(values) if values else math.nan


class ShippedHardAuroc(HardAuroc):
    """Logits and mask are multiplied by (1 - ignore) first: a position that does not count is a true negative."""

    def __init__(self, name: str, threshold: float) -> None:
        super().__init__(name, threshold)
        self.summary += "; positions to be ignored count as true negatives"

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        if prediction.shape[1] != 2:
            return super().keep(prediction, target)
        ignored = target == IGNORED
        predicted = np.where(ignored, 0, self.predicted(prediction))
        return super().keep(
            np.stack([1 - predicted, predicted], axis=1).astype(np.float64), np.where(ignored, 0, target)
        )


class MissRate(HardAuroc):
    """FN / (FN + TP), the figure NAS-Bench-360 prints for its Cosmic task."""

    def __init__(self, name: str, threshold: float) -> None:
        super().__init__(name, threshold)
        self.summary = (
            f"share of the positions of the second of two classes that the mask at a probability of {threshold:.4g} "
            "misses; needs such a position"
        )

    def of(self, confusion: np.ndarray) -> float:
        support = confusion.sum(axis=1)
        return float(confusion[1, 0] / support[1]) if confusion.shape == (2, 2) and support[1] else math.nan


_HALF = 1 / (1 + math.exp(-0.5))  # the probability at a logit of one half, the official threshold

METRIC = (
    ChunkMean(Error(), 1008),
    ChunkMean(Error(), 1024),
    ChunkMean(OneMinusF1(), 1000),
    ChunkMean(OneMinusAurocMultilabel(), 1008),
    ChunkMean(OneMinusR2(), 1008),
    HardAuroc("official-1-auroc-hard", _HALF),
    ShippedHardAuroc("shipped-1-auroc-hard", 0.5),
    MissRate("fnr-mask", 0.5),
)
