"""Opened files of both families behind one interface: only the frames, rows and points that are asked for are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crosstune.benchmarks.pdebench.layout import RECIPE_ATTRIBUTE, STANDARD, TASK_ATTRIBUTE, VARIANT_ATTRIBUTE
from crosstune.data.files import damaged, open_source
from crosstune.errors import DataError

CFD_KEYS = ("density", "pressure", "Vx", "Vy")
_BLOCK_BYTES = 8 << 20


class Trajectories:
    """Samples of an opened file. samples, frames, channels: counts; space: points per axis.

    A Darcy file reads as two frames, the coefficient and the solution.
    """

    def __init__(self, path: Path, file: Any, samples: int, frames: int, channels: int, space: tuple[int, ...]) -> None:
        self.path, self.file = path, file
        self.samples, self.frames, self.channels, self.space = samples, frames, channels, space
        self.task: str | None = _text(file.attrs.get(TASK_ATTRIBUTE))
        self.variant: str = _text(file.attrs.get(VARIANT_ATTRIBUTE)) or STANDARD
        recipe = _text(file.attrs.get(RECIPE_ATTRIBUTE))
        self.recipe: dict[str, Any] = json.loads(recipe) if recipe else {}

    @property
    def generated(self) -> bool:
        return self.task is not None

    def read(
        self,
        rows: np.ndarray | Sequence[int],
        frames: Sequence[int],
        stride: int = 1,
        channels: Sequence[int] | None = None,
    ) -> np.ndarray:
        """float32 (n, len(frames), C, X // stride[, Y // stride]). stride: every so many points of each axis are taken,
        from the first. channels: None for all. ``DataError`` where the file turns out to be damaged."""
        rows = np.asarray(rows, dtype=np.int64)
        picked = range(self.channels) if channels is None else channels
        space = tuple(-(-points // stride) for points in self.space)
        out = np.empty((len(rows), len(frames), len(picked), *space), np.float32)
        try:
            self._fill(out, rows, frames, stride, picked)
        except (OSError, KeyError, RuntimeError) as error:
            damaged(self.path, "HDF5", error)
        return out

    def _fill(
        self, out: np.ndarray, rows: np.ndarray, frames: Sequence[int], stride: int, channels: Sequence[int]
    ) -> None:
        raise NotImplementedError

    def coordinate(self, axis: str) -> np.ndarray | None:
        """Coordinates "x", "y" or "t" in float64, None where the file has none."""
        raise NotImplementedError

    def parameters(self) -> dict[str, float]:
        """Numeric attributes of the file, as it names them."""
        found = {}
        for key, value in self.file.attrs.items():
            values = np.asarray(value)
            if values.dtype.kind in "iuf" and values.size == 1:
                found[key] = float(values.reshape(()))
        return found

    def dtype(self) -> np.dtype:
        raise NotImplementedError


class TensorFile(Trajectories):
    """Arrays over all samples, one per channel: (N, T, X[, Y])."""

    def __init__(self, path: Path, file: Any, keys: tuple[str, ...]) -> None:
        arrays = [file[key] for key in keys]
        shape = arrays[0].shape
        for key, array in zip(keys, arrays):
            if array.shape != shape:
                raise DataError(f"{path}: {key!r} has shape {array.shape}, {keys[0]!r} has {shape}")
        super().__init__(path, file, shape[0], shape[1], len(keys), shape[2:])
        self.arrays = arrays

    def _fill(
        self, out: np.ndarray, rows: np.ndarray, frames: Sequence[int], stride: int, channels: Sequence[int]
    ) -> None:
        thin = (slice(None),) + (slice(None, None, stride),) * len(self.space)
        for place, count in _runs(rows, 4 * int(np.prod(self.space))):
            first = int(rows[place])
            for c, channel in enumerate(channels):
                for t, frame in enumerate(frames):
                    # whole frames are read and thinned in memory: strided selections cost HDF5 a call per element
                    out[place : place + count, t, c] = self.arrays[channel][first : first + count, frame][thin]

    def coordinate(self, axis: str) -> np.ndarray | None:
        name = f"{axis}-coordinate"
        return np.asarray(self.file[name], np.float64) if name in self.file else None

    def dtype(self) -> np.dtype:
        return self.arrays[0].dtype


class DarcyFile(TensorFile):
    """``nu`` (N, X, Y) and ``tensor`` (N, 1, X, Y) as two frames of one channel."""

    def __init__(self, path: Path, file: Any) -> None:
        coefficient, solution = file["nu"], file["tensor"]
        if coefficient.ndim != 3 or solution.shape != (coefficient.shape[0], 1, *coefficient.shape[1:]):
            raise DataError(
                f"{path}: `nu` has shape {coefficient.shape} and `tensor` {solution.shape}",
                cause="a Darcy file holds nu (N, X, Y) and tensor (N, 1, X, Y)",
            )
        Trajectories.__init__(self, path, file, coefficient.shape[0], 2, 1, coefficient.shape[1:])
        self.arrays = [solution]
        self.fields = (coefficient, solution)

    def _fill(
        self, out: np.ndarray, rows: np.ndarray, frames: Sequence[int], stride: int, channels: Sequence[int]
    ) -> None:
        thin = (slice(None),) + (slice(None, None, stride),) * 2
        for place, count in _runs(rows, 4 * int(np.prod(self.space))):
            chosen = slice(int(rows[place]), int(rows[place]) + count)
            for t, frame in enumerate(frames):
                values = self.fields[1][chosen, 0] if frame else self.fields[0][chosen]
                out[place : place + count, t, 0] = values[thin]


class SeedsFile(Trajectories):
    """A group per sample with ``data`` (T, X[, Y], C); rows are the groups in sorted order."""

    def __init__(self, path: Path, file: Any, names: list[str]) -> None:
        first = file[names[0]]
        if "data" not in first or first["data"].ndim not in (3, 4):
            raise DataError(f"{path}: group {names[0]!r} has no `data` of shape (T, X[, Y], C)")
        shape = first["data"].shape
        super().__init__(path, file, len(names), shape[0], shape[-1], shape[1:-1])
        self.names = names

    def _fill(
        self, out: np.ndarray, rows: np.ndarray, frames: Sequence[int], stride: int, channels: Sequence[int]
    ) -> None:
        thin = (slice(None, None, stride),) * len(self.space)
        expected = (self.frames, *self.space, self.channels)
        for place, row in enumerate(rows):
            data = self.file[self.names[row]]["data"]
            if data.shape != expected:
                raise DataError(f"{self.path}: sample {self.names[row]} has shape {data.shape}, others {expected}")
            for t, frame in enumerate(frames):
                values = np.moveaxis(data[frame], -1, 0)
                for c, channel in enumerate(channels):
                    out[place, t, c] = values[channel][thin]

    def coordinate(self, axis: str) -> np.ndarray | None:
        group = self.file[self.names[0]]
        return np.asarray(group["grid"][axis], np.float64) if "grid" in group and axis in group["grid"] else None

    def dtype(self) -> np.dtype:
        return self.file[self.names[0]]["data"].dtype


@contextmanager
def opened(path: Path) -> Iterator[Trajectories]:
    """The file at ``path``, closed at the end.

    ``DataError`` for absent, empty and truncated files, web pages, other formats, and HDF5 files of neither family.
    """
    where = open_source(str(path))
    if where.format != "hdf5":
        raise DataError(f"{path} is {where.format}, not HDF5", fix="give a .hdf5 or .h5 file of PDEBench")
    try:
        file = h5py.File(where.path, "r")
    except OSError as error:
        damaged(where.path, "HDF5", error)
    with file:
        yield classified(where.path, file)


def classified(path: Path, file: Any) -> Trajectories:
    """The reader that fits an open HDF5 file. ``DataError`` where none does."""
    keys = set(file.keys())
    if {"nu", "tensor"} <= keys:
        return DarcyFile(path, file)
    if "tensor" in keys and file["tensor"].ndim in (3, 4):
        return TensorFile(path, file, ("tensor",))
    present = tuple(key for key in CFD_KEYS if key in keys)
    if present[:3] == CFD_KEYS[:3]:
        return TensorFile(path, file, present)
    seeds = sorted(key for key in keys if key.isdigit())
    if seeds:
        return SeedsFile(path, file, seeds)
    shown = ", ".join(sorted(keys)[:6]) or "nothing"
    raise DataError(
        f"{path} is an HDF5 file of another layout; it holds {shown}",
        cause="not a file of PDEBench, or a merged or converted copy",
        fix="expected are `tensor`, or `nu` and `tensor`, or `density`, `pressure`, `Vx`, or groups 0000, 0001, ...",
    )


def _runs(rows: np.ndarray, bytes_each: int) -> Iterator[tuple[int, int]]:
    """(place, count) of runs of consecutive rows, cut so that a run's frame fits a block."""
    most = max(1, _BLOCK_BYTES // max(1, bytes_each))
    place = 0
    while place < len(rows):
        count = 1
        while count < most and place + count < len(rows) and rows[place + count] == rows[place + count - 1] + 1:
            count += 1
        yield place, count
        place += count


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)
