"""Linear models on flattened inputs: logistic regression, and ridge regression for values and fields."""

from __future__ import annotations

import numpy as np

from crosstune.data.flatten import Flattener
from crosstune.floors.base import ALL_MODALITIES, Allowance, FloorSpec
from crosstune.floors.common import (
    affordable,
    chunks,
    class_count,
    flatten_cost,
    input_size,
    joined,
    require_target,
    target_matrix,
)
from crosstune.floors.fields import fields_to_learn, shrink
from crosstune.floors.logistic import Logistic, logistic_cost
from crosstune.floors.ridge import Ridge, ridge_cost
from crosstune.records import Dataset
from crosstune.seeding import derive_seed

_MAX_FEATURES = 65_536
_MAX_VALUES = 60_000_000  # of a matrix of features or targets in float64: 0.5 GB


class Linear:
    """Classification: multinomial logistic regression. Multilabel: one per label. Regression and dense: ridge."""

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._seconds = allowance.seconds

    def fit(self, train: Dataset, seed: int) -> None:
        train, cut = affordable(train, lambda n: self._cost(train, n), self._seconds, seed)
        y = require_target(train)
        self._kind, self._shape = train.kind, y.shape[1:]
        self._ragged = False
        if train.kind == "dense":
            y, self._ragged = fields_to_learn(train)
        self._flattener = Flattener(max_features=_MAX_FEATURES, seed=derive_seed(seed, "flatten"))
        self._flattener.fit(train)
        z = self._flattener.transform(train)
        if train.kind in ("classification", "multilabel"):
            codes = y[:, None] if train.kind == "classification" else y
            classes = class_count(train) if train.kind == "classification" else 2
            self._model: Logistic | Ridge = Logistic(classes, derive_seed(seed, "logistic")).fit(
                z, codes.astype(np.int64)
            )
            chosen = f"C = {self._model.c:g}"
        else:
            self._model = Ridge(0.3 * self._seconds).fit(z, target_matrix(y), derive_seed(seed, "ridge"))
            chosen = f"alpha = {self._model.alpha:.3g}"
        self.note = joined(chosen, cut)

    def predict(self, data: Dataset) -> np.ndarray:
        parts = [self._model.predict(self._flattener.transform(part)) for part in chunks(data)]
        answer = np.concatenate(parts)
        if self._kind == "classification":
            return answer[:, 0]
        if self._kind == "multilabel":
            return answer[:, :, 1]
        answer = answer.reshape(len(data), *self._shape)
        return shrink(answer, data.lengths) if self._ragged and data.lengths is not None else answer

    @staticmethod
    def _cost(train: Dataset, rows: int) -> float:
        features = min(_MAX_FEATURES, input_size(train))
        y = require_target(train)
        outputs = int(np.prod(y.shape[1:]))
        if rows * max(features, outputs) > _MAX_VALUES:
            return np.inf
        flatten = flatten_cost(input_size(train), rows, features)
        if train.kind == "classification":
            return flatten + logistic_cost(rows, features, class_count(train), 1)
        if train.kind == "multilabel":
            return flatten + logistic_cost(rows, features, 2, outputs)
        return flatten + ridge_cost(rows, features, outputs)


FLOOR = FloorSpec(
    name="linear",
    label="linear model",
    labels={
        "classification": "logistic regression",
        "multilabel": "logistic regression per label",
        "regression": "ridge regression",
        "dense": "linear operator (ridge)",
    },
    summary="logistic or ridge regression on flattened, standardised inputs; penalty by cross-validation",
    kinds=("classification", "multilabel", "regression", "dense"),
    modalities=ALL_MODALITIES,
    build=Linear,
    effort=2.0,
    imports=("sklearn.linear_model", "sklearn.model_selection"),
)
