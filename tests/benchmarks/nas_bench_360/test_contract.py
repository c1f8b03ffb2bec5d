"""What every task of the suite must do, whatever its files are."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from crosstune import data
from crosstune.benchmarks import get_task
from crosstune.benchmarks.nas_bench_360 import common
from crosstune.data.lazy import is_lazy
from crosstune.errors import DataError, UsageError
from crosstune.records import IGNORED, Dataset

from .conftest import NAMES, TINY

PARTS = ("train", "validation", "test")
CASES = [(name, protocol) for name in NAMES for protocol in get_task(name).protocols]


def rows_of(dataset: Dataset, rows: np.ndarray) -> bytes:
    return np.asarray(dataset.X[rows]).tobytes() + np.asarray(dataset.y[rows]).tobytes()


@pytest.fixture(autouse=True)
def rows_stay_in_their_files(monkeypatch):
    """What is not looked at need not be read."""
    monkeypatch.setattr(common, "EAGER_BYTES", 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_is_whole_and_says_that_it_is_one(name, folders):
    task = get_task(name)
    found = task.verify(folders[name])
    assert found.ok, [c for c in found.checks if c.ok is False] + list(found.missing)
    assert found.checks
    assert task.recognise(folders[name])
    said = any("synthetic stand-in" in note for note in task.load(folders[name], "clean").notes)
    assert said == task.synthetic == any(c.name == "origin" and "synthetic" in c.text for c in found.checks)


@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_the_rows_of_a_protocol(name, protocol, folders):
    task = get_task(name)
    loaded = task.load(folders[name], protocol)
    dataset, split, terms = loaded.dataset, loaded.split, task.terms(protocol)
    assert dataset.kind == task.kind
    assert dataset.modality == task.modality
    assert dataset.X.dtype == np.float32
    assert dataset.y is not None
    assert len(dataset) == len(dataset.y)
    few = np.arange(0, len(dataset), max(1, len(dataset) // 8))[:8]
    X, y = np.asarray(dataset.X[few]), np.asarray(dataset.y[few])
    assert np.isfinite(X).all()
    if task.kind in ("classification", "segmentation"):
        assert y.dtype == np.int64
        assert y.max() < len(dataset.classes)
        assert y.min() >= (IGNORED if task.kind == "segmentation" else 0)
    elif task.kind == "multilabel":
        assert set(np.unique(y)) <= {0.0, 1.0}
        assert len(dataset.target_names) == y.shape[1]
    parts = {part: set(split.rows(part).tolist()) for part in PARTS}
    assert all(parts.values())
    assert set().union(*parts.values()) == set(range(len(dataset)))
    assert not parts["train"] & parts["test"]
    if terms.selected_on == "test":
        assert_array_equal(split.validation, split.test)
        assert protocol == "shipped"
    else:
        assert not parts["validation"] & (parts["train"] | parts["test"])
    assert dataset.source["task"]["protocol"] == protocol


@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_no_unit_straddles_the_training_rows(name, protocol, folders):
    loaded = get_task(name).load(folders[name], protocol)
    units = loaded.dataset.units
    if units is None:
        return
    assert units.dtype == np.int64
    parts = [set(units[loaded.split.rows(part)].tolist()) for part in PARTS]
    assert not parts[0] & (parts[1] | parts[2])
    if get_task(name).terms(protocol).selected_on != "test":
        assert not parts[1] & parts[2]
        assert_array_equal(loaded.dataset.groups, units)


@pytest.mark.parametrize("name", NAMES)
def test_generating_again_gives_the_same_data(name, folders, tmp_path):
    task, short = get_task(name), name.split("/")[1]
    task.generate(tmp_path / "again", n=TINY[short])
    for file in sorted(p for p in folders[name].rglob("*") if p.is_file() and ".unpacked" not in p.parts):
        again = tmp_path / "again" / file.relative_to(folders[name])
        assert again.read_bytes() == file.read_bytes(), file.name
    task.generate(tmp_path / "other", n=TINY[short], seed=1)
    a, b = task.load(folders[name], "clean").dataset, task.load(tmp_path / "other", "clean").dataset
    assert rows_of(a, np.arange(3)) != rows_of(b, np.arange(3))


@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_loading_again_gives_the_same_rows(name, protocol, folders):
    task = get_task(name)
    if "drawn anew" in task.terms(protocol).text:
        pytest.skip("rows are drawn anew with every reading")
    a, b = task.load(folders[name], protocol), task.load(folders[name], protocol)
    few = np.arange(0, len(a.dataset), max(1, len(a.dataset) // 4))[:4]
    assert rows_of(a.dataset, few) == rows_of(b.dataset, few)
    for part in PARTS:
        assert_array_equal(a.split.rows(part), b.split.rows(part))


@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_a_limit_takes_the_first_rows_of_each_part(name, protocol, folders):
    task = get_task(name)
    whole = task.load(folders[name], protocol)
    limit = {"train": 3, "validation": 2, "test": 2}
    cut = task.load(folders[name], protocol, limit=limit)
    for part in PARTS:
        got, wanted = cut.split.rows(part), whole.split.rows(part)[: limit[part]]
        assert len(got) == len(wanted)
        # statistics of fewer rows are others, and so is what is drawn anew
        if not any(word in task.terms(protocol).text for word in ("normaliser", "drawn anew")):
            for a, b in zip(got, wanted):
                assert rows_of(cut.dataset, np.array([a])) == rows_of(whole.dataset, np.array([b]))
    assert len(cut.dataset) <= 7


@pytest.mark.parametrize("name", NAMES)
def test_rows_left_in_their_files_are_the_same_rows(name, folders, monkeypatch, tmp_path):
    task = get_task(name)
    monkeypatch.setattr(common, "EAGER_BYTES", 1 << 30)
    eager = task.load(folders[name], "clean", limit={"train": 6, "validation": 2, "test": 2}).dataset
    assert not is_lazy(eager.X)
    monkeypatch.setattr(common, "EAGER_BYTES", 0)
    lazy = task.load(folders[name], "clean", limit={"train": 6, "validation": 2, "test": 2}).dataset
    assert len(pickle.dumps(lazy.X)) < 10_000 or not is_lazy(lazy.X)
    again = pickle.loads(pickle.dumps(lazy))
    stored = data.load_dataset(data.save_dataset(lazy, tmp_path / "part.npz"))
    for other in (lazy, again, stored):
        assert rows_of(eager, np.array([3, 0])) == rows_of(other, np.array([3, 0]))
    assert data.dataset_digest(stored) == data.dataset_digest(lazy)


def _read_elsewhere(datasets: dict[str, Dataset], queue) -> None:
    queue.put({name: rows_of(dataset, np.array([3, 0])) for name, dataset in datasets.items()})


def test_another_process_reads_the_same_rows(folders):
    datasets = {name: get_task(name).load(folders[name], "clean").dataset for name in NAMES}
    wanted = {name: rows_of(dataset, np.array([3, 0])) for name, dataset in datasets.items()}
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_read_elsewhere, args=(datasets, queue))
    child.start()
    assert queue.get(timeout=120) == wanted
    child.join()


@pytest.mark.parametrize("name", NAMES)
def test_missing_files_are_named_with_their_place(name, tmp_path):
    task = get_task(name)
    with pytest.raises(DataError, match="does not hold") as caught:
        task.load(tmp_path, "clean")
    assert "crosstune data generate" in str(caught.value)
    found = task.verify(tmp_path)
    assert not found.ok
    assert all("://" in text for text in found.missing)
    assert found.missing
    assert not task.recognise(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_web_page_in_place_of_a_file(name, folders, tmp_path):
    task = get_task(name)
    shutil.copytree(folders[name], tmp_path / "copy")
    for file in sorted(p for p in (tmp_path / "copy").rglob("*") if p.is_file() and p.name != common.MARKER):
        file.write_text("<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title>")
    with pytest.raises(DataError, match="web page"):
        everything(task, tmp_path / "copy")
    found = task.verify(tmp_path / "copy")
    assert not found.ok
    assert any("web page" in check.text for check in found.checks)


@pytest.mark.parametrize("name", NAMES)
def test_files_that_were_cut_off(name, folders, tmp_path):
    task = get_task(name)
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    shutil.copytree(folders[name], tmp_path / "copy", ignore=shutil.ignore_patterns(".unpacked"))
    for file in sorted(p for p in (tmp_path / "copy").rglob("*") if p.is_file() and p.name != common.MARKER):
        content = file.read_bytes()
        file.write_bytes(content[: max(1, len(content) * 2 // 3)])
    with pytest.raises(DataError) as caught:
        everything(task, tmp_path / "copy")
    assert str(tmp_path) in str(caught.value)
    assert not task.verify(tmp_path / "copy").ok


def everything(task, path: Path) -> None:
    dataset = task.load(path, "clean").dataset
    for start in range(0, len(dataset), 64):
        np.asarray(dataset.X[start : start + 64])


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_asked_for(name, tmp_path, folders):
    task = get_task(name)
    with pytest.raises(UsageError, match="no protocol 'dirty'"):
        task.load(folders[name], "dirty")
    with pytest.raises(UsageError):
        task.generate(tmp_path / "x", n=1)
    if task.synthetic:
        with pytest.raises(UsageError, match="takes no resolution"):
            task.generate(tmp_path / "x", resolution=64)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        task.generate(tmp_path / "file")


@pytest.mark.parametrize("name", NAMES)
def test_the_record_is_complete(name):
    from crosstune.benchmarks import published_results

    task = get_task(name)
    assert set(task.protocols) == {"clean", "official", "shipped"}
    assert task.traps
    assert task.reference
    rows = [r for r in published_results() if r.benchmark == "NAS-Bench-360" and r.task == task.published]
    assert rows
    assert {r.metric for r in rows} == {task.published_metric}
