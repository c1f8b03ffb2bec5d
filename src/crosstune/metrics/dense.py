"""Metrics of dense targets: fields (n, C, ...) against fields (n, C, ...), NaN where a position does not count."""

from __future__ import annotations

import math

import numpy as np

from crosstune.errors import DataError
from crosstune.metrics.base import Kept, MeanMetric, Metric
from crosstune.metrics.checks import named_rows
from crosstune.records import TargetKind

_KINDS: tuple[TargetKind, ...] = ("dense",)


def _flat(field: np.ndarray) -> np.ndarray:
    return field.reshape(len(field), math.prod(field.shape[1:]))


def _known(target: np.ndarray) -> np.ndarray:
    """Fields (n, points) with zeros where nothing is known: they add nothing to sums of squares."""
    return np.nan_to_num(_flat(target), nan=0.0)


def _residual(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Differences (n, points), zero where nothing is known."""
    return np.nan_to_num(_flat(prediction - target), nan=0.0)


def _counted(target: np.ndarray) -> np.ndarray:
    """How many points of each row (n,) count."""
    return (~np.isnan(_flat(target))).sum(axis=1)


class NrmseField(MeanMetric):
    """Relative L2 error per sample, ||p - y|| / ||y|| over all channels and points, then the mean over samples."""

    name, kinds = "nrmse-field", _KINDS
    summary = "relative L2 error of each field, averaged over samples; refuses a target field that is zero everywhere"

    def check(self, prediction: np.ndarray, target: np.ndarray, first_row: int = 0) -> tuple[np.ndarray, np.ndarray]:
        prediction, target = super().check(prediction, target, first_row)
        zero = ~(_known(target) != 0).any(axis=1)
        if zero.any():
            raise DataError(
                f"{self.name}: the target field is zero everywhere in {named_rows(zero, first_row)}",
                cause="relative error has no meaning against a zero field",
                fix="use --metric rmse-field, or drop these rows",
            )
        return prediction, target

    def contribution(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return np.linalg.norm(_residual(prediction, target), axis=1) / np.linalg.norm(_known(target), axis=1)


class RmseField(Metric):
    name, kinds = "rmse-field", _KINDS
    summary = "root mean squared error over all samples, channels and points; unit of the target"

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        return (_residual(prediction, target) ** 2).sum(axis=1), _counted(target)

    def finish(self, *kept: np.ndarray) -> float:
        return math.sqrt(math.fsum(kept[0].tolist()) / int(kept[1].sum()))


class MaeField(Metric):
    name, kinds = "mae-field", _KINDS
    summary = "mean absolute error over all samples, channels and points; unit of the target"

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        return np.abs(_residual(prediction, target)).sum(axis=1), _counted(target)

    def finish(self, *kept: np.ndarray) -> float:
        return math.fsum(kept[0].tolist()) / int(kept[1].sum())


METRIC = (NrmseField(), RmseField(), MaeField())
