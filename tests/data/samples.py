"""Small data sets with known properties."""

from __future__ import annotations

import numpy as np

from crosstune import data
from crosstune.records import Dataset, Split


def series(n: int = 40, channels: int = 2, length: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, channels, length)).astype(np.float32)


def ragged(n: int = 30, channels: int = 2, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(channels, int(length))).astype(np.float32) for length in rng.integers(8, 20, n)]


def table(n: int = 60, columns: int = 5, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    return data.from_arrays(rng.normal(size=(n, columns)), np.arange(n) % 3)


def parts(dataset: Dataset, train: list[int], validation: list[int], test: list[int]) -> Split:
    return Split(np.array(train), np.array(validation), np.array(test), "by hand", 0)
