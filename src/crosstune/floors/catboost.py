"""CatBoost (Prokhorenkova et al. 2018): ordered gradient boosting that takes categories as they are. Needs catboost."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from crosstune.floors.base import Allowance, FloorSpec
from crosstune.floors.common import affordable, chunks, class_count, input_size, joined, require_target, spread_columns
from crosstune.records import Dataset
from crosstune.seeding import Streams, derive_seed

_MOST_ROUNDS, _FEWEST_ROUNDS = 1000, 50
_HELD_OUT, _ENOUGH = 0.1, 500  # of the rows choose the number of rounds, where there are so many
_PATIENCE = 50  # rounds
_ANSWERING = 0.1  # of the allowance, kept free for the answers where the clock ends training


class CatBoost:
    """One boosted model; one per output or label where there are several. The library's own settings: depth 6, a
    learning rate by the number of rows and rounds.

    With 500 rows or more a tenth of them (of every class, where there are classes) choose the number of rounds. When
    time is short, first rounds are cut down to 50, then rows. Missing categories are a category of their own.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._allowance = allowance

    def fit(self, train: Dataset, seed: int) -> None:
        seconds, trees = self._allowance.seconds, _trees_per_round(train)
        width = input_size(train)
        train, cut = affordable(train, lambda n: catboost_cost(n, width, trees, _FEWEST_ROUNDS), seconds, seed)
        each = catboost_cost(len(train), width, trees, 1) - catboost_cost(len(train), width, trees, 0)
        left = seconds - catboost_cost(len(train), width, trees, 0)
        rounds = int(np.clip(left / each, _FEWEST_ROUNDS, _MOST_ROUNDS))
        y = require_target(train)
        self._kind, self._categories = train.kind, sorted(train.categories)
        self._classes = class_count(train) if train.kind == "classification" else 2
        columns = y[:, None] if train.kind == "classification" else y
        streams, options = Streams(seed), self._options(rounds, seed)
        self._late, kept = False, []
        self._models = []
        for column in columns.T:
            model = self._fit(train, column, options, streams["held-out"])
            self._models.append(model)
            kept += [] if isinstance(model, (float, np.ndarray)) else [model.tree_count_]
        self.note = joined(
            f"{listed(kept)} of {rounds:,} rounds kept" if kept else "", "stopped by the clock" if self._late else "",
            cut or ("fewer rounds to keep the time limit" if rounds < _MOST_ROUNDS else ""),
        )  # fmt: skip

    def predict(self, data: Dataset) -> np.ndarray:
        return np.concatenate([self._predict(part) for part in chunks(data)])

    def _options(self, rounds: int, seed: int) -> dict[str, Any]:
        return {
            "iterations": rounds, "random_seed": derive_seed(seed, "catboost") % 2**31, "verbose": False,
            "thread_count": self._allowance.threads, "allow_writing_files": False,
        }  # fmt: skip

    def _fit(self, train: Dataset, column: np.ndarray, options: dict[str, Any], rng: np.random.Generator) -> Any:
        """A fitted model, or what is predicted always, where the column has only one value or the inputs have."""
        if (column == column[0]).all() or not _varies(train.X):
            return _constant(column, self._kind, self._classes)
        values = self._kind == "regression"
        column = column.astype(np.float64) if values else column.astype(np.int64)
        held = _held_out(column, rng, stratified=not values)
        learn = np.setdiff1d(np.arange(len(column)), held)
        if len(held) and not _varies(train.X[learn]):
            held, learn = held[:0], np.arange(len(column))
        library = importlib.import_module("catboost")
        made: Any = (library.CatBoostRegressor if values else library.CatBoostClassifier)(**options)
        judged = None
        if len(held):
            judged = library.Pool(self._inputs(train.X[held]), label=column[held])
        made.fit(
            library.Pool(self._inputs(train.X[learn]), label=column[learn]), eval_set=judged,
            early_stopping_rounds=_PATIENCE if len(held) else None, callbacks=[self],
        )  # fmt: skip
        return made

    def after_iteration(self, info: Any) -> bool:
        """Whether to go on; called by the library after every round."""
        over = time.monotonic() > self._allowance.until - _ANSWERING * self._allowance.seconds
        self._late = self._late or over
        return not over

    def _inputs(self, x: np.ndarray) -> Any:
        """Numbers, and codes of categories as words; the library tells columns apart by their place."""
        library = importlib.import_module("catboost")
        numbers = np.delete(x, self._categories, axis=1).astype(np.float32)
        words = np.full((len(x), len(self._categories)), b"missing", dtype=object)
        for place, column in enumerate(self._categories):
            known = np.isfinite(x[:, column])
            words[known, place] = [b"%d" % code for code in x[known, column].astype(np.int64)]
        return library.FeaturesData(
            num_feature_data=numbers if numbers.shape[1] else None, cat_feature_data=words if words.shape[1] else None
        )

    def _predict(self, data: Dataset) -> np.ndarray:
        if self._kind == "classification":
            return self._probabilities(self._models[0], data.X)
        if self._kind == "multilabel":
            return np.stack([self._probabilities(model, data.X)[:, 1] for model in self._models], axis=1)
        values = [
            np.full(len(data), m) if isinstance(m, float) else m.predict(self._inputs(data.X)) for m in self._models
        ]
        return np.stack(values, axis=1)

    def _probabilities(self, model: Any, x: np.ndarray) -> np.ndarray:
        if isinstance(model, np.ndarray):
            return np.repeat(model[None], len(x), axis=0)
        return spread_columns(model.predict_proba(self._inputs(x)), model.classes_, self._classes)


def listed(counts: list[int]) -> str:
    """ "120", or "80 to 200" of several models."""
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _constant(column: np.ndarray, kind: str | None, classes: int) -> Any:
    """What is predicted where nothing can be learned: the mean, or the shares of the classes (K,)."""
    if kind == "regression":
        return float(column.mean())
    return np.bincount(column.astype(np.int64), minlength=classes) / len(column)


def _varies(x: np.ndarray) -> bool:
    """Whether any column has two values; the library refuses data in which none has."""
    known = np.isfinite(x)
    filled = np.where(known, x, 0)
    return bool(((filled != filled[:1]) | (known != known[:1])).any())


def _held_out(column: np.ndarray, rng: np.random.Generator, *, stratified: bool) -> np.ndarray:
    """Sorted row numbers; of few rows none, and none of a class with fewer than ten."""
    order = rng.permutation(len(column))
    if len(column) < _ENOUGH:
        return order[:0]
    if not stratified:
        return np.sort(order[: round(_HELD_OUT * len(column))])
    chosen = [
        rows[: int(_HELD_OUT * len(rows))] for code in np.unique(column) if len(rows := order[column[order] == code])
    ]
    return np.sort(np.concatenate(chosen))


def _trees_per_round(train: Dataset) -> int:
    y = require_target(train)
    if train.kind == "classification":
        return class_count(train) if class_count(train) > 2 else 1
    return y.shape[1]


def catboost_cost(rows: int, features: int, trees: int, rounds: int) -> float:
    """Seconds on one core, measured: a round's 64 leaves are looked for among 254 borders of every feature, fewer where
    there are few rows."""
    each = 4e-4 + 1e-4 * features * min(1.0, rows / 500) + 1.5e-7 * rows
    return float(0.1 + features * rows * 1e-7 + rounds * trees * each)


FLOOR = FloorSpec(
    name="catboost",
    label="CatBoost",
    summary="CatBoost, for tables; categories and missing values as they are",
    kinds=("classification", "multilabel", "regression"),
    modalities=("table",),
    build=CatBoost,
    effort=3.1,
    least=5.0,
    extra="floors",
    requires="catboost",
    imports=("catboost",),
)
