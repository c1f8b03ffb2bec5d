"""One class per position from a window of the input around it: what a filter, rather than a network, would find."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosstune.floors.base import Allowance, FloorSpec
from crosstune.floors.boosting import boosting_cost
from crosstune.floors.common import class_count, input_size, joined, require_target, spread_columns
from crosstune.floors.logistic import Logistic, logistic_cost
from crosstune.records import IGNORED, Dataset
from crosstune.seeding import Streams, derive_seed

_MOST_FEATURES = 240  # of the finer window
_MOST_POSITIONS, _FEWEST_POSITIONS = 60_000, 1000  # learned from
_GATHER = 8e-9  # seconds on one core for one feature of one position
_CHUNK = 1 << 22  # features made at once
_MOST_ROUNDS, _FEWEST_ROUNDS = 100, 20
_TREE = 4e-8  # seconds on one core for one position through one tree
_CHEAPER = 0.3  # boosting on these features against what it costs on tables, measured


class Windows:
    """Features of positions: the standardised input in a window of radius r, means over windows of that size around
    it and its neighbours, and where in the sample the position lies. Missing values, and what lies outside, count as
    the mean of the channel. A target on another grid than the input is looked up at the nearest point.
    """

    def __init__(self, train: Dataset, most: float) -> None:
        axes = (0, *range(2, train.X.ndim))
        known = np.isfinite(train.X) & _inside(train)
        count = np.maximum(known.sum(axis=axes), 1)
        x = np.where(known, train.X, 0.0)
        self.mean = x.sum(axis=axes, dtype=np.float64) / count
        square = np.where(known, (x - self._spread(self.mean, x.ndim)) ** 2, 0.0).sum(axis=axes) / count
        self.scale = np.where(square > 0, np.sqrt(square), 1.0)
        self.grid = require_target(train).shape[1:]
        self.channels, self.extent = train.X.shape[1], train.X.shape[2:]
        self.radius = 1
        while self._fine(self.radius + 1) <= min(most, _MOST_FEATURES) and 2 * self.radius + 3 <= max(self.extent):
            self.radius += 1
        self.width = self._fine(self.radius) + self.channels * 3 ** len(self.extent) + 2 * len(self.extent)

    def _fine(self, radius: int) -> int:
        return int(self.channels * (2 * radius + 1) ** len(self.extent))

    @staticmethod
    def _spread(values: np.ndarray, axes: int) -> np.ndarray:
        return values.reshape(1, -1, *[1] * (axes - 2))

    def prepared(self, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Padded fine and coarse inputs of the rows, from which ``at`` cuts."""
        from scipy.ndimage import uniform_filter

        x = np.asarray(data.X, np.float64)
        known = np.isfinite(x) & _inside(data)
        z = np.where(known, (x - self._spread(self.mean, x.ndim)) / self._spread(self.scale, x.ndim), 0.0)
        side = 2 * self.radius + 1
        size = (1, 1, *[min(side, n) for n in self.extent])
        coarse = uniform_filter(z, size=size, mode="constant")
        flat = [(0, 0), (0, 0)]
        return (
            np.pad(z, flat + [(self.radius, self.radius)] * len(self.extent)),
            np.pad(coarse, flat + [(side, side)] * len(self.extent)),
        )

    def at(self, prepared: tuple[np.ndarray, np.ndarray], rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Features (m, width) of target positions ``places`` (m,), flat in C order, of the ``rows`` (m,)."""
        fine, coarse = prepared
        side = 2 * self.radius + 1
        index = np.unravel_index(places, self.grid)
        where = [(i * n + n // 2) // g for i, n, g in zip(index, self.extent, self.grid)]
        axes = tuple(range(2, fine.ndim))
        windows = np.lib.stride_tricks.sliding_window_view(fine, (side,) * len(axes), axis=axes)  # type: ignore[call-overload]
        parts = [windows[(rows, slice(None), *where)].reshape(len(rows), -1)]
        for shift in np.ndindex(*(3,) * len(axes)):
            parts.append(coarse[(rows, slice(None), *(w + s * side for w, s in zip(where, shift)))])
        for i, g in zip(index, self.grid):
            centred = (i + 0.5) / g * 2 - 1
            parts += [centred[:, None], centred[:, None] ** 2]
        return np.concatenate(parts, axis=1)


def _inside(data: Dataset) -> np.ndarray:
    if data.lengths is None:
        return np.ones((1,) * data.X.ndim, bool)
    return (np.arange(data.X.shape[2]) < data.lengths[:, None])[:, None]


class WindowFloor:
    """Trained on labelled positions drawn at random, as many as the time allows, and applied to all of them."""

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._seconds = allowance.seconds

    def fit(self, train: Dataset, seed: int) -> None:
        y = require_target(train)
        self._classes = class_count(train)
        positions = y.size  # and about as many to predict
        self._windows = Windows(train, 0.3 * self._seconds / (positions * _GATHER))
        labelled = np.flatnonzero(y.reshape(-1) != IGNORED)
        wanted = self._plan(self._windows.width, positions)
        if len(labelled) > wanted:
            labelled = np.sort(Streams(seed)["positions"].choice(labelled, wanted, replace=False))
        codes = y.reshape(-1)[labelled]
        self._fit(self._features(train, labelled), codes, derive_seed(seed, "window"))
        cut = f"learned from {len(labelled):,} positions" if len(labelled) == wanted else ""
        self.note = joined(f"window of radius {self._windows.radius}", self._chosen(), cut)

    def _features(self, data: Dataset, positions: np.ndarray) -> np.ndarray:
        """Features of flat positions of all rows together, in ascending order."""
        size = int(np.prod(self._windows.grid))
        rows, places = np.divmod(positions, size)
        out = np.empty((len(positions), self._windows.width))
        step = max(1, _CHUNK // max(1, input_size(data)))
        for start in range(0, len(data), step):
            some = slice(*np.searchsorted(rows, [start, start + step]))
            if some.start < some.stop:
                part = self._windows.prepared(data.take(np.arange(start, min(start + step, len(data)))))
                out[some] = self._windows.at(part, rows[some] - start, places[some])
        return out

    def predict(self, data: Dataset) -> np.ndarray:
        size = int(np.prod(self._windows.grid))
        answer = np.empty((len(data), self._classes, size))
        step = max(1, _CHUNK // self._windows.width)
        for row in range(len(data)):
            part = self._windows.prepared(data.take(np.array([row])))
            for start in range(0, size, step):
                places = np.arange(start, min(start + step, size))
                answer[row, :, places] = self._probabilities(self._windows.at(part, np.zeros_like(places), places))
        return answer.reshape(len(data), self._classes, *self._windows.grid)

    def _plan(self, features: int, positions: int) -> int:
        """How many positions to learn from."""
        raise NotImplementedError

    def _fit(self, z: np.ndarray, codes: np.ndarray, seed: int) -> None:
        raise NotImplementedError

    def _probabilities(self, z: np.ndarray) -> np.ndarray:
        """(m, K)"""
        raise NotImplementedError

    def _chosen(self) -> str:
        return ""


class WindowLogistic(WindowFloor):
    """Multinomial logistic regression on standardised features, its penalty by cross-validation over positions."""

    def _plan(self, features: int, positions: int) -> int:
        wanted = _MOST_POSITIONS
        while wanted > _FEWEST_POSITIONS and logistic_cost(wanted, features, self._classes, 1) > 0.4 * self._seconds:
            wanted = wanted * 4 // 5
        return wanted

    def _fit(self, z: np.ndarray, codes: np.ndarray, seed: int) -> None:
        self._center = z.mean(axis=0)
        spread = z.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._model = Logistic(self._classes, seed).fit((z - self._center) / self._spread, codes[:, None])

    def _probabilities(self, z: np.ndarray) -> np.ndarray:
        return self._model.predict((z - self._center) / self._spread)[:, 0]

    def _chosen(self) -> str:
        return f"C = {self._model.c:g}"


class WindowBoosting(WindowFloor):
    """Histogram gradient boosting on the same features."""

    def _plan(self, features: int, positions: int) -> int:
        trees = self._classes if self._classes > 2 else 1
        self._rounds = int(np.clip(0.3 * self._seconds / (positions * trees * _TREE), _FEWEST_ROUNDS, _MOST_ROUNDS))
        wanted = _MOST_POSITIONS
        most = 0.4 * self._seconds / _CHEAPER
        while wanted > _FEWEST_POSITIONS and boosting_cost(wanted, features, trees, self._rounds) > most:
            wanted = wanted * 4 // 5
        return wanted

    def _fit(self, z: np.ndarray, codes: np.ndarray, seed: int) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        self._model: Any = None
        self._seen = np.unique(codes)
        if len(self._seen) > 1:
            stop = len(codes) >= 2000 and int(np.unique(codes, return_counts=True)[1].min()) >= 10
            self._model = HistGradientBoostingClassifier(
                max_iter=self._rounds, learning_rate=min(0.3, 10 / self._rounds), early_stopping=stop,
                random_state=seed % 2**32,
            ).fit(z, codes)  # fmt: skip

    def _probabilities(self, z: np.ndarray) -> np.ndarray:
        seen = np.ones((len(z), 1)) if self._model is None else self._model.predict_proba(z)
        return spread_columns(seen, self._seen, self._classes)

    def _chosen(self) -> str:
        return f"{self._rounds} rounds" if self._rounds < _MOST_ROUNDS else ""


FLOOR = (
    FloorSpec(
        name="window",
        label="logistic regression on a window",
        summary="one class per position by logistic regression on the input in a window around it",
        kinds=("segmentation",),
        modalities=("series", "grid", "volume"),
        build=WindowLogistic,
        effort=2.0,
        imports=("sklearn.linear_model", "sklearn.model_selection", "scipy.ndimage"),
    ),
    FloorSpec(
        name="window-boosting",
        label="gradient boosting on a window",
        summary="one class per position by histogram gradient boosting on the input in a window around it",
        kinds=("segmentation",),
        modalities=("series", "grid", "volume"),
        build=WindowBoosting,
        effort=3.0,
        imports=("sklearn.ensemble", "scipy.ndimage"),
    ),
)
