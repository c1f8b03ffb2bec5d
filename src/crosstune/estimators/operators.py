"""Dense fields to dense fields: operator learning in scikit-learn's manner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length

from crosstune.data import from_arrays
from crosstune.errors import TaskError
from crosstune.estimators.base import CrossModalEstimator
from crosstune.records import Dataset


class CrossModalOperator(CrossModalEstimator):
    """A map from fields X (n, C, ...) to fields y (n, C', ...) made from a pretrained transformer.

    Parameters and attributes as for ``CrossModalClassifier``. Fields have one or two spatial axes: (n, C, L) or
    (n, C, H, W); (n, L) is a signal of one channel, and predictions have the axes that y had. The output may be
    finer or coarser than the input. y may be NaN where it is not known: such points do not count, in fitting or scores.
    """

    _bare_input: bool
    _bare_output: bool

    def _with_target(self, dataset: Dataset, y: Any) -> Dataset:
        y = check_array(
            y,
            ensure_2d=False,
            allow_nd=True,
            dtype="numeric",
            input_name="y",
            estimator=self,
            ensure_all_finite="allow-nan",
        )
        check_consistent_length(dataset.X, y)
        self._bare_input = dataset.is_table
        X = dataset.X[:, None] if self._bare_input else dataset.X
        axes = X.ndim - 2
        if axes not in (1, 2) or y.ndim not in (axes + 1, axes + 2) or dataset.lengths is not None:
            raise TaskError(
                f"X {dataset.X.shape} and y {y.shape} are no pair of fields with one or two spatial axes",
                cause="ragged series, volumes, or a target with one value per row",
                fix="X (n, C, L) or (n, C, H, W) with y of as many spatial axes; CrossModalRegressor for single values",
            )
        self._bare_output = y.ndim == axes + 1
        y = y[:, None] if self._bare_output else y
        fields = from_arrays(X, y, task="dense")
        return replace(fields, columns=None)

    def _read(self, X: Any, lengths: Any = None) -> Dataset:
        dataset = super()._read(X, lengths)
        return replace(dataset, X=dataset.X[:, None], columns=None) if self._bare_input else dataset

    def predict(self, X: Any) -> np.ndarray:
        """Fields with the axes of y, (n, C', ...) or (n, ...). X: as in ``fit``; other extents are resampled."""
        fields = self._canonical(X)
        return fields[:, 0] if self._bare_output else fields

    def score(self, X: Any, y: Any) -> float:
        """1 - mean over samples of ||prediction - y|| / ||y||: 1 is exact, 0 is as good as predicting zero.

        Raises DataError for a target field that is zero everywhere, for which a relative error has no meaning.
        """
        from crosstune.metrics import get_metric

        y = np.asarray(y, dtype=np.float64)
        prediction = self.predict(X)
        if self._bare_output:
            prediction, y = prediction[:, None], y[:, None]
        return 1.0 - get_metric("nrmse-field").score(prediction, y)
