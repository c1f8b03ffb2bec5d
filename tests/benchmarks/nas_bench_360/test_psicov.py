"""Proteins: the order of the planes, what is cleaned and padded, lengths, and files as they were published."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosstune.benchmarks import get_task
from crosstune.benchmarks.nas_bench_360 import psicov
from crosstune.errors import DataError
from crosstune.metrics import get_metric

TASK = get_task("nas_bench_360/psicov")


@pytest.fixture
def folder(folders) -> Path:
    return folders[TASK.name] / "protein"


@pytest.fixture
def own(folder, tmp_path) -> Path:
    shutil.copytree(folder, tmp_path / "own")
    return tmp_path / "own"


def test_planes_in_their_order(folder):
    held = pickle.loads((folder / "psicov" / "features" / "p0001A.pkl").read_bytes())
    loaded = TASK.load(folder, "clean")
    X = loaded.dataset.X[loaded.split.test[1]]
    length = len(held["seq"])
    assert length == 61
    inner = X[:, 5 : 5 + length, 5 : 5 + length]
    per_residue = [held["ss"][0], held["ss"][1], held["ss"][2], *held["pssm"].T, held["sa"], held["entropy"]]
    assert len(per_residue) == 27
    for k, values in enumerate(per_residue):
        for j in (0, 30):
            assert_allclose(inner[2 * k][j], values)  # the value of residue k of column k
            assert_allclose(inner[2 * k + 1][:, j], values)
    for k, name in enumerate(("ccmpred", "freecon", "potential")):
        assert_allclose(inner[54 + k], held[name])
    outside = np.ones(X.shape[1:], bool)
    outside[5 : 5 + length, 5 : 5 + length] = False
    assert not X[:, outside].any()


def test_distances_cleaned_by_hand():
    distances = np.array([[0.0, 3, 9], [3, 0, 0.5], [9, 0.5, 0]])
    assert_allclose(psicov.cleaned(distances), [[3, 3, 9], [3, 2, 1], [9, 1, 1]])
    assert_allclose(psicov.cleaned(np.full((2, 2), 900.0)), 500)


def test_targets_by_protocol(folder):
    _, stored = psicov.open_distances(folder / "deepcov" / "distance" / "d0002A-cb.npy")
    wanted = psicov.cleaned(np.asarray(stored))
    length = len(wanted)
    for protocol in TASK.protocols:
        loaded = TASK.load(folder, protocol)
        y = loaded.dataset.y[2][0]
        assert_allclose(y[5 : 5 + length, 5 : 5 + length], np.minimum(wanted, 16))
        assert wanted.max() > 16
        if protocol == "shipped":
            assert y[0, 0] == y[-1, -1] == 16
        else:
            assert np.isnan(y).sum() == y.size - length**2
        test = loaded.dataset.y[loaded.split.test[2]][0]
        assert np.nanmax(test) > 16
        assert (~np.isnan(test)).sum() == 80**2
    clean = TASK.load(folder, "clean")
    assert np.nanmax(clean.dataset.y[clean.split.validation[0]]) > 16


def test_lengths_survive_into_the_metric(folder):
    """The metric of a prediction that is off by one Angstrom is one for every protein but the straight one."""
    loaded = TASK.load(folder, "clean")
    y = loaded.dataset.y[loaded.split.test]
    lengths = [int((~np.isnan(field[0])).any(axis=1).sum()) for field in y]
    assert lengths == [40, 61, 80]
    prediction = np.nan_to_num(y, nan=50.0) + 1
    metric = get_metric("mae8")
    assert metric.score(prediction, y) == pytest.approx(1, abs=1e-6)
    far = [bool((np.triu(np.nan_to_num(f[0], nan=99), 24)[np.triu_indices(f.shape[1], 24)] <= 8).any()) for f in y]
    assert far == [True, False, True]


def test_maps_that_are_too_long_are_cut_alike():
    values = np.arange(100.0).reshape(1, 10, 10)
    whole = psicov.placed(values, 20, -1.0, (0, 0))
    assert_array_equal(whole[0, 5:15, 5:15], values[0])
    assert (whole == -1).sum() == 300
    padded = np.full((20, 20), -1.0)
    padded[5:15, 5:15] = values[0]
    for corner in ((0, 0), (3, 1), (6, 8), (8, 8)):
        cut = psicov.placed(values, 12, -1.0, corner)
        assert_array_equal(cut[0], padded[corner[0] : corner[0] + 12, corner[1] : corner[1] + 12])
    drawn = {psicov.corner_of("1abcA", 600, 512, seed) for seed in range(40)}
    assert len(drawn) > 30
    assert all(0 <= a <= 98 and 0 <= b <= 98 for a, b in drawn)
    assert psicov.corner_of("1abcA", 502, 512, 0) == (0, 0)


def test_the_canvas_follows_the_longest_protein(folder, own):
    assert TASK.load(folder, "clean").dataset.X.shape[2:] == (128, 128)
    _grow(own, "deepcov", "d0003A", 300)
    X = TASK.load(own, "clean", limit={"train": 1, "validation": 1, "test": 1}).dataset.X
    assert X.shape[2:] == (320, 320)


def _grow(folder: Path, part: str, name: str, length: int) -> None:
    held = pickle.loads((folder / part / "features" / f"{name}.pkl").read_bytes())
    shapes = {"ss": (3, length), "pssm": (length, 22), "sa": (length,), "entropy": (length,)}
    held |= {key: np.zeros(shapes.get(key, (length, length)), np.float32) for key in held if key != "seq"}
    (folder / part / "features" / f"{name}.pkl").write_bytes(pickle.dumps(held, 4))
    items = np.empty(3, dtype=object)
    items[:] = [length, "A" * length, None]
    items[2] = np.abs(np.subtract.outer(np.arange(length), np.arange(length))) * 3.8
    np.save(folder / part / "distance" / f"{name}-cb.npy", items, allow_pickle=True)


def test_files_that_do_not_fit(own):
    features = own / "psicov" / "features" / "p0000A.pkl"
    held = pickle.loads(features.read_bytes())
    features.write_bytes(pickle.dumps({**held, "pssm": held["pssm"].T}, 4))
    with pytest.raises(DataError, match=r"pssm has shape \(22, 40\), expected \(40, 22\)"):
        TASK.load(own, "clean")
    features.write_bytes(pickle.dumps({**held, "sa": held["sa"] + 200}, 4))
    with pytest.raises(DataError, match=r"sa holds values outside of \(-100, 100\)"):
        TASK.load(own, "clean")
    del held["ccmpred"]
    features.write_bytes(pickle.dumps(held, 4))
    with pytest.raises(DataError, match="lacks 'ccmpred'"):
        TASK.load(own, "clean")
    features.unlink()
    found = TASK.verify(own)
    assert any("p0000A first" in text for text in found.missing)
    (own / "psicov.lst").write_bytes(b"\x00\x01binary")
    with pytest.raises(DataError, match="not a list of protein names"):
        TASK.load(own, "clean")


def test_there_is_something_to_learn(folder):
    """Distance from the three maps alone, by a straight line, beats a constant where it counts."""
    loaded = TASK.load(folder, "clean")
    X, y = loaded.dataset.X, loaded.dataset.y
    inside = ~np.isnan(y[loaded.split.train][:, 0])
    maps = np.moveaxis(X[loaded.split.train][:, -3:], 1, -1)[inside]
    line, *_ = np.linalg.lstsq(
        np.column_stack([maps, np.ones(len(maps))]), y[loaded.split.train][:, 0][inside], rcond=None
    )
    fitted = (np.moveaxis(X[loaded.split.test][:, -3:], 1, -1) @ line[:3] + line[3])[:, None]
    metric = get_metric("mae8")
    truth = y[loaded.split.test]
    constant = np.full_like(truth, y[loaded.split.train][:, 0][inside].mean())
    assert metric.score(fitted, truth) < 0.75 * metric.score(constant, truth)
