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


class CrossModalSegmenter(ClassifierMixin, CrossModalEstimator):
    """Class maps y (n, L) or (n, H, W) from signals or images X (n, C, L) or (n, C, H, W), made from a pretrained
    transformer.

    Parameters and attributes as for ``CrossModalClassifier``. (n, L) is a signal of one channel. y holds integers, of
    which -1 marks a position that does not count, or names, of which "" does. The map may be finer or coarser than the
    input.
    """

    classes_: np.ndarray
    _bare_input: bool

    def _with_target(self, dataset: Dataset, y: Any) -> Dataset:
        y = plain(y)
        check_consistent_length(dataset.X, y)
        self._bare_input = dataset.is_table
        X = dataset.X[:, None] if self._bare_input else dataset.X
        if X.ndim not in (3, 4) or y.ndim != X.ndim - 1 or dataset.lengths is not None:
            raise TaskError(
                f"X {dataset.X.shape} and y {y.shape} are no signals or images with a class at each position",
                cause="ragged series, volumes, or a target with one value per row",
                fix="X (n, C, L) with y (n, L), or X (n, C, H, W) with y (n, H, W); CrossModalClassifier for one class "
                "per row",
            )
        maps = from_arrays(X, y, task="segmentation")
        self.classes_ = np.unique(y[~ignored(y)])
        return replace(maps, columns=None)

    def _read(self, X: Any, lengths: Any = None) -> Dataset:
        dataset = super()._read(X, lengths)
        return replace(dataset, X=dataset.X[:, None], columns=None) if self._bare_input else dataset

    def predict(self, X: Any) -> np.ndarray:
        """Class maps (n, ...) out of ``classes_``. X: as in ``fit``; other extents give maps of other extents."""
        return self.classes_[self._canonical(X).argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, K, ...) probabilities of ``classes_`` at each position."""
        return self._canonical(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the positions that count whose class is right: 1 - pixel-error.

        Raises DataError where no position counts; TaskError for classes that ``fit`` has not seen, or sample weights.
        """
        from crosstune.metrics import get_metric

        if sample_weight is not None:
            raise TaskError("positions are not weighted", fix="leave sample_weight out")
        y = plain(y)
        gaps = ignored(y)
        unknown = np.setdiff1d(y[~gaps], self.classes_)
        if len(unknown):
            raise TaskError(
                f"y holds {', '.join(map(repr, unknown.tolist()[:5]))}, which the model was not fitted on",
                fix="mark these positions as not counting: -1, or an empty name",
            )
        found = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        codes = np.where(gaps, IGNORED, found)
        return 1.0 - get_metric("pixel-error").score(self._canonical(X), codes)
