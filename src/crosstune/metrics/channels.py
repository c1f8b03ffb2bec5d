"""Relative errors of fields with several channels, and the published names of the joint one."""

from __future__ import annotations

import math

import numpy as np

from crosstune.errors import DataError
from crosstune.metrics.base import MeanMetric
from crosstune.metrics.checks import named_rows
from crosstune.metrics.dense import NrmseField


class NrmseChannel(MeanMetric):
    """||p - y|| / ||y|| of every channel of every sample, averaged over the channels and then over the samples.

    The normalisation of PDEBench's nRMSE (Takamoto et al. 2022) for one frame: a small channel counts as much as a
    large one, where ``nrmse-field`` is decided by the largest. A channel without a known point does not count.
    """

    name, kinds = "nrmse-channel", ("dense",)
    summary = (
        "relative L2 error of each channel of each field, averaged over channels and samples; refuses a channel that "
        "is zero everywhere"
    )

    def check(self, prediction: np.ndarray, target: np.ndarray, first_row: int = 0) -> tuple[np.ndarray, np.ndarray]:
        prediction, target = super().check(prediction, target, first_row)
        known = _by_channel(~np.isnan(target)).any(axis=2)
        zero = known & ~(_by_channel(np.nan_to_num(target, nan=0.0)) != 0).any(axis=2)
        if zero.any():
            channel = int(np.flatnonzero(zero.any(axis=0))[0])
            raise DataError(
                f"{self.name}: channel {channel} of the target is zero everywhere in "
                f"{named_rows(zero[:, channel], first_row)}",
                cause="relative error has no meaning against a zero field",
                fix="use --metric nrmse-field, which joins the channels, or rmse-field",
            )
        return prediction, target

    def contribution(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        known = _by_channel(~np.isnan(target)).any(axis=2)
        error = np.linalg.norm(_by_channel(np.nan_to_num(prediction - target, nan=0.0)), axis=2)
        size = np.linalg.norm(_by_channel(np.nan_to_num(target, nan=0.0)), axis=2)
        ratio = np.divide(error, size, out=np.zeros_like(error), where=known)
        return ratio.sum(axis=1) / known.sum(axis=1)


class RelativeL2(NrmseField):
    """The name of NAS-Bench-360's Darcy flow (after Li et al. 2021) for what ``nrmse-field`` is: the number of points
    cancels between root mean squares and norms."""

    name = "relative-l2"
    summary = "relative L2 error of each field, averaged over samples: nrmse-field under its name in NAS-Bench-360"


def _by_channel(field: np.ndarray) -> np.ndarray:
    """(n, C, ...) to (n, C, points)."""
    return field.reshape(*field.shape[:2], math.prod(field.shape[2:]))


METRIC = (NrmseChannel(), RelativeL2())
