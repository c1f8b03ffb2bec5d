"""Metrics of one class per position: probabilities (n, K, ...) against codes (n, ...), -1 where a position is ignored.

A position is a sample of a series or a pixel. Positions are counted over the whole split, not averaged within rows
first: rows of which little is known weigh little. The predicted class is the most probable one, the first of several.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from crosstune.metrics.base import Kept, Metric
from crosstune.metrics.ranking import auroc
from crosstune.records import IGNORED, TargetKind

_KINDS: tuple[TargetKind, ...] = ("segmentation",)


class _Counts(Metric):
    """Metrics of the confusion matrix of positions: keeps the counts (n, K, K) of each row, true by predicted."""

    kinds, high = _KINDS, 1.0

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        return (confusions(self.predicted(prediction), target, prediction.shape[1]),)

    def predicted(self, prediction: np.ndarray) -> np.ndarray:
        """Class codes (n, ...) from probabilities (n, K, ...)."""
        return prediction.argmax(axis=1)

    def finish(self, *kept: np.ndarray) -> float:
        total = kept[0].sum(axis=0).astype(np.float64)
        return self.of(total) if total.any() else math.nan

    def of(self, confusion: np.ndarray) -> float:
        """The figure from counts (K, K), rows true and columns predicted, not all zero."""
        raise NotImplementedError


def confusions(predicted: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """Counts (n, K, K) of each row, true by predicted, from codes (n, ...) and (n, ...)."""
    counts = np.zeros((len(target), classes, classes), np.int64)
    for row, (p, t) in enumerate(zip(predicted.reshape(len(target), -1), target.reshape(len(target), -1))):
        known = t != IGNORED
        pairs = np.bincount(t[known] * classes + p[known], minlength=classes * classes)
        counts[row] = pairs.reshape(classes, classes)
    return counts


class PixelError(_Counts):
    name = "pixel-error"
    summary = "share of the positions that count whose most probable class is wrong"

    def of(self, confusion: np.ndarray) -> float:
        return float(1 - np.trace(confusion) / confusion.sum())


class PixelMacroF1(_Counts):
    name = "pixel-macro-f1"
    direction: Literal["lower", "higher"] = "higher"
    summary = "F1 over positions, averaged over the classes that occur in target or prediction, each with equal weight"

    def of(self, confusion: np.ndarray) -> float:
        both = confusion.sum(axis=1) + confusion.sum(axis=0)
        present = both > 0
        return float(np.mean(2 * np.diag(confusion)[present] / both[present]))


class MeanIou(_Counts):
    """Intersection over union of a class, TP / (TP + FP + FN): the Jaccard index."""

    name = "mean-iou"
    direction: Literal["lower", "higher"] = "higher"
    summary = "intersection over union of positions, averaged over the classes that occur in target or prediction"

    def of(self, confusion: np.ndarray) -> float:
        hits = np.diag(confusion)
        union = confusion.sum(axis=1) + confusion.sum(axis=0) - hits
        present = union > 0
        return float(np.mean(hits[present] / union[present]))


class HardAuroc(_Counts):
    """(FPR + FNR) / 2 of the mask: the area above the ROC curve of a score that takes two values only.

    ``threshold``: the second class is predicted where its probability exceeds it.
    """

    def __init__(self, name: str, threshold: float) -> None:
        self.name, self.threshold = name, threshold
        self.summary = (
            f"1 - AUROC of the mask of two classes at a probability of {threshold:.4g}, which is (FPR + FNR) / 2 over "
            "positions; needs both classes in the target"
        )

    def predicted(self, prediction: np.ndarray) -> np.ndarray:
        return (prediction[:, 1] > self.threshold).astype(np.int64)

    def of(self, confusion: np.ndarray) -> float:
        support = confusion.sum(axis=1)
        if confusion.shape != (2, 2) or not support.all():
            return math.nan
        return float((confusion[0, 1] / support[0] + confusion[1, 0] / support[1]) / 2)


class SoftAuroc(Metric):
    name, kinds, high = "1-auroc-pixels", _KINDS, 1.0
    summary = (
        "1 - area under the ROC curve of the second of two classes over positions; needs both classes in the target"
    )

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        score = prediction[:, 1] if prediction.shape[1] == 2 else np.full(target.shape, math.nan)
        return score.reshape(len(target), -1), target.reshape(len(target), -1)

    def finish(self, *kept: np.ndarray) -> float:
        score, codes = kept
        known = codes != IGNORED
        score, codes = score[known], codes[known]
        return math.nan if np.isnan(score).any() else 1 - auroc(score, codes == 1)


METRIC = (PixelError(), PixelMacroF1(), MeanIou(), HardAuroc("1-auroc-hard", 0.5), SoftAuroc())
