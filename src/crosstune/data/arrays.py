"""Python objects to a ``Dataset``: arrays, ragged lists, DataFrames, pyarrow tables, mappings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crosstune.data import tables
from crosstune.data.infer import as_float32, field_kind, infer, is_missing, missing_rows, plain
from crosstune.errors import DataError, TaskError
from crosstune.records import FIELD_KINDS, IGNORED, Dataset, TargetKind

DROP_FLAG = "--drop-missing-target"


@dataclass(frozen=True)
class Inputs:
    """The input side of a Dataset."""

    X: np.ndarray
    lengths: np.ndarray | None = None
    columns: tuple[str, ...] | None = None
    categories: Mapping[int, tuple[str, ...]] | None = None
    notes: tuple[str, ...] = ()


def from_arrays(
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    lengths: Any = None,
    time: Any = None,
    units: Any = None,
    task: TargetKind | None = None,
    classes: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    target_names: Sequence[str] | None = None,
    name: str = "data",
    source: Mapping[str, Any] | None = None,
    keep: Sequence[str] = (),
    drop_missing_target: bool = False,
) -> Dataset:
    """A Dataset from Python objects.

    X: an array (N, F), (N, C, L), (N, C, H, W) or (N, C, D, H, W); a list of ragged arrays (C, L_i) or (L_i,);
       a pandas DataFrame, pyarrow table, structured array or mapping of columns. NaN means missing; in a series a
       tail of NaN over all channels is padding and becomes ``lengths``.
    y: labels, numbers, 0/1 columns, fields or class maps (see ``crosstune.data.infer``); fields may be NaN, and maps
       -1, where a position does not count. groups, time, lengths, units: (N,) each.
    classes: class names of a trained model, for data that may lack some.
    keep: text columns to keep although they look like identifiers.
    drop_missing_target: drop rows without a target instead of refusing them.
    The Dataset's ``source`` also holds ``reason`` (of the task kind) and ``notes``.
    Raises ``DataError`` (``TaskError`` for the target) naming the value, the place, the cause and the fix.
    """
    inputs = as_inputs(X, lengths, columns, keep)
    n = len(inputs.X)
    _same_length(n, y=y, groups=groups, time=time, units=units)
    notes = list(inputs.notes)
    rows = np.arange(n)
    inference = None
    if y is not None:
        if target_names is None and hasattr(y, "columns") and hasattr(y, "iloc"):
            target_names = [str(c) for c in y.columns]
        values = plain(_unwrap(y))
        kind = task if task is not None or classes is not None else field_kind(values, inputs.X)
        values, rows = _present_target(values, inputs, kind, drop_missing_target)
        if len(rows) < n:
            notes.append(f"{n - len(rows)} rows without a target were dropped")
        inference = infer(
            values,
            inputs.X,
            task=task,
            classes=classes,
            name=target_names[0] if target_names and len(target_names) == 1 else "y",
        )
    X_out, lengths_out = inputs.X[rows], None if inputs.lengths is None else inputs.lengths[rows]
    if inference is not None and inference.kind in FIELD_KINDS and X_out.ndim == 2:
        X_out, inputs = X_out[:, None, :], Inputs(X_out)
        notes.append("X (N, L) was taken as signals of one channel, because the target is a signal")
    extra = {"notes": tuple(notes), **({"reason": inference.reason} if inference else {})}
    return Dataset(
        X=X_out,
        y=None if inference is None else inference.y,
        kind=None if inference is None else inference.kind,
        classes=None if inference is None else inference.classes,
        lengths=lengths_out,
        groups=None if groups is None else as_groups(groups)[rows],
        units=None if units is None else as_units(units)[rows],
        time=None if time is None else as_time(time)[rows],
        columns=inputs.columns,
        categories=dict(inputs.categories or {}),
        target_names=None if target_names is None else tuple(str(t) for t in target_names),
        name=name,
        source={**(source or {}), **extra},
    )


def as_inputs(X: Any, lengths: Any = None, columns: Sequence[str] | None = None, keep: Sequence[str] = ()) -> Inputs:
    """X in canonical form, with what was found out on the way."""
    if hasattr(X, "toarray"):  # scipy.sparse
        X = X.toarray()
    if _is_table(X):
        table = tables.encode(tables.columns_of(X), keep)
        return Inputs(table.X, None, table.columns, table.categories, table.notes)
    if isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.dtype.kind == "O" and X.ndim == 1):
        ragged = _ragged(list(X), forced=isinstance(X, np.ndarray))
        if ragged is not None:
            return ragged
    try:
        values = np.asarray(X)
    except ValueError as error:
        raise DataError(
            f"X cannot be made an array: {error}", fix="give rows of one shape, or arrays (C, L_i)"
        ) from error
    if values.dtype.kind in "OUSM":
        return _text_matrix(values, columns, keep)
    return _numeric(values, lengths, columns)


def _is_table(X: Any) -> bool:
    named = (hasattr(X, "columns") and hasattr(X, "iloc")) or (hasattr(X, "schema") and hasattr(X, "column_names"))
    return named or isinstance(X, Mapping) or (isinstance(X, np.ndarray) and X.dtype.names is not None)


def _text_matrix(values: np.ndarray, columns: Sequence[str] | None, keep: Sequence[str]) -> Inputs:
    if values.ndim != 2:
        raise DataError(
            f"X of type {values.dtype} has shape {values.shape}; text is read in tables (N, F) only",
            fix="give numbers, or one column per text variable",
        )
    names = list(columns) if columns is not None else [f"x{i}" for i in range(values.shape[1])]
    _column_count(names, values.shape[1])
    parts = {str(name): _tighten(values[:, i]) for i, name in enumerate(names)}
    table = tables.encode(parts, keep)
    return Inputs(table.X, None, table.columns, table.categories, table.notes)


def _tighten(column: np.ndarray) -> np.ndarray:
    """Numbers that travelled as text or objects, as numbers."""
    if column.dtype.kind == "M":
        return column
    items = ["" if is_missing(v) else v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in column]
    try:
        return np.array([np.nan if v == "" else float(v) for v in items], np.float64)
    except (TypeError, ValueError):
        return np.array([None if v == "" else v for v in items], dtype=object)


def _numeric(values: np.ndarray, lengths: Any, columns: Sequence[str] | None) -> Inputs:
    if values.dtype.kind not in "biuf":
        raise DataError(
            f"X has type {values.dtype}, which is not real numbers",
            cause="complex samples" if values.dtype.kind == "c" else None,
            fix="store real and imaginary parts as two channels" if values.dtype.kind == "c" else "store numbers",
        )
    if values.ndim == 1:
        values = values[:, None]
    if not 2 <= values.ndim <= 5:
        raise DataError(
            f"X has shape {values.shape}; 2 to 5 axes are supported",
            fix="use (N, F), (N, C, L), (N, C, H, W) or (N, C, D, H, W), channel-first",
        )
    if 0 in values.shape:
        raise DataError(f"X is empty: shape {values.shape}", fix="check that the file holds any data")
    out = as_float32(values, "X")
    if out.ndim == 2:
        names = tuple(str(c) for c in columns) if columns is not None else None
        _column_count(names, out.shape[1])
        if lengths is not None:
            raise DataError(f"`lengths` was given for a table X {out.shape}", fix="ragged series are (N, C, L)")
        return Inputs(out, None, names)
    if out.ndim != 3:
        if lengths is not None:
            raise DataError(f"`lengths` was given for X {out.shape}", fix="only series (N, C, L) can be ragged")
        return Inputs(out)
    if lengths is None:
        return _nan_tails(out)
    return _padded(out, lengths)


def _column_count(names: Sequence[str] | None, wanted: int) -> None:
    if names is not None and len(names) != wanted:
        raise DataError(f"{len(names)} column names were given for {wanted} columns", fix="name every column")


def _padded(X: np.ndarray, lengths: Any) -> Inputs:
    got = np.asarray(lengths)
    if got.shape != (len(X),) or got.dtype.kind not in "iuf" or not np.array_equal(got, np.round(got)):
        raise DataError(f"`lengths` has shape {got.shape} and type {got.dtype}; {len(X)} integers are needed")
    got = got.astype(np.int64)
    bad = np.flatnonzero((got < 1) | (got > X.shape[2]))
    if len(bad):
        raise DataError(
            f"`lengths` is {got[bad[0]]} at row {bad[0]}, outside 1..{X.shape[2]}",
            cause="lengths of another file, or an empty series",
            fix="remove empty series",
        )
    out = X.copy()
    out[np.broadcast_to((np.arange(X.shape[2]) >= got[:, None])[:, None], X.shape)] = 0
    if (got == X.shape[2]).all():
        return Inputs(out)
    return Inputs(out, got)


def _nan_tails(X: np.ndarray) -> Inputs:
    if not np.isnan(X[:, 0, -1]).any():
        return Inputs(X)
    filled = ~np.isnan(X).all(axis=1)
    lengths = X.shape[2] - np.argmax(filled[:, ::-1], axis=1)
    lengths[~filled.any(axis=1)] = X.shape[2]  # a row without any value is missing, not short
    if (lengths == X.shape[2]).all():
        return Inputs(X)
    out = _padded(X, lengths)
    short = int((lengths < X.shape[2]).sum())
    note = f"{short} of {len(X)} series end in NaN in every channel: read as padding, lengths {lengths.min()} to "
    return Inputs(out.X, out.lengths, notes=(note + f"{lengths.max()}",))


def _ragged(items: list[Any], forced: bool) -> Inputs | None:
    """Padded series from (C, L_i) or (L_i,) arrays; None when the items are equal in shape, so an ordinary array."""
    if len(items) == 0:
        raise DataError("X is empty: a list of no samples", fix="check that the source holds any data")
    if not all(isinstance(i, (list, tuple, np.ndarray)) or hasattr(i, "__array__") for i in items):
        return None
    try:
        parts = [np.asarray(item) for item in items]
    except ValueError as error:
        raise DataError(f"X holds a sample that is no array: {error}", fix="give arrays (C, L_i)") from error
    shapes = {p.shape for p in parts}
    if len(shapes) == 1 and not forced:
        return None
    if any(p.ndim not in (1, 2) or p.dtype.kind not in "biuf" for p in parts) or len({p.ndim for p in parts}) > 1:
        if len(shapes) == 1 and parts[0].dtype.kind in "biuf":
            return _numeric(np.stack(parts), None, None)
        odd = next((i for i, p in enumerate(parts) if p.ndim not in (1, 2) or p.dtype.kind not in "biuf"), 0)
        raise DataError(
            f"sample {odd} of X has shape {parts[odd].shape} and type {parts[odd].dtype}",
            fix="ragged samples are arrays of numbers (C, L_i) or (L_i,)",
        )
    parts = [p[None] if p.ndim == 1 else p for p in parts]
    channels = {p.shape[0] for p in parts}
    if len(channels) > 1:
        transposed = len({p.shape[1] for p in parts}) == 1
        raise DataError(
            f"samples of X have different channel counts: {sorted(channels)[:6]}, first shapes {parts[0].shape}, "
            f"{next(p.shape for p in parts if p.shape[0] != parts[0].shape[0])}",
            cause="the samples are (L_i, C)" if transposed else None,
            fix="transpose each sample: [x.T for x in X]" if transposed else "give every sample the same channels",
        )
    lengths = np.array([p.shape[1] for p in parts], np.int64)
    out = np.zeros((len(parts), channels.pop(), max(int(lengths.max()), 1)), np.float32)
    for row, part in enumerate(parts):
        out[row, :, : part.shape[1]] = as_float32(part, f"X sample {row}") if part.size else 0
    return _padded(out, lengths)


def _without_padding(y: np.ndarray, inputs: Inputs, fill: float) -> np.ndarray:
    """A target over ragged series with ``fill`` behind the end of each series, where there is nothing to know."""
    if inputs.lengths is None or y.ndim < 2 or y.shape[-1] != inputs.X.shape[-1] or y.dtype.kind == "U":
        return y
    behind = np.arange(y.shape[-1]) >= inputs.lengths.reshape(-1, *[1] * (y.ndim - 1))
    return np.where(behind, np.array(fill).astype(np.int64 if y.dtype.kind in "biu" else y.dtype), y)


def _present_target(y: np.ndarray, inputs: Inputs, kind: str | None, drop: bool) -> tuple[np.ndarray, np.ndarray]:
    """The rows that have a target, and their numbers; of fields and class maps those that have one anywhere."""
    if kind == "segmentation":
        y = _without_padding(y, inputs, IGNORED)
        gaps = missing_rows(y, kind)
    elif y.dtype.kind == "f":
        gaps = missing_rows(_without_padding(y, inputs, np.nan if kind == "dense" else 0.0), kind)
        y = _without_padding(y, inputs, 0.0)
    else:
        gaps = missing_rows(y, kind)
    if gaps.any() and not drop:
        rows = np.flatnonzero(gaps)
        shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
        where = "missing everywhere" if kind in FIELD_KINDS else "missing"
        raise TaskError(
            f"the target is {where} in {len(rows)} of {len(y)} rows: rows {shown}",
            fix=f"{DROP_FLAG} leaves these rows out (drop_missing_target=True in Python)",
        )
    rows = np.flatnonzero(~gaps)
    if len(rows) == 0:
        raise TaskError(f"the target is missing in all {len(y)} rows", fix="name another column with --target")
    kept = y[rows]
    return kept, rows


def _unwrap(y: Any) -> Any:
    """pandas and pyarrow columns as arrays, with missing values kept apart from text."""
    if hasattr(y, "schema") and hasattr(y, "column_names"):
        return np.column_stack(list(tables.columns_of(y).values()))
    if hasattr(y, "iloc") and hasattr(y, "columns"):
        parts = list(tables.columns_of(y).values())
        return parts[0] if len(parts) == 1 else np.column_stack(parts)
    if hasattr(y, "iloc"):
        return tables.columns_of({"y": y})["y"]
    if type(y).__module__.startswith("pyarrow"):
        return np.array(y.to_pylist(), dtype=object)
    try:
        return np.asarray(y)
    except ValueError as error:
        padded = _ragged(list(y), forced=False) if all(np.ndim(v) for v in y) else None
        if padded is not None:
            return padded.X
        raise TaskError(
            f"the target cannot be made an array: {error}", fix="give one value or field per row"
        ) from error


def as_groups(groups: Any) -> np.ndarray:
    """(N,) integers or strings. Raises ``DataError`` for missing or fractional group names."""
    values = tables.columns_of({"groups": groups})["groups"] if hasattr(groups, "iloc") else np.asarray(groups)
    gaps = np.array([is_missing(v) or v == "" for v in values.ravel()], bool)
    if values.ndim != 1 or gaps.any():
        where = (
            f"{int(gaps.sum())} missing, first at row {int(np.argmax(gaps))}" if gaps.any() else f"shape {values.shape}"
        )
        raise DataError(f"`groups` cannot be used: {where}", fix="give every row one group")
    if values.dtype.kind == "f" and np.array_equal(values, np.round(values)):
        return values.astype(np.int64)
    if values.dtype.kind in "iub":
        return values.astype(np.int64)
    return np.array([v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values], dtype=np.str_)


def as_units(units: Any) -> np.ndarray:
    """(N,) int64: the numbers as they are, names numbered in sorted order. Raises ``DataError`` like ``as_groups``."""
    values = as_groups(units)
    return (
        values if values.dtype.kind == "i" else np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
    )


def as_time(time: Any) -> np.ndarray:
    """(N,) sortable numbers: dates become microseconds since 1970. Raises ``DataError`` for missing values."""
    values = tables.columns_of({"time": time})["time"] if hasattr(time, "iloc") else np.asarray(time)
    if values.dtype.kind in "OUS":
        try:
            text = [v.decode() if isinstance(v, bytes) else v for v in values]
            values = np.array(text, dtype="datetime64[us]")
        except (ValueError, TypeError) as error:
            raise DataError(
                f"`time` holds {str(values[0])!r}, neither number nor ISO date ({error})",
                fix="write dates as 2024-05-31T12:00:00",
            ) from error
    gaps = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values.astype(np.float64))
    if values.ndim != 1 or gaps.any():
        raise DataError(
            f"`time` of shape {values.shape} is missing in {int(gaps.sum())} rows", fix="give every row a time"
        )
    return values.astype("datetime64[us]").astype(np.int64) if values.dtype.kind == "M" else values


def _same_length(n: int, **columns: Any) -> None:
    for name, values in columns.items():
        if values is None:
            continue
        got = len(values) if hasattr(values, "__len__") else None
        if got != n:
            raise DataError(
                f"{name} has {got} rows, but X has {n}",
                cause="the two belong to different files, or X is not sample-first",
                fix="the first axis of X and of every other key counts the samples",
            )
