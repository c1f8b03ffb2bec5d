"""k nearest neighbours in Euclidean distance between flattened, standardised inputs."""

from __future__ import annotations

import numpy as np

from crosstune.data.flatten import Flattener
from crosstune.floors.base import ALL_KINDS, ALL_MODALITIES, Allowance, FloorSpec
from crosstune.floors.common import (
    affordable,
    chunks,
    class_count,
    flatten_cost,
    input_size,
    joined,
    one_hot,
    require_target,
    target_matrix,
)
from crosstune.floors.fields import has_ragged_fields, shrink, stretch
from crosstune.records import Dataset
from crosstune.seeding import derive_seed

_NEIGHBOURS = (1, 3, 5, 9, 15, 25)
_MAX_FEATURES = 4096


class Nearest:
    """k from 1, 3, 5, 9, 15, 25 by leave-one-out error on the training rows, the smallest of equal ones.

    Classification is judged by 0-1 error, other kinds by squared error. Votes are weighted so slightly by rank that
    only ties are decided by it. Dense targets take the field of the single nearest input.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._seconds = allowance.seconds
        self._k = 1

    def fit(self, train: Dataset, seed: int) -> None:
        from sklearn.neighbors import NearestNeighbors

        size = input_size(train)
        features = min(_MAX_FEATURES, size)
        train, note = affordable(
            train, lambda n: _cost(n, features) + flatten_cost(size, n, features), self._seconds, seed
        )
        y = require_target(train)
        self._shape = y.shape[1:]
        self._ragged = train.kind == "dense" and has_ragged_fields(train, self._shape)
        if self._ragged and train.lengths is not None:
            y = stretch(y, train.lengths)
        codes = train.kind == "classification"
        self._values = one_hot(y, class_count(train)) if codes else target_matrix(y)
        self._flattener = Flattener(max_features=_MAX_FEATURES, seed=derive_seed(seed, "flatten"))
        self._flattener.fit(train)
        self._index = NearestNeighbors(algorithm="brute").fit(self._flattener.transform(train))
        self._k = 1 if train.kind == "dense" else self._choose(codes)
        self.note = joined(f"k = {self._k}", note)

    def predict(self, data: Dataset) -> np.ndarray:
        parts = [np.empty((0, self._values.shape[1]))]
        for part in chunks(data):
            found = self._index.kneighbors(self._flattener.transform(part), self._k, return_distance=False)
            parts.append(self._vote(found))
        answer = np.concatenate(parts)
        if len(self._shape) < 2:
            return answer
        answer = answer.reshape(len(data), *self._shape)
        return shrink(answer, data.lengths) if self._ragged and data.lengths is not None else answer

    def _vote(self, neighbours: np.ndarray) -> np.ndarray:
        """Weighted mean of the neighbours' targets, (n, k) indices to (n, K)."""
        k = neighbours.shape[1]
        if k == 1:
            return self._values[neighbours[:, 0]]
        weights = 1 + 1e-3 / np.arange(1, k + 1)
        return np.einsum("nkc,k->nc", self._values[neighbours], weights / weights.sum())

    def _choose(self, codes: bool) -> int:
        rows = len(self._values)
        options = [k for k in _NEIGHBOURS if k < rows]
        if not options:
            return 1
        found = self._index.kneighbors(n_neighbors=options[-1], return_distance=False)  # a row is not its own neighbour
        scale = np.maximum(self._values.var(axis=0), np.finfo(float).tiny)
        errors = []
        for k in options:
            guess = self._vote(found[:, :k])
            if codes:
                errors.append(np.mean(guess.argmax(axis=1) != self._values.argmax(axis=1)))
            else:
                errors.append(np.mean((guess - self._values) ** 2 / scale))
        return options[int(np.argmin(errors))]


def _cost(rows: int, features: int) -> float:
    """Seconds on one core: all distances among the rows once, and about as many for the queries."""
    return 2 * rows**2 * (features / 2e10 + 1e-8)


FLOOR = FloorSpec(
    name="nearest",
    label="nearest neighbour",
    summary="k nearest training rows in Euclidean distance, k by leave-one-out; for fields, that of the nearest input",
    kinds=ALL_KINDS,
    modalities=ALL_MODALITIES,
    build=Nearest,
    effort=1.0,
    imports=("sklearn.neighbors",),
)
