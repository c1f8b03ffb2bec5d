"""Columns of any type to one float32 matrix: numbers stay, dates become days, text becomes codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosstune.data.infer import as_float32, is_missing
from crosstune.discovery import suggest
from crosstune.errors import DataError
from crosstune.records import Dataset

MOST_CATEGORIES = 256
STRAY_SHARE = 0.2  # text columns in which all but this share are numbers are numeric columns with mistakes
FEW_CATEGORIES = 20  # columns with at most this many values are never taken for identifiers


@dataclass(frozen=True)
class Table:
    """X: float32 (N, F), NaN missing, codes for text. categories: column index -> names. notes: what was dropped."""

    X: np.ndarray
    columns: tuple[str, ...]
    categories: dict[int, tuple[str, ...]]
    notes: tuple[str, ...]


def columns_of(table: Any) -> dict[str, np.ndarray]:
    """Column name -> 1-D array (numbers, or objects with None for missing) of a pandas DataFrame, a pyarrow table,
    a structured array or a mapping. None of these libraries is imported here."""
    if hasattr(table, "schema") and hasattr(table, "column_names"):  # pyarrow
        return {str(name): _from_arrow(table.column(i)) for i, name in enumerate(table.column_names)}
    if hasattr(table, "iloc") and hasattr(table, "columns"):  # pandas
        return {str(name): _from_pandas(table.iloc[:, i]) for i, name in enumerate(table.columns)}
    if isinstance(table, np.ndarray) and table.dtype.names:
        return {name: np.asarray(table[name]) for name in table.dtype.names}
    if isinstance(table, Mapping):
        return {str(name): _from_pandas(v) if hasattr(v, "iloc") else np.asarray(v) for name, v in table.items()}
    raise DataError(f"{type(table).__name__} is not a table", fix="give a DataFrame, a pyarrow table or a mapping")


def _from_pandas(series: Any) -> np.ndarray:
    kind = getattr(series.dtype, "kind", "O")
    if hasattr(series, "cat"):
        names = series.cat.categories
        codes = np.asarray(series.cat.codes)
        numeric = getattr(names.dtype, "kind", "O") in "biuf"
        values = np.array([*names, None], dtype=object)[codes]
        return np.array([v if v is None else str(v) for v in values], object) if not numeric else _numbers(values)
    if kind in "iufb" and not isinstance(series.dtype, np.dtype):  # nullable types
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind == "M":
        return np.asarray(series.dt.tz_localize(None) if getattr(series.dt, "tz", None) else series, "datetime64[us]")
    return np.asarray(series.to_numpy(dtype=None if kind in "biufm" else object))


def _numbers(values: np.ndarray) -> np.ndarray:
    return np.array([np.nan if is_missing(v) else float(v) for v in values], np.float64)


def _from_arrow(column: Any) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_boolean(kind) and not column.null_count:
        return np.asarray(column.to_numpy(), bool)
    if pa.types.is_integer(kind) and not column.null_count:
        return np.asarray(column.to_numpy())
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        column = column.cast(pa.uint8()) if pa.types.is_boolean(kind) else column
        return np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy())
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return np.asarray(column.cast(pa.timestamp("us"), safe=False).to_numpy()).astype("datetime64[us]")
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        whole = pa.int32() if pa.types.is_time32(kind) else pa.int64()
        return np.asarray(pc.fill_null(column.cast(whole).cast(pa.float64()), np.nan).to_numpy())
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_nested(kind):
        return _arrow_lists(column)
    return np.array(column.to_pylist(), dtype=object)


def _arrow_lists(column: Any) -> np.ndarray:
    out = np.empty(len(column), dtype=object)
    for row, value in enumerate(column.to_pylist()):
        out[row] = value
    return out


def encode(columns: Mapping[str, np.ndarray], keep: Sequence[str] = ()) -> Table:
    """The columns as one matrix. Text becomes codes in sorted order of its values; text columns that look like
    identifiers (more than 20 values, in over half the rows, or over 256 values) are dropped with a note, unless
    named in ``keep``. Raises ``DataError`` for infinite values, nested or unequal columns, and when nothing is left."""
    arrays: list[np.ndarray] = []
    names: list[str] = []
    categories: dict[int, tuple[str, ...]] = {}
    notes: list[str] = []
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns have different lengths: {lengths}", fix="give columns of one length")
    for name, values in columns.items():
        numbers, found = _encode_column(name, values)
        if found is not None and name not in keep and _id_like(len(found), len(values)):
            _refuse_stray_text(name, values)
            notes.append(f"column {name!r} dropped: text with {len(found)} distinct values in {len(values)} rows")
            continue
        if found is not None:
            categories[len(names)] = found
        arrays.append(as_float32(numbers, f"column {name!r}"))
        names.append(name)
    if not arrays:
        raise DataError(
            "no feature column is left" + (f" ({'; '.join(notes)})" if notes else ""),
            fix="the file needs at least one column beside the target; check --target and the delimiter",
        )
    return Table(np.column_stack(arrays), tuple(names), categories, tuple(notes))


def _refuse_stray_text(name: str, values: np.ndarray) -> None:
    """A column of numbers with a few words in it would be dropped as text: that must not pass in silence."""
    present = [(row, v) for row, v in enumerate(values) if not is_missing(v) and v != ""]
    words = [(row, v) for row, v in present if not _is_number(v)]
    if words and len(words) <= STRAY_SHARE * len(present):
        raise DataError(
            f"column {name!r} holds {words[0][1]!r} at row {words[0][0]} among numbers ({len(words)} such values)",
            cause="a remark, a unit or a decimal comma in a numeric column",
            fix="correct these values, or leave them empty to mark them missing",
        )


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _id_like(distinct: int, rows: int) -> bool:
    return distinct > MOST_CATEGORIES or (distinct > FEW_CATEGORIES and distinct > rows / 2)


def _encode_column(name: str, values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...] | None]:
    if values.ndim != 1:
        raise DataError(f"column {name!r} has shape {values.shape}; a table column is one-dimensional")
    kind = values.dtype.kind
    if kind in "biuf":
        return values, None
    if kind == "M":
        days = values.astype("datetime64[us]").astype(np.int64) / 86400e6
        return np.where(np.isnat(values), np.nan, days), None
    if kind == "m":
        seconds = values.astype("timedelta64[us]").astype(np.int64) / 1e6
        return np.where(np.isnat(values), np.nan, seconds), None
    if kind not in "OUS":
        raise DataError(
            f"column {name!r} has type {values.dtype}, which is neither numbers, dates nor text",
            fix="drop the column, or store it as real numbers",
        )
    return _encode_objects(name, values)


def _encode_objects(name: str, values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...] | None]:
    gaps = np.array([is_missing(v) or (isinstance(v, str) and v == "") for v in values], bool)
    present = [v for v, gap in zip(values, gaps) if not gap]
    if any(isinstance(v, (list, tuple, dict, set, np.ndarray)) for v in present):
        raise DataError(
            f"column {name!r} holds nested values such as {str(present[0])[:40]}",
            fix="store one number or text per row; for series see the .npz layout with `lengths`",
        )
    if all(hasattr(v, "isoformat") for v in present) and present:
        return _encode_column(name, np.array([None if g else v for v, g in zip(values, gaps)], "datetime64[us]"))
    if not any(isinstance(v, (str, bytes)) for v in present):
        return _numbers(values), None
    text = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in present]
    found, codes = np.unique(np.array(text, dtype=np.str_), return_inverse=True)
    out = np.full(len(values), np.nan)
    out[~gaps] = codes
    return out, tuple(str(v) for v in found)


def conform(dataset: Dataset, columns: tuple[str, ...], categories: Mapping[int, tuple[str, ...]]) -> Dataset:
    """A table in the column order and category codes of another one, for prediction; unseen categories become
    missing. Tables without names on either side are left in order. Raises ``DataError`` for missing columns.

    Read such data with ``features`` (``keep`` in ``from_arrays``) set to ``columns``, so that no text column is taken
    for an identifier because there happen to be few rows.
    """
    if dataset.columns is None or set(columns) - set(dataset.columns):
        lacking = [c for c in columns if c not in (dataset.columns or ())]
        if dataset.X.shape[1] == len(columns) and all(c.startswith("x") for c in (dataset.columns or ())):
            order = list(range(len(columns)))
        else:
            dropped = [
                str(n) for n in dataset.source.get("notes", ()) if any(f"column {c!r} dropped" in n for c in lacking)
            ]
            raise DataError(
                f"the data lack {len(lacking)} of the model's {len(columns)} columns: {', '.join(lacking[:10])}",
                cause=dropped[0] if dropped else None,
                fix="read the file with these columns named as features"
                if dropped
                else suggest(lacking[0], list(dataset.columns or ()))
                if lacking
                else None,
            )
    else:
        order = [dataset.columns.index(c) for c in columns]
    X = dataset.X[:, order].copy()
    for new, old in enumerate(order):
        known = categories.get(new)
        names = dataset.categories.get(old)
        if known is None:
            if names is None:
                continue
            raise DataError(
                f"column {columns[new]!r} holds text here but held numbers in training",
                cause=f"a value such as {names[0]!r}",
                fix="clean the column",
            )
        X[:, new] = _recode(dataset.X[:, old], names, known)
    return replace(dataset, X=X, columns=columns, categories=dict(categories))


def _recode(values: np.ndarray, names: tuple[str, ...] | None, known: tuple[str, ...]) -> np.ndarray:
    if names is None:  # text that looks like numbers in this file
        texts = [None if np.isnan(v) else str(int(v)) if float(v).is_integer() else repr(float(v)) for v in values]
    else:
        texts = [None if np.isnan(v) else names[int(v)] for v in values]
    place = {name: code for code, name in enumerate(known)}
    return np.array([np.nan if t is None else place.get(t, np.nan) for t in texts], np.float32)
