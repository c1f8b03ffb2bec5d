"""Targets of any kind as vectors whose distances mean how much two rows' targets differ."""

from __future__ import annotations

import math

import numpy as np

from crosstune.data.lazy import row_blocks
from crosstune.records import IGNORED, Dataset

_BLOCKS = 64  # at most so many blocks of positions per class map
_VALUES = 1 << 27  # of all targets together, float64: beyond 1 GiB fields are averaged over blocks
_COARSE = 1024  # blocks of such fields


def target_vectors(data: Dataset, reference: Dataset | None = None) -> np.ndarray:
    """Targets as float64 (n, k): values as they are, flattened; class maps as the shares of each class in blocks of
    neighbouring positions; fields that would take more than 1 GiB as means over blocks of neighbouring points.

    What is unknown in a field takes the mean over the rows of ``reference`` at its position, in a map it counts as no
    class. reference: the data that the vectors are compared with, by default these; they also decide on blocks.
    """
    assert data.y is not None
    if data.kind == "segmentation":
        classes = len(data.classes or ())
        return np.concatenate([_shares(np.asarray(part), classes) for _, part in row_blocks(data.y)])
    flat = _fields(data, reference or data)
    if not np.isnan(flat).any():
        return flat
    source = flat if reference is None else _fields(reference, reference)
    known = ~np.isnan(source)
    mean = np.where(known, source, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(np.isnan(flat), mean, flat)


def _fields(data: Dataset, reference: Dataset) -> np.ndarray:
    assert data.y is not None
    assert reference.y is not None
    if data.kind != "dense" or math.prod(reference.y.shape) <= _VALUES:
        return np.asarray(data.y, dtype=np.float64).reshape(len(data), -1)
    return np.concatenate([_block_means(part, _COARSE) for _, part in row_blocks(data.y)])


def _places(extent: tuple[int, ...], most: int) -> tuple[np.ndarray, int]:
    """The block of each position, flat, and how many blocks there are."""
    blocks = [min(n, max(1, int(most ** (1 / len(extent)) + 1e-9))) for n in extent]
    place: np.ndarray = np.zeros(extent, np.int64)
    for axis, (n, count) in enumerate(zip(extent, blocks)):
        index = (np.arange(n) * count // n).reshape([-1 if a == axis else 1 for a in range(len(extent))])
        place = place * count + index
    return place.reshape(-1), math.prod(blocks)


def _shares(codes: np.ndarray, classes: int) -> np.ndarray:
    """(n, blocks * K) shares of the positions of each block that have each class, from codes (n, ...)."""
    place, total = _places(codes.shape[1:], _BLOCKS)
    out = np.zeros((len(codes), total * classes))
    for row, values in enumerate(codes.reshape(len(codes), -1)):
        known = values != IGNORED
        out[row] = np.bincount(place[known] * classes + values[known], minlength=total * classes)
    return out / np.repeat(np.bincount(place, minlength=total), classes)


def _block_means(fields: np.ndarray, most: int) -> np.ndarray:
    """(n, C * blocks) means over the known points of each block of fields (n, C, ...); NaN where none is known."""
    place, total = _places(fields.shape[2:], most)
    rows = fields.reshape(-1, len(place)).astype(np.float64)
    out = np.empty((len(rows), total))
    for row, values in enumerate(rows):
        known = ~np.isnan(values)
        counts = np.bincount(place[known], minlength=total)
        sums = np.bincount(place[known], values[known], minlength=total)
        out[row] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return out.reshape(len(fields), -1)
