"""Metrics of single-label classification: probabilities (n, K) against codes (n,).

The predicted class is the most probable one, the first of several equal ones.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from crosstune.metrics.base import Kept, MeanMetric, Metric
from crosstune.metrics.ranking import auroc, macro_auroc, pairwise_auroc
from crosstune.records import TargetKind

_KINDS: tuple[TargetKind, ...] = ("classification",)


class Error(MeanMetric):
    name, kinds, high = "error", _KINDS, 1.0
    summary = "share of rows whose most probable class is wrong (0-1 error)"

    def contribution(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return (prediction.argmax(axis=1) != target).astype(np.float64)


class Accuracy(MeanMetric):
    name, kinds, high = "accuracy", _KINDS, 1.0
    direction: Literal["lower", "higher"] = "higher"
    summary = "share of rows whose most probable class is right"

    def contribution(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return (prediction.argmax(axis=1) == target).astype(np.float64)


class LogLoss(MeanMetric):
    """Probabilities are clipped to [eps, 1 - eps] with the float64 machine epsilon, as scikit-learn does."""

    name, kinds = "log-loss", _KINDS
    high = float(-np.log(np.finfo(np.float64).eps))
    summary = "mean negative log probability of the true class, in nats"

    def contribution(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        eps = np.finfo(np.float64).eps
        return -np.log(np.clip(prediction[np.arange(len(target)), target], eps, 1 - eps))


class _Confusion(Metric):
    """Metrics of the confusion matrix: keeps predicted and true code of each row."""

    kinds, high = _KINDS, 1.0

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        return prediction.argmax(axis=1), target

    def finish(self, *kept: np.ndarray) -> float:
        predicted, true = kept
        size = int(max(predicted.max(), true.max())) + 1
        counts = np.bincount(true * size + predicted, minlength=size * size).reshape(size, size)
        return self.of(counts.astype(np.float64))

    def of(self, confusion: np.ndarray) -> float:
        """The figure from counts (K, K), rows true and columns predicted."""
        raise NotImplementedError


class BalancedError(_Confusion):
    name = "balanced-error"
    summary = "error averaged over the classes that occur in the target, each with equal weight"

    def of(self, confusion: np.ndarray) -> float:
        support = confusion.sum(axis=1)
        present = support > 0
        return float(1 - np.mean(np.diag(confusion)[present] / support[present]))


class MacroF1(_Confusion):
    name = "macro-f1"
    direction: Literal["lower", "higher"] = "higher"
    summary = "F1 averaged over the classes that occur in target or prediction, each with equal weight"

    def of(self, confusion: np.ndarray) -> float:
        both = confusion.sum(axis=1) + confusion.sum(axis=0)
        present = both > 0
        return float(np.mean(2 * np.diag(confusion)[present] / both[present]))


class OneMinusF1(MacroF1):
    name = "1-f1"
    direction: Literal["lower", "higher"] = "lower"
    summary = "1 - macro-f1"

    def of(self, confusion: np.ndarray) -> float:
        return 1 - super().of(confusion)


class Kappa(_Confusion):
    """(p_o - p_e) / (1 - p_e), Cohen (1960)."""

    name, low = "kappa", -1.0
    direction: Literal["lower", "higher"] = "higher"
    summary = "Cohen's kappa, agreement beyond chance; undefined where all rows share one true and predicted class"

    def of(self, confusion: np.ndarray) -> float:
        n = confusion.sum()
        chance = float(confusion.sum(axis=1) @ confusion.sum(axis=0)) / n**2
        return float((np.trace(confusion) / n - chance) / (1 - chance)) if chance < 1 else float("nan")


class OneMinusAuroc(Metric):
    """Two classes: of the second class. More: one class against the rest, averaged over classes."""

    name, kinds, high = "1-auroc", _KINDS, 1.0
    summary = "1 - area under the ROC curve (macro, one-vs-rest, over classes present); needs two classes in the target"

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        return prediction, target

    def remark(self, prediction: np.ndarray, target: np.ndarray, units: np.ndarray | None = None) -> str | None:
        prediction, target = self.pooled(*self.check(prediction, target), units)
        absent = prediction.shape[1] - len(np.unique(target))
        return f"{absent} of {prediction.shape[1]} classes do not occur and were left out" if absent else None

    def finish(self, *kept: np.ndarray) -> float:
        score, codes = kept
        if score.shape[1] == 2:
            return 1 - auroc(score[:, 1], codes == 1)
        return 1 - macro_auroc(score, codes[:, None] == np.arange(score.shape[1]))


class OneMinusAurocOvo(OneMinusAuroc):
    name = "1-auroc-ovo"
    summary = "1 - area under the ROC curve averaged over pairs of classes (Hand and Till); needs two classes present"

    def finish(self, *kept: np.ndarray) -> float:
        score, codes = kept
        return 1 - pairwise_auroc(score, codes)


METRIC = (
    Error(),
    Accuracy(),
    BalancedError(),
    LogLoss(),
    MacroF1(),
    OneMinusF1(),
    Kappa(),
    OneMinusAuroc(),
    OneMinusAurocOvo(),
)
