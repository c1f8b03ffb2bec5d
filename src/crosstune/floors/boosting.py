"""Histogram gradient boosting: the usual winner on tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosstune.data.flatten import Flattener
from crosstune.floors.base import ALL_MODALITIES, Allowance, FloorSpec
from crosstune.floors.common import affordable, chunks, class_count, input_size, joined, require_target, spread_columns
from crosstune.floors.fields import coarsened
from crosstune.records import Dataset
from crosstune.seeding import derive_seed

_MAX_FEATURES = 512
_MOST_ROUNDS, _FEWEST_ROUNDS = 200, 30
_CATEGORY_LIMIT = 255  # of HistGradientBoosting


class Boosting:
    """One boosted model; one per output or label where there are several.

    Tables are used as they are, with missing values and categories; other inputs are averaged over blocks of
    neighbours, so that at most 512 values are left, and flattened. With 500 rows or more, rounds stop early on a tenth
    of them, if every class has at least 10. When time is short, first rounds are cut down to 30, with
    a learning rate that rises below 100 rounds, then rows.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._seconds = allowance.seconds
        self._flattener: Flattener | None = None

    def fit(self, train: Dataset, seed: int) -> None:
        trees, features = _trees_per_round(train), _features(train)
        train, cut = affordable(train, lambda n: boosting_cost(n, features, trees, _FEWEST_ROUNDS), self._seconds, seed)
        start = boosting_cost(len(train), features, trees, 0)
        each = boosting_cost(len(train), features, trees, 1) - start
        rounds = int(np.clip((self._seconds - start) / each, _FEWEST_ROUNDS, _MOST_ROUNDS))
        if not train.is_table:
            self._flattener = Flattener(max_features=_MAX_FEATURES, seed=derive_seed(seed, "flatten"))
            self._flattener.fit(coarsened(train, _MAX_FEATURES))
        y = require_target(train)
        self._kind = train.kind
        self._classes = class_count(train) if train.kind == "classification" else 2
        options = self._options(train, rounds, seed)
        z = self._inputs(train)
        columns = y[:, None] if train.kind == "classification" else y
        self._models = [_fit(train.kind, z, column, options) for column in columns.T]
        shortened = f"at most {rounds} rounds" if rounds < _MOST_ROUNDS else ""
        self.note = joined(shortened, cut) if cut or not shortened else f"{shortened} to keep the time limit"

    def predict(self, data: Dataset) -> np.ndarray:
        parts = [self._predict(self._inputs(part)) for part in chunks(data)]
        return np.concatenate(parts)

    def _inputs(self, data: Dataset) -> np.ndarray:
        return data.X if self._flattener is None else self._flattener.transform(coarsened(data, _MAX_FEATURES))

    def _options(self, train: Dataset, rounds: int, seed: int) -> dict[str, Any]:
        categorical = [c for c, names in train.categories.items() if len(names) <= _CATEGORY_LIMIT]
        return {
            "max_iter": rounds,
            "learning_rate": 0.1 * max(1.0, 100 / rounds),
            "random_state": derive_seed(seed, "boosting") % 2**32,
            "categorical_features": categorical if train.is_table and categorical else None,
        }

    def _predict(self, z: np.ndarray) -> np.ndarray:
        if self._kind == "classification":
            return self._probabilities(self._models[0], z)
        if self._kind == "multilabel":
            return np.stack([self._probabilities(model, z)[:, 1] for model in self._models], axis=1)
        values = [np.full(len(z), m) if isinstance(m, float) else m.predict(z) for m in self._models]
        return np.stack(values, axis=1)

    def _probabilities(self, model: Any, z: np.ndarray) -> np.ndarray:
        if isinstance(model, float):
            return spread_columns(np.ones((len(z), 1)), np.array([int(model)]), self._classes)
        return spread_columns(model.predict_proba(z), model.classes_, self._classes)


def _fit(kind: str | None, z: np.ndarray, column: np.ndarray, options: dict[str, Any]) -> Any:
    """A fitted model, or the constant itself as a float where the column has only one value."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if (column == column[0]).all():
        return float(column[0])
    if kind == "regression":
        return HistGradientBoostingRegressor(early_stopping=len(z) >= 500, **options).fit(z, column)
    column = column.astype(np.int64)
    _, counts = np.unique(column, return_counts=True)
    stop = bool(len(z) >= 500 and counts.min() >= 10)
    return HistGradientBoostingClassifier(early_stopping=stop, **options).fit(z, column)


def _features(train: Dataset) -> int:
    if train.is_table:
        return input_size(train)
    return min(_MAX_FEATURES, input_size(coarsened(train.take(np.arange(1)), _MAX_FEATURES)))


def _trees_per_round(train: Dataset) -> int:
    y = require_target(train)
    if train.kind == "classification":
        return class_count(train) if class_count(train) > 2 else 1
    return y.shape[1]


def boosting_cost(rows: int, features: int, trees: int, rounds: int) -> float:
    """Seconds on one core, measured: about 30 leaves per tree, each with a histogram over all features; many features
    no longer fit into the cache.
    """
    leaves = 1.2e-4 * min(1.0, rows / 1000) * min(1.0, np.sqrt(features / 512))
    return float(trees * features * rows * 2e-7 + rounds * trees * (2e-3 + features * (leaves + 1.2e-8 * rows)))


FLOOR = FloorSpec(
    name="boosting",
    label="gradient boosting",
    summary="histogram gradient boosting; tables with missing values and categories, other inputs coarsened, flattened",
    kinds=("classification", "multilabel", "regression"),
    modalities=ALL_MODALITIES,
    build=Boosting,
    effort=3.0,
    imports=("sklearn.ensemble",),
)
