"""An array that stays in its file: rows are read by position, so that memory holds what was asked for and no more."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from crosstune.errors import DataError

MOST_BYTES = 2 << 30  # what may be read as one array by accident


@dataclass(frozen=True)
class FileArray:
    """``shape`` values of ``dtype`` in C order, from byte ``offset`` of the file at ``path``.

    Indexed by row numbers like an array; every index gives a real array in the machine's byte order. Plain data:
    pickled, sent to another process and compared without touching the file. DataError when the file is too short.
    """

    path: str
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        size, needed = os.stat(self.path).st_size, self.offset + self.nbytes
        if size < needed:
            raise DataError(
                f"{self.path} has {size:,} bytes, but its header speaks of {needed:,}",
                cause="a download or copy that was cut off",
                fix="fetch the file again",
            )

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, (int, np.integer)):
            return self._read(np.array([self._row(int(key))]))[0]
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._read_run(start, max(start, stop))
            return self._read(np.arange(start, stop, step))
        rows = np.asarray(key)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        rows = rows.astype(np.int64)
        if len(rows) and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)} in {self.path}")
        return self._read(np.where(rows < 0, rows + len(self), rows))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.nbytes > MOST_BYTES:
            raise DataError(f"{self.path} holds {self.nbytes / 2**30:.1f} GiB, too much to be read at once")
        return self[:].astype(dtype or self.dtype.newbyteorder("="), copy=False)

    def _row(self, row: int) -> int:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} in {self.path}")
        return row % len(self)

    def _read_run(self, start: int, stop: int) -> np.ndarray:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        with open(self.path, "rb", buffering=0) as file:
            self._fill(file.fileno(), out, start)
        return out.astype(self.dtype.newbyteorder("="), copy=False)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        with open(self.path, "rb", buffering=0) as file:
            cuts = np.flatnonzero(np.diff(rows) != 1) + 1  # neighbouring rows with one call
            for begin, end in zip([0, *cuts], [*cuts, len(rows)]) if len(rows) else ():
                self._fill(file.fileno(), out[begin:end], int(rows[begin]))
        return out.astype(self.dtype.newbyteorder("="), copy=False)

    def _fill(self, descriptor: int, out: np.ndarray, row: int) -> None:
        width = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        view, at = memoryview(out.reshape(-1).view(np.uint8).data), 0
        while at < len(view):
            got = os.preadv(descriptor, [view[at : at + (1 << 28)]], self.offset + row * width + at)
            if got == 0:
                raise DataError(f"{self.path} ended while it was read", cause="it was changed or cut meanwhile")
            at += got
