"""Targets as vectors: distances mean how much targets differ."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from crosstune.data import vectors
from crosstune.data.vectors import target_vectors
from crosstune.records import Dataset

RNG = np.random.default_rng(0)


def test_values_and_fields_are_flattened() -> None:
    y = RNG.normal(size=(6, 2, 5))
    assert_allclose(target_vectors(Dataset(np.zeros((6, 1, 5)), y, "dense")), y.reshape(6, 10))


def test_what_is_unknown_takes_the_mean_of_the_reference() -> None:
    y = np.array([[[1.0, np.nan]], [[3.0, np.nan]]])
    reference = Dataset(np.zeros((2, 1, 2)), np.array([[[0.0, 4.0]], [[0.0, 6.0]]]), "dense")
    part = Dataset(np.zeros((2, 1, 2)), y, "dense")
    assert_allclose(target_vectors(part, reference), [[1, 5], [3, 5]])
    assert_allclose(target_vectors(part), [[1, 0], [3, 0]])


@pytest.mark.parametrize("extent", [(12,), (100,), (6, 10), (4, 5, 6)])
def test_maps_are_shares_of_classes_in_blocks(extent: tuple[int, ...]) -> None:
    codes = RNG.integers(-1, 3, (7, *extent))
    found = target_vectors(Dataset(np.zeros((7, 1, *extent)), codes, "segmentation", classes=("a", "b", "c")))
    shares = found.reshape(7, -1, 3)
    assert shares.shape[1] <= 64
    assert shares.min() >= 0
    assert shares.sum(axis=2).max() <= 1 + 1e-12
    if shares.shape[1] == np.prod(extent):
        assert_allclose(shares[:, :, 1], codes.reshape(7, -1) == 1)
    else:
        place, total = vectors._places(extent, 64)
        for block in range(total):
            assert_allclose(shares[:, block, 2], (codes.reshape(7, -1)[:, place == block] == 2).mean(axis=1))


def test_large_fields_are_averaged_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_VALUES", 100)
    monkeypatch.setattr(vectors, "_COARSE", 16)
    y = RNG.normal(size=(3, 2, 8, 8))
    y[0, 0, 0, 0] = np.nan
    found = target_vectors(Dataset(np.zeros((3, 1, 8, 8)), y, "dense"))
    expected = np.nanmean(y.reshape(3, 2, 4, 2, 4, 2), axis=(3, 5)).reshape(3, 32)
    assert_allclose(found, expected)
    small = Dataset(np.zeros((1, 1, 8, 8)), y[:1], "dense")
    reference = Dataset(np.zeros((3, 1, 8, 8)), y, "dense")
    assert target_vectors(small, reference).shape == (1, 32)  # the reference decides
