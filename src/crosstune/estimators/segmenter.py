"""One class per position, a sample of a series or a pixel, in scikit-learn's manner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_consistent_length

from crosstune.data import from_arrays
from crosstune.data.infer import ignored, plain
from crosstune.errors import TaskError
from crosstune.estimators.base import CrossModalEstimator
from crosstune.records import IGNORED, Dataset
from crosstune.runs.export import NO_CLASS, behind


class CrossModalSegmenter(ClassifierMixin, CrossModalEstimator):
    """Class maps y (n, L) or (n, H, W) from signals or images X (n, C, L) or (n, C, H, W), made from a pretrained
    transformer.

    Parameters and attributes as for ``CrossModalClassifier``. (n, L) is a signal of one channel. y holds integers, of
    which -1 marks a position that does not count, or names, of which "" does. The map may be finer or coarser than the
    input, except over ragged series, where y is a list of maps of their lengths (or padded like X); predicted maps are
    padded with -1 or "".
    """

    classes_: np.ndarray
    _bare_input: bool

    def _with_target(self, dataset: Dataset, y: Any) -> Dataset:
        y = _padded(y)
        check_consistent_length(dataset.X, y)
        self._bare_input = dataset.is_table
        X = dataset.X[:, None] if self._bare_input else dataset.X
        if X.ndim not in (3, 4) or y.ndim != X.ndim - 1:
            raise TaskError(
                f"X {dataset.X.shape} and y {y.shape} are no signals or images with a class at each position",
                cause="volumes, or a target with one value per row",
                fix="X (n, C, L) with y (n, L), or X (n, C, H, W) with y (n, H, W); CrossModalClassifier for one class "
                "per row",
            )
        maps = from_arrays(X, y, task="segmentation", lengths=dataset.lengths)
        values = y if dataset.lengths is None else y[np.arange(y.shape[1]) < dataset.lengths[:, None]]
        self.classes_ = np.unique(values[~ignored(values)])
        return replace(maps, columns=None)

    def _read(self, X: Any, lengths: Any = None) -> Dataset:
        dataset = super()._read(X, lengths)
        return replace(dataset, X=dataset.X[:, None], columns=None) if self._bare_input else dataset

    def predict(self, X: Any, lengths: Any = None) -> np.ndarray:
        """Class maps (n, ...) out of ``classes_``. X, lengths: as in ``fit``; other extents give maps of other
        extents."""
        data = self._read(X, lengths)
        prediction = self.model_.predict_canonical(data)
        maps = self.classes_[prediction.argmax(axis=1)]
        return np.where(behind(prediction, data.lengths), np.array(NO_CLASS[maps.dtype.kind]), maps)

    def predict_proba(self, X: Any, lengths: Any = None) -> np.ndarray:
        """(n, K, ...) probabilities of ``classes_`` at each position; the same for all behind the end of a series."""
        return self._canonical(X, lengths)

    def score(self, X: Any, y: Any, sample_weight: Any = None, lengths: Any = None) -> float:
        """Share of the positions that count whose class is right: 1 - pixel-error.

        Raises DataError where no position counts; TaskError for classes that ``fit`` has not seen, or sample weights.
        """
        from crosstune.metrics import get_metric

        if sample_weight is not None:
            raise TaskError("positions are not weighted", fix="leave sample_weight out")
        y = _padded(y)
        data = self._read(X, lengths)
        prediction = self.model_.predict_canonical(data)
        gaps = ignored(y) | behind(prediction, data.lengths)
        unknown = np.setdiff1d(y[~gaps], self.classes_)
        if len(unknown):
            raise TaskError(
                f"y holds {', '.join(map(repr, unknown.tolist()[:5]))}, which the model was not fitted on",
                fix="mark these positions as not counting: -1, or an empty name",
            )
        found = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        codes = np.where(gaps, IGNORED, found)
        return 1.0 - get_metric("pixel-error").score(prediction, codes)


def _padded(y: Any) -> np.ndarray:
    """Maps (n, ...) as one array; a list of maps of different lengths padded with -1, or with "" where they hold names.
    Truth values become 0 and 1."""
    if isinstance(y, (list, tuple)) and len({np.shape(row) for row in y}) > 1 and all(np.ndim(row) == 1 for row in y):
        rows = [plain(row) for row in y]
        names = any(row.dtype.kind == "U" for row in rows)
        out = np.full((len(rows), max(map(len, rows))), "" if names else IGNORED, dtype=object if names else np.int64)
        for place, row in zip(out, rows):
            place[: len(row)] = row
        return plain(out)
    maps = plain(y)
    return maps.astype(np.int64) if maps.dtype.kind in "bu" else maps
