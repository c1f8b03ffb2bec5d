"""Any Dataset as one float64 matrix, for floors and for linear parts of models."""

from __future__ import annotations

import numpy as np

from crosstune.errors import DataError, UsageError
from crosstune.records import Dataset

_CHUNK = 1 << 22  # values made float64 at a time when a projection follows


class Flattener:
    """Fitted on the train part alone, then applied to any part.

    Signals and fields are laid out in C order; ragged series are first resampled linearly to the median train length
    and get their length as one more feature. Missing numbers are filled with the train median, and each column that
    had any in train gets an indicator. Categories become one column per level seen in train (missing is a level of
    its own where train had it; unseen levels are zeros). Columns that are constant in train are dropped, the others
    standardised to mean 0 and standard deviation 1 in train. Where all are constant one remains, as zeros.

    max_features: project to that many columns by a seeded sparse random projection (Li, Hastie and Church, 2006)
    when there are more; said in ``notes``. After ``fit``: ``names`` (before projection), ``width``, ``notes``.
    """

    def __init__(self, *, max_features: int | None = None, seed: int = 0) -> None:
        if max_features is not None and max_features < 1:
            raise UsageError(f"max_features is {max_features}", fix="use 1 or more, or None")
        self.max_features = max_features
        self.seed = seed
        self.names: tuple[str, ...] = ()
        self.width = 0
        self.notes: tuple[str, ...] = ()
        self._fitted = False

    def fit(self, dataset: Dataset) -> Flattener:
        """Learns medians, levels, means and deviations from ``dataset``. Raises ``DataError`` when it has no rows."""
        if len(dataset) == 0:
            raise DataError("features cannot be fitted on no rows", fix="give the train part rows")
        self._shape = dataset.X.shape[1:]
        self._ragged = dataset.lengths is not None
        self._length = self._shape[-1] if dataset.lengths is None else max(1, round(float(np.median(dataset.lengths))))
        self._levels: dict[int, np.ndarray] = {}
        for column in dataset.categories:
            codes = dataset.X[:, column]
            levels = np.unique(codes[~np.isnan(codes)])
            self._levels[column] = np.append(levels, np.nan) if np.isnan(codes).any() else levels
        numbers = self._numbers(dataset)
        gaps = np.isnan(numbers)
        self._gappy = np.flatnonzero(gaps.any(axis=0))
        self._medians = np.zeros(numbers.shape[1])
        for column in self._gappy:
            there = numbers[~gaps[:, column], column]
            self._medians[column] = np.median(there.astype(np.float64)) if len(there) else 0.0
        del gaps, numbers
        self._moments(dataset)
        self._projection = self._make_projection()
        self._fitted = True
        return self

    def transform(self, dataset: Dataset) -> np.ndarray:
        """(n, d) float64, d = ``width``. Raises ``DataError`` for rows of another shape than those of ``fit``."""
        if not self._fitted:
            raise UsageError("the flattener has not been fitted", fix="call fit on the train part first")
        self._check(dataset)
        out = np.empty((len(dataset), self.width))
        for rows, block in self._blocks(dataset):
            block = (block[:, self._kept] - self._mean) / self._std
            out[rows] = block if self._projection is None else np.asarray(self._projection.transform(block))
        return out

    def fit_transform(self, dataset: Dataset) -> np.ndarray:
        return self.fit(dataset).transform(dataset)

    def _check(self, dataset: Dataset) -> None:
        flexible = len(self._shape) == 2  # series of another length are resampled
        same = dataset.X.shape[1:] == self._shape
        if not same and not (flexible and dataset.X.ndim == 3 and dataset.X.shape[1] == self._shape[0]):
            raise DataError(
                f"rows have shape {dataset.X.shape[1:]}, but features were fitted on {self._shape}",
                cause="data of another kind or resolution than those of training",
                fix="give data of the training shape",
            )

    def _blocks(self, dataset: Dataset):  # type: ignore[no-untyped-def]
        step = max(1, _CHUNK // max(1, int(np.prod(dataset.X.shape[1:]))))
        for start in range(0, len(dataset), step):
            rows = np.arange(start, min(start + step, len(dataset)))
            yield rows, self._raw(dataset.take(rows))

    def _raw(self, dataset: Dataset) -> np.ndarray:
        """All columns before selection and scaling: numbers, indicators, levels."""
        numbers = self._numbers(dataset).astype(np.float64)
        gaps = np.isnan(numbers)
        parts = [np.where(gaps, self._medians, numbers), gaps[:, self._gappy].astype(np.float64)]
        for column, levels in self._levels.items():
            codes = dataset.X[:, column, None]
            parts.append(((codes == levels) | (np.isnan(codes) & np.isnan(levels))).astype(np.float64))
        return np.concatenate(parts, axis=1)

    def _numbers(self, dataset: Dataset) -> np.ndarray:
        """(n, m) numeric columns, NaN where missing; a view where possible."""
        X = dataset.X
        if X.ndim == 2:
            return X if not self._levels else np.delete(X, list(self._levels), axis=1)
        if X.ndim > 3 or (not self._ragged and dataset.lengths is None and X.shape[2] == self._length):
            return X.reshape(len(X), -1)
        lengths = np.full(len(X), X.shape[2]) if dataset.lengths is None else dataset.lengths
        flat = resample(X, lengths, self._length).reshape(len(X), -1)
        return np.column_stack([flat, lengths]) if self._ragged else flat

    def _moments(self, dataset: Dataset) -> None:
        total, low, high, count = 0.0, np.inf, -np.inf, len(dataset)
        for _, block in self._blocks(dataset):
            total = total + block.sum(axis=0)
            low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        self._kept = np.flatnonzero(np.asarray(high) > np.asarray(low))
        if not len(self._kept):  # one column of zeros, so that models that need a column can still be fitted
            self._kept = np.array([0])
        self._mean = (np.asarray(total) / count)[self._kept]
        square = np.zeros(len(self._kept))
        for _, block in self._blocks(dataset):
            square += ((block[:, self._kept] - self._mean) ** 2).sum(axis=0)
        self._std = np.where(square > 0, np.sqrt(square / count), 1.0)
        every = self._all_names(dataset)
        self.names = tuple(every[i] for i in self._kept)
        dropped = len(every) - len(self._kept)
        self.notes = (f"{dropped} of {len(every)} features are constant in train and left out",) if dropped else ()

    def _all_names(self, dataset: Dataset) -> list[str]:
        if dataset.is_table:
            columns = dataset.columns or tuple(f"x{i}" for i in range(dataset.X.shape[1]))
            plain = [columns[i] for i in range(len(columns)) if i not in self._levels]
        else:
            columns = ()
            plain = [f"v{i}" for i in range(len(self._medians))]
            if self._ragged:
                plain[-1] = "length"
        names = plain + [f"{plain[i]} missing" for i in self._gappy]
        for column, levels in self._levels.items():
            texts = ["missing" if np.isnan(v) else dataset.categories[column][int(v)] for v in levels]
            names += [f"{columns[column]}={text}" for text in texts]
        return names

    def _make_projection(self):  # type: ignore[no-untyped-def]
        features = len(self._kept)
        if self.max_features is None or features <= self.max_features:
            self.width = features
            return None
        from sklearn.random_projection import SparseRandomProjection

        self.width = self.max_features
        self.notes += (f"{features} features were projected to {self.width} at random (seed {self.seed})",)
        projection = SparseRandomProjection(self.width, dense_output=True, random_state=self.seed % (1 << 32))
        return projection.fit(np.zeros((1, features)))


def resample(X: np.ndarray, lengths: np.ndarray, length: int) -> np.ndarray:
    """Series (n, C, L) of the given valid lengths, linearly interpolated at ``length`` equally spaced points from the
    first to the last valid sample: (n, C, length) float64. A missing neighbour makes the point missing."""
    position = np.linspace(0.0, 1.0, length)[None] * (np.asarray(lengths)[:, None] - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, np.asarray(lengths)[:, None] - 1)
    weight = (position - low)[:, None]
    left = np.take_along_axis(X, low[:, None], axis=2).astype(np.float64)
    right = np.take_along_axis(X, high[:, None], axis=2).astype(np.float64)
    return np.where(weight == 0, left, left * (1 - weight) + right * weight)
