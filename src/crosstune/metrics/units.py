"""Rows that are pieces of one thing, made one row: the windows of a recording, the crops of a clip."""

from __future__ import annotations

from typing import Literal

import numpy as np

from crosstune.errors import DataError

Pooling = Literal["mean", "logits", "votes"]
_EPS = float(np.finfo(np.float64).eps)


def pool(
    prediction: np.ndarray, target: np.ndarray, units: np.ndarray, how: Pooling = "mean"
) -> tuple[np.ndarray, np.ndarray]:
    """One prediction and one target per unit, (u, ...), in ascending order of the units' numbers.

    prediction: (n, ...), target: (n, ...) in canonical form; units: (n,) integers. how: "mean" of the predictions;
    "logits", the mean of the log-odds of probabilities against 1 - p, or of log p renormalised over classes where the
    target is a code; "votes", the share of a unit's rows whose most probable class it is (ties of the shares count for
    the first class). Raises ``DataError`` where the rows of a unit do not have one target, or units do not fit.
    """
    units = np.asarray(units)
    if units.shape != (len(prediction),) or units.dtype.kind not in "iu":
        raise DataError(
            f"units have shape {units.shape} and type {units.dtype}, not one integer for each of {len(prediction)} "
            "rows",
            fix="number the recordings, clips or proteins and repeat the number for each of their rows",
        )
    numbers, first, index, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    differs = target != target[first][index]
    if target.dtype.kind == "f":
        differs &= ~(np.isnan(target) & np.isnan(target[first][index]))
    differs = differs.reshape(len(target), -1).any(axis=1)
    if differs.any():
        row = int(np.flatnonzero(differs)[0])
        raise DataError(
            f"unit {units[row]}: row {row} has another target than row {first[index[row]]}",
            cause="rows of different things carry the same number",
            fix="give each recording, clip or protein a number of its own, or use a metric that does not pool rows",
        )
    codes = target.dtype.kind in "iu"
    if how == "votes":
        prediction = np.moveaxis(np.eye(prediction.shape[1])[prediction.argmax(axis=1)], -1, 1)
    elif how == "logits":
        clipped = np.clip(prediction, _EPS, 1 - _EPS)
        prediction = np.log(clipped) if codes else np.log(clipped / (1 - clipped))
    sums = np.zeros((len(numbers), *prediction.shape[1:]))
    np.add.at(sums, index, prediction)
    mean = sums / sizes.reshape(-1, *[1] * (prediction.ndim - 1))
    if how == "logits":
        odds = np.exp(mean - mean.max(axis=1, keepdims=True)) if codes else 1 / (1 + np.exp(-mean))
        mean = odds / odds.sum(axis=1, keepdims=True) if codes else odds
    return mean, target[first]
