"""Regression of one or several values in scikit-learn's contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length

from crosstune.data.infer import as_float32
from crosstune.errors import TaskError
from crosstune.estimators.base import CrossModalEstimator
from crosstune.records import Dataset


class CrossModalRegressor(RegressorMixin, CrossModalEstimator):
    """A regressor, of one or several values, made from a transformer that was pretrained on another modality.

    Parameters and attributes as for ``CrossModalClassifier``. ``score`` is R squared. Targets are kept in float32.
    """

    _flat: bool

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _with_target(self, dataset: Dataset, y: Any) -> Dataset:
        names = tuple(str(c) for c in y.columns) if hasattr(y, "columns") else None
        y = check_array(y, ensure_2d=False, dtype="numeric", input_name="y", estimator=self)
        if y.ndim > 2:
            raise TaskError(
                f"y has shape {y.shape}; a regressor predicts (n,) or (n, K)", fix="use CrossModalOperator for fields"
            )
        check_consistent_length(dataset.X, y)
        self._flat = y.ndim == 1
        values = as_float32(y.reshape(len(y), -1), "y")
        return replace(dataset, y=values, kind="regression", target_names=names)

    def predict(self, X: Any, lengths: Any = None) -> np.ndarray:
        """(n,) values, or (n, K) when y had two axes. X, lengths: as in ``fit``."""
        values = self._canonical(X, lengths)
        return values[:, 0] if self._flat else values
