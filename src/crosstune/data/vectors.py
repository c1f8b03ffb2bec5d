"""Targets of any kind as vectors whose distances mean how much two rows' targets differ."""

from __future__ import annotations

import math

import numpy as np

from crosstune.records import IGNORED, Dataset

_BLOCKS = 64  # at most so many blocks of positions per class map


def target_vectors(data: Dataset, reference: Dataset | None = None) -> np.ndarray:
    """Targets as float64 (n, k): values as they are, flattened; class maps as the shares of each class in blocks of
    neighbouring positions. What is unknown in a field takes the mean over the rows of ``reference`` (by default the
    data themselves) at its position, in a map it counts as no class.
    """
    assert data.y is not None
    if data.kind == "segmentation":
        return _shares(np.asarray(data.y), len(data.classes or ()))
    flat = np.asarray(data.y, dtype=np.float64).reshape(len(data), -1)
    if not np.isnan(flat).any():
        return flat
    source = flat if reference is None else np.asarray(reference.y, dtype=np.float64).reshape(len(reference), -1)
    known = ~np.isnan(source)
    mean = np.where(known, source, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(np.isnan(flat), mean, flat)


def _shares(codes: np.ndarray, classes: int) -> np.ndarray:
    extent = codes.shape[1:]
    blocks = [min(n, max(1, int(_BLOCKS ** (1 / len(extent)) + 1e-9))) for n in extent]
    place: np.ndarray = np.zeros(extent, np.int64)
    for axis, (n, count) in enumerate(zip(extent, blocks)):
        index = (np.arange(n) * count // n).reshape([-1 if a == axis else 1 for a in range(len(extent))])
        place = place * count + index
    total = math.prod(blocks)
    out = np.zeros((len(codes), total * classes))
    flat, place = codes.reshape(len(codes), -1), place.reshape(-1)
    sizes = np.bincount(place, minlength=total)
    for row, values in enumerate(flat):
        known = values != IGNORED
        out[row] = np.bincount(place[known] * classes + values[known], minlength=total * classes)
    return out / np.repeat(sizes, classes)
