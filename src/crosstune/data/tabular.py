"""CSV and Parquet, by pyarrow, to named columns."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.data import tables
from crosstune.data.files import Opened, damaged
from crosstune.errors import DataError

_NULLS = ["", "NA", "N/A", "n/a", "#N/A", "#NA", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None", "NaT", "?"]
_SAMPLE = 1 << 16


def read_csv(opened: Opened) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Columns of a delimited text file and notes on how it was read.

    Delimiter (comma, semicolon, tab, bar) and the presence of a header are found by looking; without a header the
    columns are x0, x1, ... Raises ``DataError`` for ragged lines, binary content and files without rows.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    sample, encoding = _sample(opened.path)
    delimiter = _delimiter(sample)
    blank, line = _first_line(sample)
    first = next(csv.reader([line], delimiter=delimiter), [])
    header = not all(_is_number(v) for v in first) or first == [str(i) for i in range(len(first))]
    notes: list[str] = [] if header else ["the first line holds numbers only: read as data, columns named x0, x1, ..."]
    names = [name.strip() for name in first] if header else [f"x{i}" for i in range(len(first))]
    _check_names(names, opened.path)
    try:
        table = arrow_csv.read_csv(
            str(opened.path),
            read_options=arrow_csv.ReadOptions(
                column_names=names,
                skip_rows=blank + int(header),
                encoding=encoding,
                block_size=_block_size(opened.path),
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                null_values=_NULLS, strings_can_be_null=True, decimal_point=_decimal_point(sample, delimiter)
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        said = str(error).splitlines()[0]
        if "Expected" in said or "columns" in said:
            raise DataError(
                f"{opened.path}: lines differ in their number of columns ({said})",
                cause=f"an unquoted {delimiter!r} in a value, or a truncated last line",
                fix="quote such values, or write the table as Parquet",
            ) from error
        if "Empty CSV" in said:
            _no_rows(opened.path)
        damaged(opened.path, "CSV", error)
    except (OSError, UnicodeDecodeError, EOFError) as error:
        damaged(opened.path, "CSV", error)
    if table.num_rows == 0:
        _no_rows(opened.path)
    if encoding != "utf-8":
        notes.append(f"the text is not UTF-8: read as {encoding}")
    columns = _without_index(tables.columns_of(table), notes)
    return columns, tuple(notes)


def _without_index(columns: dict[str, np.ndarray], notes: list[str]) -> dict[str, np.ndarray]:
    """A nameless first column that counts the rows is an index written by accident."""
    first, values = next(iter(columns.items()))
    nameless = first in ("", "Unnamed: 0") and len(columns) > 1 and values.dtype.kind in "iu"
    if not nameless or not np.array_equal(values, np.arange(len(values)) + values[0]):
        return columns
    notes.append("the first column has no name and counts the rows: left out")
    return {name: v for name, v in columns.items() if name != first}


def _sample(path: Path) -> tuple[bytes, str]:
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
            sample = file.read(_SAMPLE)
    except (OSError, EOFError, zlib.error) as error:
        damaged(path, "CSV", error)
    if b"\0" in sample[:1024] and not sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(
            f"{path} is named as text but holds binary data", cause="a wrong extension", fix="rename it to what it is"
        )
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return sample.decode("utf-16", "replace").encode(), "utf-16"
    try:
        sample[: sample.rfind(b"\n") + 1 or None].decode("utf-8")
    except UnicodeDecodeError:
        return sample, "latin-1"
    return sample, "utf-8"


def _block_size(path: Path) -> int:
    """The whole file, so that a column's type is decided by all of its values and not by the first megabyte."""
    compressed = path.name.lower().endswith(".gz")
    return 1 << 26 if compressed else max(1 << 16, min(path.stat().st_size + 1, (1 << 31) - 1))


def _first_line(sample: bytes) -> tuple[int, str]:
    """The number of blank lines at the top, and the first line that is not blank."""
    text = sample.decode("utf-8", "replace").lstrip("\ufeff")
    return next(((i, line) for i, line in enumerate(text.splitlines()) if line.strip()), (0, ""))


def _decimal_point(sample: bytes, delimiter: str) -> str:
    """A comma where numbers are written 1,5 (files separated by semicolons or tabs), else a point."""
    text = sample.decode("utf-8", "replace")
    if delimiter == "," or re.search(r"(?:^|[;\t|])-?\d+\.\d+(?:[;\t|]|\r?$)", text, re.MULTILINE):
        return "."
    return "," if re.search(r"(?:^|[;\t|])-?\d+,\d+(?:[;\t|]|\r?$)", text, re.MULTILINE) else "."


def _delimiter(sample: bytes) -> str:
    line = _first_line(sample)[1]
    counts = {d: line.count(d) for d in ",;\t|"}
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] else ","


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip() in _NULLS
    return True


def _check_names(names: list[str], path: Path) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(f"{path} has several columns named {', '.join(map(repr, twice[:5]))}", fix="rename them")


def _no_rows(path: Path) -> None:
    raise DataError(f"{path} has a header but no rows", cause="an export of an empty query", fix="check its content")


def read_parquet(opened: Opened) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Columns of a Parquet file. Raises ``DataError`` for damaged files and files without rows."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(str(opened.path), partitioning=None)
    except (pa.ArrowException, OSError) as error:
        damaged(opened.path, "Parquet", error)
    if table.num_rows == 0:
        raise DataError(f"{opened.path} has columns but no rows", fix="check its content")
    keep = [name for name in table.column_names if not name.startswith("__index_level_")]
    return tables.columns_of(table.select(keep)), ()


def series_of(columns: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """Samples (C, L_i) when every column holds lists of numbers (a channel each); None when none does.

    Raises ``DataError`` for a mixture, and for channels of different lengths in one row.
    """
    nested = {name: _is_lists(values) for name, values in columns.items()}
    if not any(nested.values()):
        return None
    if not all(nested.values()):
        lists = [n for n, yes in nested.items() if yes]
        raise DataError(
            f"columns {lists[:5]} hold lists and the others single values; both at once is not supported",
            fix="choose one kind with --features",
        )
    samples = []
    for row, channels in enumerate(zip(*columns.values())):
        try:
            samples.append(np.array([[np.nan if v is None else v for v in c] for c in channels], np.float64))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"row {row}: the channels are no lists of numbers of one length ({error})",
                fix="give every channel of a row the same number of samples",
            ) from error
    return samples


def _is_lists(values: np.ndarray) -> bool:
    if values.dtype != object:
        return False
    first: Any = next((v for v in values if v is not None), None)
    return isinstance(first, (list, tuple, np.ndarray))
