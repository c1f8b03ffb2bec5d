"""Keys by which equal and nearly equal rows are found."""

from __future__ import annotations

import warnings

import numpy as np

from crosstune.records import Dataset

_CHUNK = 1 << 24  # values hashed at a time


def row_keys(dataset: Dataset) -> np.ndarray:
    """(n,) 128-bit keys as bytes; equal for rows that are equal in every value (and length). -0.0 equals 0.0."""
    return _keys(dataset, lambda block: block + np.float32(0))


def near_keys(dataset: Dataset, digits: int = 3) -> np.ndarray:
    """(n,) keys after rounding to ``digits`` decimal digits of each channel's spread: rows that differ by noise
    below that agree, except where a value lies at the edge of a rounding interval."""
    axes = (0, *range(2, dataset.X.ndim))
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without values has no spread
        spread = np.nanstd(dataset.X.astype(np.float64), axis=axes, keepdims=True) if dataset.X.size else 1.0
    step = np.where(np.isfinite(spread) & (spread > 0), spread, 1.0) * 10.0**-digits
    return _keys(dataset, lambda block: np.round(block / step).astype(np.float32) + np.float32(0))


def _keys(dataset: Dataset, form) -> np.ndarray:  # type: ignore[no-untyped-def]
    import hashlib

    X = dataset.X
    out = np.empty(len(X), dtype="S16")
    width = max(1, X[0].size) if len(X) else 1
    for start in range(0, len(X), max(1, _CHUNK // width)):
        block = np.ascontiguousarray(form(X[start : start + max(1, _CHUNK // width)]))
        block[np.isnan(block)] = np.nan  # one bit pattern for every missing value
        flat = block.reshape(len(block), -1)
        for row in range(len(flat)):
            out[start + row] = hashlib.blake2b(flat[row].tobytes(), digest_size=16).digest().replace(b"\0", b"\1")
    if dataset.lengths is not None:
        out = np.array(
            [k + int(n).to_bytes(8, "little").replace(b"\0", b"\1") for k, n in zip(out, dataset.lengths)], "S24"
        )
    return out
