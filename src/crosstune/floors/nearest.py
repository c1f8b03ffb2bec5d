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
from crosstune.floors.fields import has_ragged_fields, mean_field, shrink, stretch
from crosstune.floors.maps import best_neighbours, frequencies, shrink_maps, stretch_codes, votes
from crosstune.records import FIELD_KINDS, Dataset
from crosstune.seeding import derive_seed

_NEIGHBOURS = (1, 3, 5, 9, 15, 25)
_MAX_FEATURES = 4096


class Nearest:
    """k from 1, 3, 5, 9, 15, 25 by leave-one-out error on the training rows, the smallest of equal ones.

    Classification is judged by 0-1 error, other kinds by squared error. Votes are weighted so slightly by rank that
    only ties are decided by it. Dense targets take the field of the single nearest input, and what is unknown in it
    from the next ones; class maps are voted on at each position, k by pixel error.
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
        self._kind = train.kind
        self._ragged = train.kind in FIELD_KINDS and has_ragged_fields(train, self._shape)
        codes = train.kind == "classification"
        if train.kind == "segmentation":
            self._maps = stretch_codes(y, train.lengths) if self._ragged and train.lengths is not None else y
            self._prior = frequencies(self._maps, class_count(train))
        else:
            y = stretch(y, train.lengths) if self._ragged and train.lengths is not None else y
            self._values = one_hot(y, class_count(train)) if codes else target_matrix(y)
            self._mean = mean_field(y).reshape(-1) if train.kind == "dense" else None
        self._flattener = Flattener(max_features=_MAX_FEATURES, seed=derive_seed(seed, "flatten"))
        self._flattener.fit(train)
        self._index = NearestNeighbors(algorithm="brute").fit(self._flattener.transform(train))
        self._k = 1 if train.kind == "dense" else self._choose(codes)
        self._rows = len(train)
        self.note = joined(f"k = {self._k}", note)

    def predict(self, data: Dataset) -> np.ndarray:
        if self._kind == "segmentation":
            return self._predict_maps(data)
        parts = [np.empty((0, self._values.shape[1]))]
        for part in chunks(data):
            k = self._k if self._mean is None else min(_NEIGHBOURS[-1], self._rows)
            found = self._index.kneighbors(self._flattener.transform(part), k, return_distance=False)
            parts.append(self._vote(found) if self._mean is None else self._first_known(found))
        answer = np.concatenate(parts)
        if len(self._shape) < 2:
            return answer
        answer = answer.reshape(len(data), *self._shape)
        return shrink(answer, data.lengths) if self._ragged and data.lengths is not None else answer

    def _predict_maps(self, data: Dataset) -> np.ndarray:
        parts = [np.empty((0, *self._prior.shape))]
        for part in chunks(data):
            found = self._index.kneighbors(self._flattener.transform(part), self._k, return_distance=False)
            parts.append(votes(self._maps, found, self._prior))
        answer = np.concatenate(parts)
        if not self._ragged or data.lengths is None:
            return answer
        return shrink_maps(answer, data.lengths, self._prior.mean(axis=1))

    def _first_known(self, neighbours: np.ndarray) -> np.ndarray:
        """Fields (n, points) of the nearest neighbours of (n, k), gaps filled from the next ones, then by the mean."""
        assert self._mean is not None
        out = self._values[neighbours[:, 0]]
        for rank in range(1, neighbours.shape[1]):
            gaps = np.isnan(out)
            if not gaps.any():
                return out
            out = np.where(gaps, self._values[neighbours[:, rank]], out)
        return np.where(np.isnan(out), self._mean, out)

    def _vote(self, neighbours: np.ndarray) -> np.ndarray:
        """Weighted mean of the neighbours' targets, (n, k) indices to (n, K)."""
        k = neighbours.shape[1]
        if k == 1:
            return self._values[neighbours[:, 0]]
        weights = 1 + 1e-3 / np.arange(1, k + 1)
        return np.einsum("nkc,k->nc", self._values[neighbours], weights / weights.sum())

    def _choose(self, codes: bool) -> int:
        rows = self._index.n_samples_fit_
        options = [k for k in _NEIGHBOURS if k < rows]
        if not options:
            return 1
        found = self._index.kneighbors(n_neighbors=options[-1], return_distance=False)  # a row is not its own neighbour
        if self._kind == "segmentation":
            return best_neighbours(self._maps, found, options, self._prior)
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
