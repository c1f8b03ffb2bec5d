"""Cosmic rays: which stamps take part, what is added to them, and what does not count."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosstune.benchmarks import get_task
from crosstune.benchmarks.nas_bench_360 import cosmic
from crosstune.errors import DataError
from crosstune.metrics import get_metric

TASK = get_task("nas_bench_360/cosmic")


@pytest.fixture
def folder(folders) -> Path:
    return folders[TASK.name]


@pytest.fixture
def own(folder, tmp_path) -> Path:
    shutil.copytree(folder, tmp_path / "own")
    return tmp_path / "own"


def test_only_galaxy_fields_take_part(folder):
    stamps = cosmic.list_stamps(folder, cosmic.TRAIN, listed=False)
    every = [p for p in (folder / cosmic.TRAIN).rglob("*.npy") if p.name != "sky.npy"]
    assert len(stamps) == len(every) - 1 == 12
    assert {f"{p.parts[-3]}_{p.parts[-2]}" for p in stamps} <= cosmic.GALAXIES
    assert len(cosmic.GALAXIES) == 27
    assert stamps == sorted(stamps)


def test_the_middle_of_the_file(folder):
    loaded = TASK.load(folder, "clean")
    stamps = cosmic.Images(str(folder), False, -1).opened()
    for place in (0, 5):
        planes = np.load(folder / stamps.paths[place])
        assert_allclose(loaded.dataset.X[place][0], planes[0, 64:192, 64:192])
        wanted = planes[1, 64:192, 64:192].astype(np.int64)
        if len(planes) == 3:
            wanted[planes[2, 64:192, 64:192] > 0] = -1
        assert_array_equal(loaded.dataset.y[place], wanted)
    planes = [len(np.load(folder / p)) for p in stamps.paths]
    assert {2, 3} <= set(planes)


def test_what_counts_by_protocol(folder):
    masks = {protocol: TASK.load(folder, protocol).dataset.y for protocol in TASK.protocols}
    assert (masks["clean"] == -1).any()
    assert (masks["shipped"] == -1).any()
    assert (masks["official"] != -1).all()
    raw = [np.load(p)[:, 64:192, 64:192] for p in sorted((folder / cosmic.TRAIN).rglob("*.npy")) if p.name != "sky.npy"]
    assert any(((planes[1] > 0) & (planes[2] > 0)).any() for planes in raw if len(planes) == 3)  # saturated and hit


def test_sky_is_drawn_once_for_each_stamp(folder):
    clean = TASK.load(folder, "clean").dataset
    first, again, other = (TASK.load(folder, "official", seed=seed).dataset for seed in (3, 3, 4))
    added = np.asarray(first.X) - np.asarray(clean.X)
    assert_array_equal(first.X, again.X)
    assert (first.X != other.X).any()
    assert_allclose(added, added[:, :, :1, :1] * np.ones_like(added), atol=1e-2)  # a constant on every stamp
    stamps = cosmic.Images(str(folder), False, -1).opened().paths
    levels = np.array([cosmic.sky_level(folder, stamp) for stamp in stamps])
    share = added[:, 0, 0, 0] / levels
    assert ((share > -0.9) & (share < 3)).all()
    assert share.std() > 0.5
    # the order of reading makes no difference
    reader = cosmic.Images(str(folder), True, 3)
    assert_array_equal(reader.read_rows(np.array([5, 1]))[1], first.X[1])


def test_whole_visits_validate(folder):
    loaded = TASK.load(folder, "clean")
    groups = loaded.dataset.groups
    assert loaded.dataset.units is None
    parts = [set(groups[loaded.split.rows(part)].tolist()) for part in ("train", "validation", "test")]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    many = np.repeat(np.arange(20), np.arange(1, 21))
    fitting, held = cosmic.by_visit(many, 0.1, 0)
    assert 0.1 <= len(held) / len(many) < 0.25
    assert not set(many[fitting]) & set(many[held])
    fitting, held = cosmic.by_visit(np.zeros(20, int), 0.1, 0)
    assert (len(fitting), len(held)) == (18, 2)


def test_official_lists_decide_the_order(own):
    stamps = [f"./{p.as_posix()}" for p in cosmic.list_stamps(own, cosmic.TRAIN, listed=False)]
    np.save(own / "train_dirs.npy", np.array(stamps[::-1]))
    assert TASK.verify(own).ok
    official, clean = TASK.load(own, "official"), TASK.load(own, "clean")
    assert_array_equal(official.dataset.y[0] > 0, clean.dataset.y[len(stamps) - 1] > 0)
    np.save(own / "train_dirs.npy", np.array([*stamps[:3], "./npy_train/f435w/1/2/9_x.npy"]))
    with pytest.raises(DataError, match="names ./npy_train/f435w/1/2/9_x.npy, which is not there".replace(".", r"\.")):
        TASK.load(own, "official")


def test_what_is_missing_or_mis_shaped(own):
    stamp = own / cosmic.list_stamps(own, cosmic.TRAIN, listed=False)[0]
    np.save(stamp.parent / "sky.npy", np.zeros(0))
    with pytest.raises(DataError, match="has no sky level"):
        TASK.load(own, "official")
    np.save(stamp, np.zeros((3, 128, 128), np.float32))
    with pytest.raises(DataError, match=r"expected \(2 or 3, H, W\) with H and W of 192"):
        TASK.load(own, "clean")
    assert not TASK.verify(own).ok
    (own / cosmic.TRAIN / "f435w").rename(own / cosmic.TRAIN / "f814w")
    with pytest.raises(DataError, match="has no folder f435w; it has f814w"):
        TASK.load(own, "clean")


def test_there_is_something_to_learn(folder):
    """Tracks are sharper than what the telescope images: a threshold on the second difference finds most."""
    dataset = TASK.load(folder, "clean").dataset
    image = np.pad(np.asarray(dataset.X)[:, 0], ((0, 0), (1, 1), (1, 1)), mode="edge")
    middle = image[:, 1:-1, 1:-1]
    around = np.minimum(image[:, :-2, 1:-1] + image[:, 2:, 1:-1], image[:, 1:-1, :-2] + image[:, 1:-1, 2:]) / 2
    sharp = 1 / (1 + np.exp(np.clip(-(middle - around - 60) / 10, -50, 50)))
    error = get_metric("1-auroc-hard").score(np.stack([1 - sharp, sharp], axis=1), np.asarray(dataset.y))
    assert error < 0.25
