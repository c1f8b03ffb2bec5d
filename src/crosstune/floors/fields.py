"""Ragged series and their fields on one grid: stretched to full length for learning, shrunk back for predicting."""

from __future__ import annotations

import numpy as np

from crosstune.data.flatten import resample
from crosstune.records import Dataset


def has_ragged_fields(data: Dataset, field_shape: tuple[int, ...]) -> bool:
    """Whether the dense target (C, L) of ragged series has the same length axis as its input."""
    return data.lengths is not None and len(field_shape) == 2 and field_shape[1:] == data.X.shape[2:]


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
