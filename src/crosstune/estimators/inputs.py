"""What scikit-learn's users pass as X, as a Dataset: its rules for tables, ours for signals, fields and text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_consistent_length, validate_data

from crosstune.data import from_arrays
from crosstune.data.arrays import as_groups
from crosstune.errors import DataError
from crosstune.records import Dataset

TOO_FEW = 3  # rows: two to train on, one to select with


def read_inputs(
    estimator: Any, X: Any, lengths: Any = None, *, reset: bool, ragged: bool = False, keep: tuple[str, ...] = ()
) -> Dataset:
    """X as a Dataset without target; sets (``reset``) or checks ``n_features_in_`` and ``feature_names_in_``.

    X: (n, F), (n, C, L), (n, C, H, W), (n, C, D, H, W) of numbers (NaN = missing); a list of series (C, L_i) or
    (L_i,); a data frame, or an array of objects with text in it. lengths: (n,) for padded series (n, C, L).
    ragged: the fitted model takes ragged series, so that lists are read as such whatever their lengths.
    keep: the fitted model's columns. ``n_features_in_`` is the size of axis 1: columns or channels.

    Raises ValueError or TypeError as scikit-learn's ``check_array``, DataError for what crosstune's readers refuse.
    """
    if _is_ragged(X, ragged):
        return _count_channels(estimator, from_arrays(_as_objects(X), lengths=lengths), reset)
    if lengths is not None:
        X = validate_data(
            estimator, X, reset=reset, allow_nd=True, dtype="numeric", ensure_all_finite="allow-nan",
            ensure_min_samples=TOO_FEW if reset else 1,
        )  # fmt: skip
        return from_arrays(X, lengths=lengths)
    if keep or _holds_text(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return _enough(from_arrays(X, keep=keep), reset)
    names = [str(c) for c in X.columns] if hasattr(X, "columns") and hasattr(X, "iloc") else None
    values = validate_data(
        estimator, X, reset=reset, allow_nd=True, dtype="numeric", ensure_all_finite="allow-nan",
        ensure_min_samples=TOO_FEW if reset else 1,
    )  # fmt: skip
    return from_arrays(values, columns=names if values.ndim == 2 else None)


def with_groups(dataset: Dataset, groups: Any) -> Dataset:
    """The Dataset with (n,) groups; ValueError when their number differs, DataError for missing names."""
    if groups is None:
        return dataset
    check_consistent_length(dataset.X, groups)
    return replace(dataset, groups=as_groups(groups))


def _is_ragged(X: Any, expected: bool) -> bool:
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1 and len(X) > 0 and np.ndim(X[0]) > 0
    if not isinstance(X, (list, tuple)) or not X or isinstance(X[0], str) or np.isscalar(X[0]):
        return False
    try:
        shapes = {np.shape(item) for item in X}
    except ValueError:  # nested lists that are no arrays: for the ordinary reader to refuse
        return False
    return () not in shapes and (expected or len(shapes) > 1)


def _as_objects(X: Any) -> np.ndarray:
    """One object per sample, so that equal lengths are not taken for a plain array."""
    out = np.empty(len(X), dtype=object)
    for row, item in enumerate(X):
        out[row] = np.asarray(item)
    return out


def _holds_text(X: Any) -> bool:
    if hasattr(X, "iloc") and hasattr(X, "dtypes"):
        kinds = [getattr(d, "kind", "O") for d in X.dtypes]
        if all(k in "biuf" for k in kinds):
            return False
        return any(k not in "biufc" and (k != "O" or _any_text(X.iloc[:, i])) for i, k in enumerate(kinds))
    if isinstance(X, (list, tuple)):
        X = np.asarray(X, dtype=object)
    if not isinstance(X, np.ndarray) or X.ndim != 2:
        return False
    return X.dtype.kind in "US" or (X.dtype == object and _any_text(X.ravel()))


def _any_text(values: Any) -> bool:
    return any(isinstance(v, (str, bytes)) for v in values)


def _count_channels(estimator: Any, dataset: Dataset, reset: bool) -> Dataset:
    channels = int(dataset.X.shape[1])
    if reset:
        estimator.n_features_in_ = channels
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif channels != estimator.n_features_in_:
        raise DataError(
            f"X has {channels} channels, but {type(estimator).__name__} is expecting {estimator.n_features_in_}",
            cause="another channel selection, or samples (L_i, C) instead of (C, L_i)",
            fix="samples are channel-first",
        )
    return _enough(dataset, reset)


def _enough(dataset: Dataset, reset: bool) -> Dataset:
    if reset and len(dataset) < TOO_FEW:
        raise DataError(
            f"found {len(dataset)} sample(s) while a minimum of {TOO_FEW} is required",
            cause="a part of the rows is set aside to select with",
            fix="give more rows",
        )
    return dataset
