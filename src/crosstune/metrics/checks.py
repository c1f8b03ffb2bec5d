"""Checks of predictions and targets at the door of every metric: a wrong shape or a NaN must not become a number."""

from __future__ import annotations

import numpy as np

from crosstune.errors import DataError
from crosstune.records import IGNORED, TargetKind

_OF_CLASSES = ("classification", "segmentation")
_NAMED_ROWS = 5
_SUM_TOLERANCE = 1e-3  # probabilities computed in half precision still pass; logits do not
_RANGE_TOLERANCE = 1e-6


def checked(
    kind: TargetKind, prediction: np.ndarray, target: np.ndarray, first_row: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Prediction (float64) and target in the canonical form of ``records.py``.

    classification: (n, K) and (n,) int64; multilabel, regression: (n, K) and (n, K); dense: (n, C, ...) and the same,
    where the target may be NaN at positions that do not count, but not everywhere in a row;
    segmentation: (n, K, ...) and (n, ...) int64, -1 where a position does not count.
    ``first_row`` is added to row numbers in messages. Raises ``DataError``.
    """
    prediction = np.asarray(prediction, dtype=np.float64)
    target = np.asarray(target)
    if kind in _OF_CLASSES:
        _check_class_shapes(kind, prediction, target)
    else:
        _check_same_shapes(kind, prediction, target)
        target = target.astype(np.float64, copy=False)
    if len(prediction) == 0:
        return prediction, target.astype(np.int64) if kind in _OF_CLASSES else target
    _refuse_non_finite(prediction, "prediction", first_row, cause="the model diverged, or its input held NaN")
    if kind in _OF_CLASSES:
        return _probabilities(kind, prediction, first_row), _codes(kind, target, prediction.shape[1], first_row)
    if kind == "dense":
        known = ~np.isnan(target)
        empty = ~known.reshape(len(known), -1).any(axis=1)
        _refuse_rows(empty, "target is NaN everywhere", first_row, "missing targets were not dropped")
        _refuse_non_finite(np.where(known, target, 0.0), "target", first_row, cause="a division by zero upstream")
        return prediction, target
    _refuse_non_finite(target, "target", first_row, cause="missing targets were not dropped")
    if kind == "multilabel":
        _refuse_rows(~_per_row((target == 0) | (target == 1)), "target is not 0 or 1", first_row)
        _refuse_range(prediction, first_row)
    return prediction, target


def named_rows(bad: np.ndarray, first_row: int = 0) -> str:
    """``"row 3"``, ``"rows 3, 8"`` or ``"rows 0, 1, 2, 3, 4 and 95 more"`` for a boolean mask (n,)."""
    rows = np.flatnonzero(bad) + first_row
    text = ", ".join(str(row) for row in rows[:_NAMED_ROWS])
    more = f" and {len(rows) - _NAMED_ROWS} more" if len(rows) > _NAMED_ROWS else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {text}{more}"


def _check_class_shapes(kind: str, prediction: np.ndarray, target: np.ndarray) -> None:
    if kind == "segmentation":
        if prediction.ndim < 3 or target.shape != (len(prediction), *prediction.shape[2:]):
            raise DataError(
                f"segmentation needs probabilities (n, K, ...) and class codes (n, ...), got shapes {prediction.shape} "
                f"and {target.shape}",
                cause="predicted labels were passed, or the model predicts another grid than the target has",
                fix="pass the probability of each class along the second axis, and integer codes as target",
            )
    elif prediction.ndim != 2 or target.shape != prediction.shape[:1]:
        raise DataError(
            f"classification needs probabilities (n, K) and class codes (n,), got shapes {prediction.shape} "
            f"and {target.shape}",
            cause="predicted labels, or one-hot targets, were passed instead",
            fix="pass one column of probability per class, and integer codes as target",
        )


def _check_same_shapes(kind: str, prediction: np.ndarray, target: np.ndarray) -> None:
    least = 3 if kind == "dense" else 2
    if prediction.shape != target.shape or prediction.ndim < least or (kind != "dense" and prediction.ndim != 2):
        form = "(n, C, ...)" if kind == "dense" else "(n, K)"
        raise DataError(
            f"{kind} needs prediction and target of the same shape {form}, got {prediction.shape} and {target.shape}",
            cause="a single output needs its own axis, or the model predicts another grid than the target has",
            fix="reshape a single output to (n, 1)" if kind != "dense" else "resample the prediction to the target",
        )


def _per_row(ok: np.ndarray) -> np.ndarray:
    return np.asarray(ok.reshape(len(ok), -1).all(axis=1))


def _refuse_rows(bad: np.ndarray, what: str, first_row: int, cause: str | None = None, fix: str | None = None) -> None:
    if bad.any():
        raise DataError(f"{what} in {named_rows(bad, first_row)}", cause=cause, fix=fix)


def _refuse_non_finite(values: np.ndarray, what: str, first_row: int, cause: str) -> None:
    if not np.isfinite(values).all():
        _refuse_rows(~_per_row(np.isfinite(values)), f"{what} is NaN or infinite", first_row, cause)


def _refuse_range(prediction: np.ndarray, first_row: int) -> None:
    inside = (prediction >= -_RANGE_TOLERANCE) & (prediction <= 1 + _RANGE_TOLERANCE)
    _refuse_rows(
        ~_per_row(inside),
        "prediction is not a probability in [0, 1]",
        first_row,
        cause="raw scores (logits) were passed",
        fix="apply a softmax (classes) or a sigmoid (multilabel) first",
    )


def _probabilities(kind: str, prediction: np.ndarray, first_row: int) -> np.ndarray:
    _refuse_range(prediction, first_row)
    _refuse_rows(
        ~_per_row(np.abs(prediction.sum(axis=1) - 1) <= _SUM_TOLERANCE),
        "probabilities do not sum to one",
        first_row,
        cause="raw scores, or independent sigmoids, were passed",
        fix="apply a softmax over the class axis first"
        + (", or use --task multilabel" if kind == "classification" else ""),
    )
    return prediction


def _codes(kind: str, target: np.ndarray, classes: int, first_row: int) -> np.ndarray:
    if target.dtype.kind not in "iub":
        raise DataError(
            f"{kind} targets have dtype {target.dtype}, not integer codes",
            cause="class names or one-hot rows were passed",
            fix="encode the classes as 0..K-1",
        )
    least = IGNORED if kind == "segmentation" else 0
    outside = (target < least) | (target >= classes)
    _refuse_rows(
        ~_per_row(~outside), f"target code outside 0..{classes - 1} (the model has {classes} classes)", first_row
    )
    return target.astype(np.int64)
