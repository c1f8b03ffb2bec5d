"""The floors of every forecast: the field does not change, or it forgets everything but its mean."""

from __future__ import annotations

import numpy as np

from crosstune.floors.base import Allowance, FloorSpec
from crosstune.floors.common import joined, require_target
from crosstune.floors.fields import another_grid, mean_field
from crosstune.records import Dataset


class CopyInput:
    """Predicts an input channel for every target channel; missing values become the training mean of the target.

    With as many channels on both sides each is copied to its own; otherwise each target channel takes the input channel
    with the smallest squared error on the training rows.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._fill = np.zeros(0)
        self._sources: tuple[int, ...] = ()

    def fit(self, train: Dataset, seed: int) -> None:
        y = require_target(train)
        field = mean_field(y)
        self._fill = field.mean(axis=tuple(range(1, field.ndim)))
        self._sources = tuple(range(y.shape[1]))
        if train.X.shape[1] != y.shape[1]:
            self._sources = tuple(self._closest(train, y[:, [c]], c) for c in range(y.shape[1]))
            pairs = (f"target {c} from input {source}" for c, source in enumerate(self._sources))
            self.note = joined(f"channels: {', '.join(pairs)}")

    def predict(self, data: Dataset) -> np.ndarray:
        return self._filled(self._value(data.X[:, list(self._sources)], data.lengths), self._fill)

    def _closest(self, train: Dataset, y: np.ndarray, channel: int) -> int:
        errors = []
        for source in range(train.X.shape[1]):
            value = self._value(train.X[:, [source]], train.lengths)
            errors.append(float(np.nanmean((self._filled(value, self._fill[[channel]]) - y) ** 2)))
        return int(np.argmin(errors))

    def _value(self, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        return x

    def _filled(self, value: np.ndarray, fill: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(value), fill.reshape(1, -1, *[1] * (value.ndim - 2)), value).astype(np.float64)


class SpatialMean(CopyInput):
    """Predicts the mean over space of an input channel at every point: where a conserved quantity has spread evenly."""

    def _value(self, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        axes = tuple(range(2, x.ndim))
        known = np.isfinite(x)
        inside = np.ones_like(known)
        if lengths is not None:
            inside = np.broadcast_to(np.arange(x.shape[2]) < np.asarray(lengths)[:, None, None], x.shape)
        known = known & inside
        count = known.sum(axis=axes, keepdims=True)
        total = np.where(known, x, 0).sum(axis=axes, keepdims=True, dtype=np.float64)
        mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return np.where(inside, mean, 0.0)


FLOOR = (
    FloorSpec(
        name="copy-input",
        label="copy of the input",
        summary="persistence: the predicted field is the input field (of other channels the closest one), on one grid",
        kinds=("dense",),
        modalities=("series", "grid", "volume"),
        build=CopyInput,
        effort=0.11,
        applies=another_grid,
    ),
    FloorSpec(
        name="input-mean",
        label="spatial mean of the input",
        summary="the predicted field is the mean of the input field at every point (of other channels the closest one)",
        kinds=("dense",),
        modalities=("series", "grid", "volume"),
        build=SpatialMean,
        effort=0.12,
        applies=another_grid,
    ),
)
