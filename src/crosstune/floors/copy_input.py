"""Persistence: the field does not change. The floor of every forecast."""

from __future__ import annotations

import numpy as np

from crosstune.floors.base import Allowance, FloorSpec
from crosstune.floors.common import require_target
from crosstune.floors.fields import mean_field
from crosstune.records import Dataset


class CopyInput:
    """Predicts the input itself; missing values become the training mean of their channel in the target."""

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._fill = np.zeros(0)

    def fit(self, train: Dataset, seed: int) -> None:
        y = require_target(train)
        field = mean_field(y)
        self._fill = field.mean(axis=tuple(range(1, field.ndim)))

    def predict(self, data: Dataset) -> np.ndarray:
        fill = self._fill.reshape(1, -1, *[1] * (data.X.ndim - 2))
        return np.where(np.isnan(data.X), fill, data.X).astype(np.float64)


def _other_shape(data: Dataset) -> str | None:
    if data.y is None or data.y.shape[1:] == data.X.shape[1:]:
        return None
    return f"input {data.X.shape[1:]} and target {data.y.shape[1:]} have different shapes"


FLOOR = FloorSpec(
    name="copy-input",
    label="copy of the input",
    summary="persistence: the predicted field is the input field (same shapes only)",
    kinds=("dense",),
    modalities=("series", "grid", "volume"),
    build=CopyInput,
    effort=0.11,
    applies=_other_shape,
)
