"""What kind of task a target describes, and the target in canonical form.

The rules are few, stated here and repeated in the reason that comes back with every answer:

==========================================================  ==============
target                                                      kind
==========================================================  ==============
integers, 2 to 20 different ones, at the positions of a     segmentation
signal or field X (-1: position that does not count)
any other numbers with the integers at the positions of a signal or field X, 2 to 20   segmentation
different ones beside -1, which marks no class
other numbers with as many axes as a signal or field X, or  dense
of the shape of X without its channel axis
strings, booleans                                           classification
integers (also stored as floats): 2 values; or at most 20   classification
values and n/2; or codes 0..K-1 / 1..K of 5+ rows each
any other numbers, one or several columns                   regression
(N, K) of 0 and 1, exactly one 1 in every row               classification
(N, K) of 0 and 1, otherwise                                multilabel
==========================================================  ==============
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from crosstune.errors import DataError, TaskError, UsageError
from crosstune.records import FIELD_KINDS, IGNORED, TargetKind

FEW_CLASSES = 20
MANY_CLASSES = 1000
_SMALL_RANGE = 1 << 16
_GLANCE = 100_000  # values that are looked at before all of them are
SIGNAL_WIDTH = 16  # an (N, L) target equal in shape to an (N, L) input is a signal from this many samples on


@dataclass(frozen=True)
class Inference:
    """A target in canonical form (see ``records.Dataset``), with the reason for its kind in words."""

    kind: TargetKind
    y: np.ndarray
    classes: tuple[str, ...] | None
    reason: str


def infer(
    y: Any,
    X: np.ndarray | None = None,
    *,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    name: str = "y",
) -> Inference:
    """Kind and canonical form of a target; values may be missing at positions of fields only.

    y: (N,), (N, K), (N, L), (N, C, L) ... numbers, booleans or strings. X: the channel-first input, for its shape.
    task: the kind asked for, or None to infer it. classes: the class names of a trained model, for data that may not
    hold every class. Raises ``TaskError`` for a target that does not fit the kind, one with a single class (unless
    ``classes`` are given), or an empty one; ``UsageError`` for an unknown kind.
    """
    if task is not None and task not in get_args(TargetKind):
        raise UsageError(f"unknown task {task!r}", fix=f"use one of: {', '.join(get_args(TargetKind))}")
    values = plain(y, name)
    if len(values) == 0:
        raise TaskError(f"target {name!r} has no rows", fix="check that the file holds any data")
    if classes is not None and task != "segmentation":
        codes = _known_classes(values, tuple(classes), name)
        return Inference("classification", codes, tuple(classes), f"{name!r} holds classes of the model")
    kind, reason = _kind(values, X, name) if task is None else (task, f"task {task!r} was asked for")
    build = {
        "classification": _classification, "multilabel": _multilabel, "regression": _regression, "dense": _dense,
        "segmentation": _segmentation,
    }  # fmt: skip
    out, found = build[kind](values, X, name) if classes is None else _known_map(values, X, name, tuple(classes))
    return Inference(kind, out, found, reason)  # type: ignore[arg-type]


def plain(y: Any, name: str = "y") -> np.ndarray:
    """y as an array of numbers, booleans or strings: object arrays become what they hold, dates become days."""
    values = np.asarray(y)
    if values.ndim == 0:
        raise TaskError(f"target {name!r} is a single value, not one per row", fix="give an array of N values")
    if values.dtype.kind == "O":
        values = _from_objects(values, name)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "M":
        values = np.where(np.isnat(values), np.nan, values.astype("datetime64[s]").astype(np.float64) / 86400.0)
    if values.dtype.kind == "m":
        values = np.where(np.isnat(values), np.nan, values.astype("timedelta64[ms]").astype(np.float64) / 86.4e6)
    if values.dtype.kind not in "biufU":
        raise TaskError(
            f"target {name!r} has type {values.dtype}, which is neither numbers nor strings",
            fix="store numbers or strings; split complex values into two columns",
        )
    return values


def _from_objects(values: np.ndarray, name: str) -> np.ndarray:
    items = values.ravel()
    if any(isinstance(v, (str, bytes)) for v in items):
        text = [
            v.decode("utf-8", "replace") if isinstance(v, bytes) else "" if is_missing(v) else str(v) for v in items
        ]
        return np.array(text, dtype=np.str_).reshape(values.shape)
    if all(isinstance(v, (bool, np.bool_)) for v in items):
        return values.astype(bool)
    try:
        return np.array([np.nan if is_missing(v) else float(v) for v in items], np.float64).reshape(values.shape)
    except (TypeError, ValueError) as error:
        raise TaskError(f"target {name!r} holds objects that are not numbers or strings ({error})") from error


def is_missing(value: Any) -> bool:
    """None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA refuses to be a truth value
        return True


def missing_rows(y: np.ndarray, kind: str | None = None) -> np.ndarray:
    """(N,) bool: rows whose target is missing (NaN, or an empty string) anywhere; for targets of ``kind`` dense and
    segmentation those where it is missing everywhere, -1 being missing in the latter. y: as ``plain`` returns it."""
    gaps = (ignored(y) if kind == "segmentation" else unknown(y)).reshape(len(y), -1)
    return np.asarray(gaps.all(axis=1) if kind in FIELD_KINDS else gaps.any(axis=1))


def unknown(values: np.ndarray) -> np.ndarray:
    """Whether values are missing: NaN or an empty string."""
    if values.dtype.kind == "U":
        return np.isin(values, ("", "nan", "None", "<NA>"))
    return np.asarray(np.isnan(values)) if values.dtype.kind == "f" else np.zeros(values.shape, bool)


def ignored(values: np.ndarray) -> np.ndarray:
    """Whether values of a segmentation target mark positions that do not count: -1, or missing."""
    return unknown(values) | (values == IGNORED) if values.dtype.kind in "if" else unknown(values)


def _known_classes(y: np.ndarray, classes: tuple[str, ...], name: str) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] == len(classes) and y.dtype.kind != "U":
        return np.argmax(y, axis=1).astype(np.int64)
    if y.size != len(y):
        raise TaskError(f"target {name!r} has shape {y.shape}; the model predicts one class per row")
    values, codes = np.unique(y.ravel(), return_inverse=True)
    names = [class_name(v) for v in values]
    unknown = [n for n in names if n not in classes]
    if unknown:
        raise TaskError(
            f"target {name!r} holds {', '.join(map(repr, unknown[:5]))}, which the model was not trained on",
            fix=f"remove those rows; known classes: {', '.join(classes[:20])}",
        )
    return np.array([classes.index(n) for n in names], np.int64)[codes.reshape(-1)]


def _kind(y: np.ndarray, X: np.ndarray | None, name: str) -> tuple[str, str]:
    numeric = y.dtype.kind in "iuf"
    if X is not None and (levels := _class_map(y, X)):
        said = f"{name!r} holds {levels} integers at the positions of X {X.shape} (at most {FEW_CLASSES} are classes; "
        return "segmentation", said + "--task dense overrules)"
    if X is not None and numeric and _field_like(y, X):
        return "dense", f"{name!r} has shape {y.shape}, a signal or field like X {X.shape}"
    if y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1):
        return _column_kind(y.ravel(), name)
    if y.ndim == 2:
        if y.dtype.kind == "U":
            raise TaskError(f"target {name!r} has {y.shape[1]} columns of strings", fix="give one column of labels")
        if np.isin(y, (0, 1)).all():
            if (y.sum(axis=1) == 1).all():
                return "classification", f"{name!r} is one-hot: one of {y.shape[1]} columns is 1 in every row"
            return "multilabel", f"{name!r} holds 0 and 1 in {y.shape[1]} columns"
        return "regression", f"{name!r} holds {y.shape[1]} columns of numbers"
    return "dense", f"{name!r} has {y.ndim} axes"


def _class_map(y: np.ndarray, X: np.ndarray) -> int:
    """How many classes y marks at the positions of X; 0 where it is not such a map."""
    if X.ndim < 3 or y.ndim < 2 or not (y.dtype.kind in "iu" or (y.dtype.kind == "b" and y.ndim > 2)):
        return 0
    if y.shape[1:] != X.shape[2:] and not (y.ndim == X.ndim and y.shape[1:] == (1, *X.shape[2:])):
        return 0
    if len(np.unique(y.reshape(-1)[:_GLANCE])) > FEW_CLASSES + 1:
        return 0
    values = _levels(y)[0]
    count = int((~ignored(values)).sum())
    return count if 2 <= count <= FEW_CLASSES else 0


def field_kind(y: np.ndarray, X: np.ndarray) -> TargetKind | None:
    """The kind of a target that has values at positions, of which some may be missing; None for one of rows."""
    if _class_map(y, X):
        return "segmentation"
    return "dense" if y.dtype.kind in "iuf" and (y.ndim > 2 or _field_like(y, X)) else None


def _field_like(y: np.ndarray, X: np.ndarray) -> bool:
    if X.ndim == 2:
        return y.shape == X.shape and X.shape[1] >= SIGNAL_WIDTH and y.dtype.kind == "f"
    return (y.ndim >= 3 and y.ndim == X.ndim) or (y.ndim > 1 and y.shape[1:] == X.shape[2:])


def _column_kind(y: np.ndarray, name: str) -> tuple[str, str]:
    if y.dtype.kind in "bU":
        what = "booleans" if y.dtype.kind == "b" else "text"
        return "classification", f"{name!r} holds {what}, {len(np.unique(y))} distinct values"
    if not np.array_equal(y, np.round(y)):
        return "regression", f"{name!r} holds fractional numbers"
    values, counts = np.unique(y, return_counts=True)
    k, n = len(values), len(y)
    said = f"{name!r} holds integers, {k} distinct values in {n} rows"
    codes = values[0] in (0, 1) and values[-1] - values[0] == k - 1
    if k <= 2:
        return "classification", f"{said} (two values are classes)"
    if k <= FEW_CLASSES and k <= n / 2:
        return "classification", f"{said} (at most {FEW_CLASSES}, and half the rows, are classes)"
    if codes and k <= MANY_CLASSES and np.median(counts) >= 5:
        return "classification", f"{said} (codes {values[0]:g} to {values[-1]:g} without gaps, 5 or more rows each)"
    return "regression", f"{said} (too many for classes; --task classification overrules)"


def _classification(y: np.ndarray, X: np.ndarray | None, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    if y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind != "U" and np.isin(y, (0, 1)).all():
        if not (y.sum(axis=1) == 1).all():
            row = int(np.flatnonzero(y.sum(axis=1) != 1)[0])
            raise TaskError(
                f"target {name!r} is not one-hot: row {row} has {y[row].sum():g} ones", fix="use --task multilabel"
            )
        return np.argmax(y, axis=1).astype(np.int64), tuple(str(i) for i in range(y.shape[1]))
    if y.size != len(y):
        raise TaskError(
            f"target {name!r} has shape {y.shape}; classification needs one label per row",
            fix="use --task dense, multilabel or regression, or give one column of labels",
        )
    values, codes = np.unique(y.ravel(), return_inverse=True)
    if len(values) < 2:
        raise TaskError(
            f"target {name!r} has a single value, {class_name(values[0])!r}, in every row",
            cause="the wrong column, or a file that holds only one class",
            fix="name the target with --target, or add rows of another class",
        )
    if len(values) > max(FEW_CLASSES, len(y) / 2):
        raise TaskError(
            f"target {name!r} has {len(values)} distinct values in {len(y)} rows, too many for classes",
            cause="the column is an identifier or a continuous value",
            fix="name another --target, or use --task regression for numbers",
        )
    return codes.reshape(-1).astype(np.int64), tuple(class_name(v) for v in values)


def class_name(value: Any) -> str:
    """The text of a class label: integers without a decimal point, whatever they were stored as."""
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


def _multilabel(y: np.ndarray, X: np.ndarray | None, name: str) -> tuple[np.ndarray, None]:
    if y.ndim != 2 or y.dtype.kind == "U" or not np.isin(y, (0, 1)).all():
        raise TaskError(
            f"target {name!r} of shape {y.shape} is not a table of 0 and 1",
            fix="multilabel targets are (N, K) arrays of 0 and 1",
        )
    return y.astype(np.float32), None


def _regression(y: np.ndarray, X: np.ndarray | None, name: str) -> tuple[np.ndarray, None]:
    if y.dtype.kind == "U":
        raise TaskError(
            f"target {name!r} holds text such as {str(y.ravel()[0])!r}; regression needs numbers",
            fix="use --task classification",
        )
    if y.ndim > 2:
        raise TaskError(f"target {name!r} has shape {y.shape}; regression needs (N,) or (N, K)", fix="use --task dense")
    return as_float32(y.reshape(len(y), -1), f"target {name!r}"), None


def _dense(y: np.ndarray, X: np.ndarray | None, name: str) -> tuple[np.ndarray, None]:
    if y.dtype.kind == "U" or y.ndim < 2:
        raise TaskError(
            f"target {name!r} of shape {y.shape} is not a signal or field of numbers",
            fix="dense targets are (N, C, L), (N, C, H, W), or (N, L) beside a one-channel signal",
        )
    spatial = X.shape[2:] if X is not None and X.ndim > 2 else y.shape[1:]
    if X is None or y.ndim != X.ndim or y.ndim == 2:
        if y.shape[1:] != spatial and not (X is not None and y.ndim == X.ndim - 1):
            raise TaskError(
                f"target {name!r} has shape {y.shape}, which does not fit X {None if X is None else X.shape}",
                fix="dense targets have the axes of X, channel-first",
            )
        y = y[:, None]
    if y.ndim > 5:
        raise TaskError(f"target {name!r} has {y.ndim} axes; at most (N, C, D, H, W) is supported")
    return as_float32(y, f"target {name!r}"), None


def _segmentation(y: np.ndarray, X: np.ndarray | None, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    y = _positions(y, X, name)
    values, codes = _levels(y)
    named = ~ignored(values)
    if named.sum() < 2 or named.sum() > MANY_CLASSES:
        raise TaskError(
            f"target {name!r} has {named.sum()} distinct value{'s' * int(named.sum() != 1)} at its positions; "
            f"segmentation needs 2 to {MANY_CLASSES}",
            cause="-1 and missing values stand for positions that do not count, they are not classes"
            if named.sum() < 2
            else "the target holds measured values, not classes",
            fix="number the classes from 0" if named.sum() < 2 else "use --task dense for fields of numbers",
        )
    if values.dtype.kind in "if" and (values[named] < 0).any():
        raise TaskError(
            f"target {name!r} holds the code {values[named][0]:g}",
            cause="only -1 marks a position that does not count",
            fix="number the classes from 0 and write -1 where the class is unknown",
        )
    place = np.where(named, np.cumsum(named) - 1, IGNORED)
    return place[codes], tuple(class_name(v) for v in values[named])


def _known_map(y: np.ndarray, X: np.ndarray | None, name: str, classes: tuple[str, ...]) -> tuple[np.ndarray, Any]:
    """Codes into the classes of a trained model, (N, ...), of which the data may lack some."""
    y = _positions(y, X, name)
    values, codes = _levels(y)
    named = ~ignored(values)
    place = np.full(len(values), IGNORED)
    place[named] = _known_classes(values[named], classes, name)
    return place[codes], classes


def _levels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of y in ascending order, and y as int64 places among them. Integers within a small range,
    as in masks, are looked up instead of sorted."""
    if y.dtype.kind in "iu" and y.size:
        low, high = int(y.min()), int(y.max())
        if high - low <= _SMALL_RANGE:
            offset = y.astype(np.int64) - low
            present = np.bincount(offset.reshape(-1), minlength=high - low + 1) > 0
            return (np.flatnonzero(present) + low).astype(y.dtype), (np.cumsum(present) - 1)[offset]
    values, codes = np.unique(y, return_inverse=True)
    return values, codes.reshape(y.shape).astype(np.int64)


def _positions(y: np.ndarray, X: np.ndarray | None, name: str) -> np.ndarray:
    """y without a channel axis of one, its shape checked against X."""
    if X is not None and y.ndim == X.ndim and y.ndim > 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim < 2 or y.ndim > 4 or (X is not None and X.ndim > 2 and y.ndim != X.ndim - 1):
        raise TaskError(
            f"target {name!r} of shape {y.shape} does not hold one class per position of "
            f"{'a signal or image' if X is None else f'X {X.shape}'}",
            fix="segmentation targets are (N, L) beside (N, C, L) and (N, H, W) beside (N, C, H, W)",
        )
    return y


def as_float32(values: np.ndarray, what: str) -> np.ndarray:
    """values as float32; a ``DataError`` naming the first infinite value, or one beyond float32's range."""
    with np.errstate(over="ignore", invalid="ignore"):
        out = np.asarray(values).astype(np.float32)
    bad = np.isinf(out)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        value = np.asarray(values)[place]
        cause = "a division by zero or an overflow upstream" if np.isinf(value) else "a value beyond the float32 range"
        raise DataError(
            f"{what} holds {value} at row {place[0]}, index {list(place[1:])} ({int(bad.sum())} such values in all)",
            cause=cause,
            fix="replace infinite values by NaN (treated as missing), or rescale the data, and save it again",
        )
    return out
