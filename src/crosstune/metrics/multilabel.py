"""Metrics of multilabel targets: probabilities (n, K) against {0, 1} (n, K)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from crosstune.metrics.base import Kept, MeanMetric, Metric
from crosstune.metrics.ranked import auroc_of, average_precision_of, over
from crosstune.metrics.ranking import macro_auroc, macro_average_precision
from crosstune.records import TargetKind

_NAMED = 8  # labels that a remark names
_KINDS: tuple[TargetKind, ...] = ("multilabel",)


def _labels(lacking: np.ndarray, why: str) -> str | None:
    """ "2 of 36 labels that are the same in every row left out: 3, 17"."""
    if not lacking.any():
        return None
    numbers = np.flatnonzero(lacking)
    shown = ", ".join(map(str, numbers[:_NAMED])) + (", ..." if len(numbers) > _NAMED else "")
    return f"{len(numbers)} of {len(lacking)} labels {why} left out: {shown}"


class OneMinusMap(Metric):
    name, kinds, high = "1-map", _KINDS, 1.0
    summary = "1 - mean average precision over the labels that have a positive row (labels without one are left out)"

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        return prediction, target > 0

    def finish(self, *kept: np.ndarray) -> float:
        return 1 - macro_average_precision(*kept)

    def resampled(self, kept: Kept, draws: np.ndarray) -> np.ndarray:
        return over(kept[0], kept[1], draws, average_precision_of)

    def left_out(self, target: np.ndarray) -> str | None:
        return _labels((target > 0).sum(axis=0) == 0, "without a positive row")


class OneMinusAurocMultilabel(OneMinusMap):
    name = "1-auroc-multilabel"
    summary = "1 - area under the ROC curve averaged over the labels that have both positive and negative rows"

    def finish(self, *kept: np.ndarray) -> float:
        return 1 - macro_auroc(*kept)

    def resampled(self, kept: Kept, draws: np.ndarray) -> np.ndarray:
        return over(kept[0], kept[1], draws, auroc_of)

    def left_out(self, target: np.ndarray) -> str | None:
        return _labels(np.isin((target > 0).sum(axis=0), (0, len(target))), "that are the same in every row")


class MicroF1(Metric):
    """2 TP / (2 TP + FP + FN) over all labels together; zero where nothing is predicted and nothing is true."""

    name, kinds, high = "micro-f1", _KINDS, 1.0
    direction: Literal["lower", "higher"] = "higher"
    summary = "F1 over all labels together, a label being predicted where its probability exceeds 0.5"

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        chosen, true = prediction > 0.5, target > 0
        return (chosen & true).sum(axis=1), chosen.sum(axis=1) + true.sum(axis=1)

    def finish(self, *kept: np.ndarray) -> float:
        hits, both = (int(part.sum()) for part in kept)
        return 2 * hits / both if both else 0.0


class HammingError(MeanMetric):
    name, kinds, high = "hamming-error", _KINDS, 1.0
    summary = "share of labels that are wrong at a threshold of 0.5"

    def contribution(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return ((prediction > 0.5) != (target > 0)).mean(axis=1)


METRIC = (OneMinusMap(), OneMinusAurocMultilabel(), MicroF1(), HammingError())
