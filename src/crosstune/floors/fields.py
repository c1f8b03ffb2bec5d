"""Series, grids and fields on other grids: ragged ones stretched and shrunk back, gaps filled, large ones coarsened."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from crosstune.data.flatten import resample
from crosstune.floors.common import require_target
from crosstune.records import Dataset


def has_ragged_fields(data: Dataset, field_shape: tuple[int, ...]) -> bool:
    """Whether the target (C, L) or (L,) of positions of ragged series has the same length axis as its input."""
    return data.lengths is not None and field_shape[-1:] == data.X.shape[2:]


def mean_field(y: np.ndarray) -> np.ndarray:
    """The mean (C, ...) of fields (n, C, ...) over the rows where a point is known; where none is, of its channel."""
    known = ~np.isnan(y)
    if known.all():
        return y.mean(axis=0, dtype=np.float64)
    axes = (0, *range(2, y.ndim))
    total = np.where(known, y, 0.0)
    overall = total.sum(axis=axes, dtype=np.float64) / np.maximum(known.sum(axis=axes), 1)
    counts = known.sum(axis=0)
    sums = total.sum(axis=0, dtype=np.float64)
    return np.where(counts > 0, sums / np.maximum(counts, 1), overall.reshape(-1, *[1] * (y.ndim - 2)))


def another_grid(data: Dataset) -> str | None:
    """Why input and target of dense data do not lie on one grid, or None."""
    if data.y is None or data.y.shape[2:] == data.X.shape[2:]:
        return None
    return f"input grid {data.X.shape[2:]} and target grid {data.y.shape[2:]} are different"


def fields_to_learn(train: Dataset) -> tuple[np.ndarray, bool]:
    """The dense target to learn from, and whether its series are ragged: those are stretched to one length."""
    y = require_target(train)
    ragged = has_ragged_fields(train, y.shape[1:])
    return (stretch(y, train.lengths) if ragged and train.lengths is not None else y), ragged


def stretch(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Series (n, C, L) whose first ``lengths[i]`` samples are valid, resampled linearly to L valid samples."""
    return resample(values, lengths, values.shape[2])


def shrink(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The inverse of ``stretch`` up to interpolation: (n, C, L) to ``lengths[i]`` valid samples, zeros behind."""
    out = np.zeros(values.shape, dtype=np.float64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        full = np.full(len(rows), values.shape[2])
        out[rows, :, :length] = resample(values[rows], full, int(length))
    return out


def fill_missing(values: np.ndarray) -> np.ndarray:
    """Series (n, C, L) with NaN replaced by linear interpolation in time; a channel without any value becomes 0."""
    if np.isfinite(values).all():
        return values
    out = np.array(values, dtype=np.float64)
    time = np.arange(values.shape[2])
    for series in out.reshape(-1, values.shape[2]):
        known = np.isfinite(series)
        series[~known] = np.interp(time[~known], time[known], series[known]) if known.any() else 0.0
    return out


def coarsened(data: Dataset, most: int) -> Dataset:
    """Inputs (n, C, ...) averaged over blocks of the smallest size that leaves at most ``most`` values per row.

    Blocks at the edge may be smaller. Missing values are left out of the mean; a block without any value is missing.
    """
    channels, sizes = data.X.shape[1], data.X.shape[2:]
    block = 1
    while channels * math.prod(-(-size // block) for size in sizes) > most and block < max(sizes):
        block += 1
    if block == 1:
        return data
    x = np.asarray(data.X, dtype=np.float64)
    lengths = data.lengths
    if lengths is not None:
        behind = np.arange(sizes[-1]) >= lengths[:, None]
        x = np.where(behind[:, None], np.nan, x)
        lengths = -(-lengths // block)
    x = _block_means(x, block)
    if lengths is not None:
        x[np.broadcast_to(np.arange(x.shape[2]) >= lengths[:, None, None], x.shape)] = 0.0
    return replace(data, X=x, y=None, lengths=lengths)


def coarsened_field(values: np.ndarray, block: int) -> np.ndarray:
    """Fields (n, C, ...) averaged over blocks of ``block`` points along every axis; known values only."""
    return values if block == 1 else _block_means(np.asarray(values, dtype=np.float64), block)


def _block_means(x: np.ndarray, block: int) -> np.ndarray:
    for axis in range(2, x.ndim):
        starts = np.arange(0, x.shape[axis], block)
        known = np.isfinite(x)
        # Means of means along one axis after the other weigh incomplete blocks by their rows, not by their values.
        counts = np.add.reduceat(known, starts, axis=axis, dtype=np.float64)
        sums = np.add.reduceat(np.where(known, x, 0.0), starts, axis=axis)
        x = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return x
