"""Numeric arrays of MATLAB files, slab by slab: level 5 (plain or compressed) and 7.3 (HDF5).

``scipy.io.loadmat`` builds whole variables in memory. Here one variable is walked along its last axis, the slowest in
MATLAB's column-major order, and only one slab is held. The layout of level 5 is that of MathWorks' document
"MAT-File Format".
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

import h5py
import numpy as np

from crosstune.data.files import damaged
from crosstune.errors import DataError

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
# storage types of numbers, and classes of numeric arrays
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800
_BLOCK = 1 << 20


@dataclass(frozen=True)
class MatArray:
    """A numeric variable. shape: as MATLAB has it. stored: dtype of the numbers in the file; dtype: of the variable."""

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    stored: np.dtype
    offset: int  # of the element in the file; -1 for HDF5

    def slabs(self) -> Iterator[np.ndarray]:
        """``array[..., k]`` for k = 0, 1, ..., each of shape ``shape[:-1]``. DataError where the file ends early."""
        if self.offset < 0:
            yield from self._hdf5_slabs()
            return
        size = int(np.prod(self.shape[:-1], dtype=np.int64)) * self.stored.itemsize
        with open(self.path, "rb") as file:
            stream, _, _, _, _ = _matrix(file, self.offset, self.stored.byteorder, self.path)
            for _ in range(self.shape[-1]):
                values = np.frombuffer(stream.read(size), self.stored)
                yield values.reshape(self.shape[:-1], order="F").astype(self.dtype, copy=False)

    def _hdf5_slabs(self) -> Iterator[np.ndarray]:
        try:
            with h5py.File(self.path, "r") as file:
                for k in range(self.shape[-1]):
                    yield np.asarray(file[self.name][k]).T.astype(self.dtype, copy=False)  # axes are reversed in HDF5
        except OSError as error:
            damaged(Path(self.path), "a MATLAB 7.3 file", error)


def mat_arrays(path: str | os.PathLike[str]) -> dict[str, MatArray]:
    """Every real numeric variable of a .mat file by name; others are left out.

    DataError for files that are absent, cut off, or not MATLAB files of level 5 or 7.3.
    """
    path = os.fspath(path)
    if not Path(path).exists():
        raise DataError(f"no file at {path}", fix="check the path")
    if h5py.is_hdf5(path):
        return _hdf5_arrays(path)
    with open(path, "rb") as file:
        head = file.read(_HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
        if len(head) < _HEADER or order is None or not head.startswith(b"MATLAB"):
            raise DataError(
                f"{path} is not a MATLAB file (it begins {head[:12]!r})",
                cause="a page saved in place of the data, a cut-off download, or a file of MATLAB's level 4",
                fix="fetch the file again; level 4 can be saved anew with -v7",
            )
        return dict(_walk(file, order, path))


def _hdf5_arrays(path: str) -> dict[str, MatArray]:
    found = {}
    try:
        with h5py.File(path, "r") as file:
            for name, item in file.items():
                if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf" and item.ndim:
                    shape = tuple(int(n) for n in item.shape[::-1])
                    found[name] = MatArray(path, name, shape, item.dtype, item.dtype, -1)
    except OSError as error:
        damaged(Path(path), "a MATLAB 7.3 file", error)
    return found


def _walk(file: BinaryIO, order: str, path: str) -> Iterator[tuple[str, MatArray]]:
    size, at = os.fstat(file.fileno()).st_size, _HEADER
    while at < size:
        file.seek(at)
        kind, length = struct.unpack(f"{order}II", _exactly(file, 8, path))
        if at + 8 + length > size:
            raise DataError(
                f"{path} has {size:,} bytes, but its contents reach to {at + 8 + length:,}",
                cause="a download or copy that was cut off",
                fix="fetch the file again",
            )
        if kind in (_MATRIX, _COMPRESSED):
            _, name, shape, code, stored = _matrix(file, at, order, path)
            if stored is not None:
                yield name, MatArray(path, name, shape, np.dtype(order + _CLASSES[code]), stored, at)
        at += 8 + length if kind == _COMPRESSED else 8 + -(-length // 8) * 8


class _Source(Protocol):
    def read(self, count: int) -> bytes: ...


@dataclass
class _Plain:
    file: BinaryIO
    path: str

    def read(self, count: int) -> bytes:
        return _exactly(self.file, count, self.path)


class _Inflating:
    """Bytes of one compressed element, as they are asked for."""

    def __init__(self, file: BinaryIO, length: int, path: str) -> None:
        self.file, self.left, self.path = file, length, path
        self.machine = zlib.decompressobj()
        self.buffer = bytearray()

    def read(self, count: int) -> bytes:
        while len(self.buffer) < count:
            packed = self.machine.unconsumed_tail
            if not packed:
                packed = self.file.read(min(_BLOCK, self.left))
                self.left -= len(packed)
            try:
                plain = self.machine.decompress(packed, max(_BLOCK, count - len(self.buffer)))
            except zlib.error as error:
                damaged(Path(self.path), "a MATLAB file", error)
            if not plain and not packed:
                _cut_off(self.path)
            self.buffer += plain
        out = bytes(self.buffer[:count])
        del self.buffer[:count]
        return out


def _matrix(
    file: BinaryIO, at: int, order: str, path: str
) -> tuple[_Source, str, tuple[int, ...], int, np.dtype | None]:
    """(stream placed at the numbers, name, shape, class, stored dtype) of the element at byte ``at``. The dtype is None
    for what is not a real numeric array."""
    order = order if order in "<>" else "<"
    file.seek(at)
    kind, length = struct.unpack(f"{order}II", _exactly(file, 8, path))
    stream: _Source = _Plain(file, path)
    if kind == _COMPRESSED:
        stream = _Inflating(file, length, path)
        if struct.unpack(f"{order}II", stream.read(8))[0] != _MATRIX:
            return stream, "", (), 0, None
    flags = struct.unpack(f"{order}I", _element(stream, order, path)[1][:4])[0]
    dims = np.frombuffer(_element(stream, order, path)[1], f"{order}i4")
    name = _element(stream, order, path)[1].decode("latin1")
    shape, code = tuple(int(n) for n in dims), flags & 0xFF
    if code not in _CLASSES or flags & _COMPLEX or any(n < 1 for n in shape):
        return stream, name, shape, code, None
    stored, length = _tag(stream, order, path)
    if stored not in _TYPES or length != int(np.prod(shape, dtype=np.int64)) * int(_TYPES[stored][1]):
        raise DataError(f"{path}: variable {name!r} of shape {shape} has {length:,} bytes", cause="a damaged file")
    return stream, name, shape, code, np.dtype(order + _TYPES[stored])


def _tag(stream: _Source, order: str, path: str) -> tuple[int, int]:
    """(type, bytes) of a sub-element that is not a small one."""
    kind, length = struct.unpack(f"{order}II", stream.read(8))
    if kind >> 16:
        raise DataError(f"{path} holds a variable of a few bytes where an array is expected", cause="a damaged file")
    return int(kind), int(length)


def _element(stream: _Source, order: str, path: str) -> tuple[int, bytes]:
    """A whole sub-element: type and content."""
    first, second = stream.read(4), stream.read(4)
    kind = struct.unpack(f"{order}I", first)[0]
    if kind >> 16:  # four bytes or fewer, in place of the length
        return int(kind & 0xFFFF), second[: kind >> 16]
    length = int(struct.unpack(f"{order}I", second)[0])
    if length > _BLOCK:
        raise DataError(f"{path} has a header of {length:,} bytes", cause="a damaged file")
    content = stream.read(-(-length // 8) * 8)
    return int(kind), content[:length]


def _exactly(file: BinaryIO, count: int, path: str) -> bytes:
    got = file.read(count)
    if len(got) != count:
        _cut_off(path)
    return got


def _cut_off(path: str) -> NoReturn:
    raise DataError(
        f"{path} ends in the middle of its data", cause="a download or copy that was cut off", fix="fetch it again"
    )
