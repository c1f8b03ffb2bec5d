"""Ignores the input: what always saying the same thing would score."""

from __future__ import annotations

import numpy as np

from crosstune.floors.base import ALL_KINDS, ALL_MODALITIES, Allowance, FloorSpec
from crosstune.floors.common import class_count, one_hot, require_target
from crosstune.floors.fields import has_ragged_fields, mean_field, shrink, stretch
from crosstune.floors.maps import frequencies
from crosstune.records import Dataset


class Majority:
    """Class frequencies, label frequencies, the mean, the mean field, or the class frequencies at each position."""

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._answer = np.zeros(0)
        self._ragged = False

    def fit(self, train: Dataset, seed: int) -> None:
        y = require_target(train)
        self._ragged = train.kind == "dense" and has_ragged_fields(train, y.shape[1:])
        if train.kind == "classification":
            y = one_hot(y, class_count(train))
        elif self._ragged and train.lengths is not None:
            y = stretch(y, train.lengths)
        if train.kind == "segmentation":
            self._answer = frequencies(y, class_count(train))
        else:
            self._answer = mean_field(y) if train.kind == "dense" else y.mean(axis=0, dtype=np.float64)

    def predict(self, data: Dataset) -> np.ndarray:
        answer = np.repeat(self._answer[None], len(data), axis=0)
        return shrink(answer, data.lengths) if self._ragged and data.lengths is not None else answer


FLOOR = FloorSpec(
    name="majority",
    label="majority",
    labels={
        "classification": "most frequent class",
        "multilabel": "label frequencies",
        "regression": "mean",
        "dense": "mean field",
        "segmentation": "most frequent class",
    },
    summary="the same answer for every row: class (at each position) or label frequencies, the mean, the mean field",
    kinds=ALL_KINDS,
    modalities=ALL_MODALITIES,
    build=Majority,
    effort=0.1,
)
