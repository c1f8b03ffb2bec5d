"""Metrics of dense targets: fields (n, C, ...) against fields (n, C, ...)."""

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


class NrmseField(MeanMetric):
    """Relative L2 error per sample, ||p - y|| / ||y|| over all channels and points, then the mean over samples."""

    name, kinds = "nrmse-field", _KINDS
    summary = "relative L2 error of each field, averaged over samples; refuses a target field that is zero everywhere"

    def check(self, prediction: np.ndarray, target: np.ndarray, first_row: int = 0) -> tuple[np.ndarray, np.ndarray]:
        prediction, target = super().check(prediction, target, first_row)
        zero = ~(_flat(target) != 0).any(axis=1)
        if zero.any():
            raise DataError(
                f"nrmse-field: the target field is zero everywhere in {named_rows(zero, first_row)}",
                cause="relative error has no meaning against a zero field",
                fix="use --metric rmse-field, or drop these rows",
            )
        return prediction, target

    def contribution(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return np.linalg.norm(_flat(prediction - target), axis=1) / np.linalg.norm(_flat(target), axis=1)


class RmseField(Metric):
    name, kinds = "rmse-field", _KINDS
    summary = "root mean squared error over all samples, channels and points; unit of the target"

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        return (np.mean(_flat(prediction - target) ** 2, axis=1),)

    def finish(self, *kept: np.ndarray) -> float:
        return math.sqrt(math.fsum(kept[0].tolist()) / len(kept[0]))


class MaeField(MeanMetric):
    name, kinds = "mae-field", _KINDS
    summary = "mean absolute error over all samples, channels and points; unit of the target"

    def contribution(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return np.mean(np.abs(_flat(prediction - target)), axis=1)


METRIC = (NrmseField(), RmseField(), MaeField())
