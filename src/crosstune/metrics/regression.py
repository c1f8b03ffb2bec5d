"""Metrics of regression: values (n, K) against values (n, K). Several outputs are averaged with equal weight."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from crosstune.metrics.base import Kept, MeanMetric, Metric, column_sums
from crosstune.records import TargetKind

_KINDS: tuple[TargetKind, ...] = ("regression",)


class Mae(MeanMetric):
    name, kinds = "mae", _KINDS
    summary = "mean absolute error, averaged over outputs; unit of the target"

    def contribution(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return np.abs(prediction - target).mean(axis=1)


class _Moments(Metric):
    """Keeps the residual and the target of each row."""

    kinds = _KINDS

    def keep(self, prediction: np.ndarray, target: np.ndarray) -> Kept:
        return prediction - target, target


class Rmse(_Moments):
    name = "rmse"
    summary = "root mean squared error per output, averaged over outputs; unit of the target"

    def finish(self, *kept: np.ndarray) -> float:
        residual = kept[0]
        return float(np.mean(np.sqrt(column_sums(residual**2) / len(residual))))


class Nrmse(_Moments):
    """RMSE of an output over the standard deviation of its target in the same rows: 1 is what their mean scores.

    Equal to sqrt(1 - R2) for one output.
    """

    name = "nrmse"
    summary = (
        "root mean squared error over the target's standard deviation, per output, averaged over the outputs that "
        "vary; undefined where no target varies"
    )

    def finish(self, *kept: np.ndarray) -> float:
        squares, spread = _sums_of_squares(*kept)
        varying = spread > 0
        return float(np.mean(np.sqrt(squares[varying] / spread[varying]))) if varying.any() else math.nan


class R2(_Moments):
    """1 - SS_res / SS_tot. An output with a constant target counts 1 if predicted exactly and 0 if not."""

    name, low, high = "r2", -math.inf, 1.0
    direction: Literal["lower", "higher"] = "higher"
    summary = "coefficient of determination, averaged over outputs; needs two rows"

    def finish(self, *kept: np.ndarray) -> float:
        return 1 - _unexplained(*kept)


class OneMinusR2(_Moments):
    name = "1-r2"
    summary = "1 - R2: the share of variance left unexplained, averaged over outputs; needs two rows"

    def finish(self, *kept: np.ndarray) -> float:
        return _unexplained(*kept)


def _sums_of_squares(residual: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residual and total sums of squares (K,). A constant target has a spread of exactly 0."""
    shifted = target - target.min(axis=0)
    spread = column_sums((shifted - column_sums(shifted) / len(target)) ** 2)
    return column_sums(residual**2), np.where(np.ptp(target, axis=0) > 0, spread, 0.0)


def _unexplained(residual: np.ndarray, target: np.ndarray) -> float:
    if len(target) < 2:
        return math.nan
    squares, spread = _sums_of_squares(residual, target)
    constant = (squares > 0).astype(np.float64)
    return float(np.mean(np.divide(squares, spread, out=constant, where=spread > 0)))


METRIC = (Nrmse(), Rmse(), Mae(), R2(), OneMinusR2())
