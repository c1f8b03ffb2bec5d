"""Rows that are read from their files when they are asked for, for data larger than memory.

``LazyRows`` stands where an array stands in ``Dataset.X`` (and, for fields that are large themselves, in
``Dataset.y``): it has a shape, a dtype and a length, and indexing it gives a real array. What reads a row is a
``RowReader``: a frozen dataclass of plain arguments, so that it can be pickled, sent to another process, written into a
run folder, and made again from there. Files are opened once in every process, never shared between two.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from crosstune.errors import DataError
from crosstune.records import Dataset

BLOCK_VALUES = 1 << 24  # values that a block of rows holds: 64 MB of float32
SAMPLE_VALUES = 1 << 26  # values of a sample from which statistics are taken
MOST_BYTES = 2 << 30  # what may become one array by accident
_OPEN_READERS = 16
_FILES_HASHED = 64
_HASHED_BYTES = 1 << 16
_opened: OrderedDict[tuple[int, RowReader], Any] = OrderedDict()


@dataclass(frozen=True)
class RowReader(ABC):
    """How to read one row. A subclass is a frozen dataclass whose fields are its arguments, all of them plain (text,
    numbers, tuples of these); a field called ``path`` says where the files are and is no part of the data's identity.
    """

    path: str

    registry: ClassVar[dict[str, type[RowReader]]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        RowReader.registry[f"{cls.__module__}:{cls.__qualname__}"] = cls

    @abstractmethod
    def open(self) -> Any:
        """What reading needs: tables, memory maps, handles. Called once in every process, through ``opened``."""

    @abstractmethod
    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        """Number of rows, shape of one row, dtype."""

    @abstractmethod
    def read(self, row: int) -> np.ndarray:
        """One row, of the shape and dtype of ``layout``."""

    @abstractmethod
    def files(self) -> Sequence[Path]:
        """The files that the rows come from, in a fixed order."""

    def opened(self) -> Any:
        """The result of ``open`` in this process."""
        key = (os.getpid(), self)
        if key in _opened:
            _opened.move_to_end(key)
            return _opened[key]
        value = _opened[key] = self.open()
        while len(_opened) > _OPEN_READERS:
            _opened.popitem(last=False)
        return value

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, ...); override where many rows are read faster together."""
        _, shape, dtype = self.layout()
        out = np.empty((len(rows), *shape), dtype)
        for place, row in enumerate(rows):
            out[place] = self.read(int(row))
        return out

    def arguments(self) -> dict[str, Any]:
        """The fields, as ``spec`` writes them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def spec(self) -> dict[str, Any]:
        """The reader as plain data; ``reader_from`` makes it again."""
        cls = type(self)
        return {"reader": f"{cls.__module__}:{cls.__qualname__}", "arguments": self.arguments()}

    def fingerprint(self) -> str:
        """sha256 over the reader's name, its arguments (the place aside), and the names and sizes of all files, with
        samples of the content (beginning, middle, end) of up to 64 of them: whole folders of data are too large to be
        read for a checksum."""
        digest = hashlib.sha256()
        spec = self.spec()
        spec["arguments"] = {key: value for key, value in spec["arguments"].items() if key != "path"}
        digest.update(json.dumps(spec, sort_keys=True).encode())
        digest.update(files_fingerprint(self.files()).encode())
        return digest.hexdigest()


def forget(path: str | os.PathLike[str]) -> None:
    """Close what this process has opened of the data at ``path``: what was changed there meanwhile is read anew."""
    for key in [key for key in _opened if key[1].path == os.fspath(path)]:
        del _opened[key]


def files_fingerprint(files: Sequence[Path]) -> str:
    """sha256 over names and sizes of all files, with samples of the content of up to 64 of them, evenly spaced."""
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(f"{file.name}:{file.stat().st_size};".encode())
        except FileNotFoundError:
            raise DataError(
                f"{file} is not there", cause="the data were moved or removed", fix="put them back where they were"
            ) from None
    picks = np.unique(np.linspace(0, len(files) - 1, min(len(files), _FILES_HASHED)).astype(int)) if files else ()
    for pick in picks:
        with open(files[pick], "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            for start in sorted({0, max(0, size // 2), max(0, size - _HASHED_BYTES)}):
                handle.seek(start)
                digest.update(handle.read(_HASHED_BYTES))
    return digest.hexdigest()


class LazyRows:
    """Rows of a reader, in the order of ``rows``, as something that looks like an array (N, ...).

    ``a[i]`` is one row, ``a[slice]``, ``a[numbers]`` and ``a[mask]`` are real arrays; ``view(rows)`` stays lazy.
    ``np.asarray(a)`` reads everything and refuses above 2 GiB.
    """

    is_lazy = True

    def __init__(self, reader: RowReader, rows: np.ndarray | None = None, *, fingerprint: str | None = None) -> None:
        count, shape, dtype = reader.layout()
        self.reader = reader
        self.rows = np.arange(count) if rows is None else np.asarray(rows, dtype=np.int64)
        if len(self.rows) and not (self.rows.min() >= 0 and self.rows.max() < count):
            raise DataError(f"rows {self.rows.min()} to {self.rows.max()} of {reader.path}, which has {count}")
        self.shape = (len(self.rows), *shape)
        self.dtype = np.dtype(dtype)
        self._fingerprint = fingerprint

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def fingerprint(self) -> str:
        """Identity of the files and the reader (see ``RowReader.fingerprint``), found once."""
        if self._fingerprint is None:
            self._fingerprint = self.reader.fingerprint()
        return self._fingerprint

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, (int, np.integer)):
            return self.reader.read(int(self.rows[key]))
        if isinstance(key, tuple):
            raise TypeError("lazy rows are indexed by row only; take the rows first, then a part of the array")
        return self.reader.read_rows(self.rows[key])

    def __iter__(self) -> Iterator[np.ndarray]:
        for row in self.rows:
            yield self.reader.read(int(row))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.nbytes > MOST_BYTES:
            raise DataError(
                f"{len(self):,} rows of {self.reader.path} would take {self.nbytes / 2**30:.1f} GiB of memory at once",
                cause="a step that needs every row together",
                fix="limit the rows, or leave that step out",
            )
        out = np.empty(self.shape, dtype or self.dtype)
        for part, block in row_blocks(self, BLOCK_VALUES // 4):  # a reader may need a few times what a block holds
            out[part] = block
        return out

    def view(self, rows: np.ndarray | slice) -> LazyRows:
        """These rows, lazily."""
        return LazyRows(self.reader, self.rows[rows], fingerprint=self._fingerprint)

    def __repr__(self) -> str:
        return f"LazyRows({type(self.reader).__name__}, shape={self.shape}, dtype={self.dtype})"


def reader_from(spec: dict[str, Any]) -> RowReader:
    """The reader that ``RowReader.spec`` described; only classes of this package, or those already imported."""
    name = str(spec["reader"])
    module, _, _ = name.partition(":")
    if name not in RowReader.registry and module.split(".")[0] == "crosstune":
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    if name not in RowReader.registry:
        raise DataError(
            f"rows are read by {name!r}, which this version does not have", cause="another version wrote it"
        )
    arguments = {key: _tuples(value) for key, value in spec["arguments"].items()}
    return RowReader.registry[name](**arguments)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def lazy_array(reader: RowReader, rows: np.ndarray | None = None) -> np.ndarray:
    """``LazyRows`` under the type that ``Dataset.X`` declares."""
    return cast(np.ndarray, LazyRows(reader, rows))


def is_lazy(values: Any) -> bool:
    return bool(getattr(values, "is_lazy", False))


def row_blocks(values: Any, most: int = BLOCK_VALUES) -> Iterator[tuple[slice, np.ndarray]]:
    """(slice, real array) over all rows in order, in blocks of at most ``most`` values."""
    step = max(1, most // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, len(values), step):
        part = slice(start, min(start + step, len(values)))
        yield part, np.asarray(values[part])


def spaced_rows(values: Any, most: int = SAMPLE_VALUES, fewest: int = 16) -> np.ndarray:
    """Row numbers, evenly spaced over all rows, that together hold about ``most`` values; all rows if they fit."""
    count = max(fewest, most // max(1, int(np.prod(values.shape[1:]))))
    if len(values) <= count:
        return np.arange(len(values))
    return np.unique(np.linspace(0, len(values) - 1, count).astype(np.int64))


def sample(values: Any, most: int = SAMPLE_VALUES) -> np.ndarray:
    """The values themselves, or of lazy rows an evenly spaced sample as a real array."""
    return values[spaced_rows(values, most)] if is_lazy(values) else values


def in_memory(dataset: Dataset) -> Dataset:
    """The same with real arrays. DataError above 2 GiB (see ``LazyRows``)."""
    if not (is_lazy(dataset.X) or is_lazy(dataset.y)):
        return dataset
    return replace(dataset, X=np.asarray(dataset.X), y=None if dataset.y is None else np.asarray(dataset.y))


def thinned(dataset: Dataset, most: int = SAMPLE_VALUES) -> tuple[Dataset, np.ndarray | None]:
    """A Dataset with real arrays of about ``most`` values, and which rows of the lazy one it holds (None: all). Data
    that are not lazy come back as they are."""
    lazy = [values for values in (dataset.X, dataset.y) if values is not None and is_lazy(values)]
    if not lazy:
        return dataset, None
    rows = min((spaced_rows(values, most) for values in lazy), key=len)
    return in_memory(dataset.take(rows)), None if len(rows) == len(dataset) else rows
