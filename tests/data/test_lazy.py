"""Lazy rows look like an array, survive pickling and storing, and everything that reads all of X goes in blocks."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from crosstune import data
from crosstune.assembly import batch
from crosstune.data.lazy import (
    LazyRows,
    RowReader,
    forget,
    in_memory,
    lazy_array,
    reader_from,
    row_blocks,
    spaced_rows,
    thinned,
)
from crosstune.errors import DataError
from crosstune.floors import run_floors
from crosstune.records import Dataset, Split


@dataclass(frozen=True)
class Halved(RowReader):
    """Rows of a .npy file, divided by a number."""

    by: float = 2.0

    def open(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r")

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        return len(self.opened()), self.opened().shape[1:], np.dtype(np.float32)

    def read(self, row: int) -> np.ndarray:
        return (self.opened()[row] / self.by).astype(np.float32)

    def files(self) -> Sequence[Path]:
        return (Path(self.path),)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, np.ndarray]:
    values = np.random.default_rng(0).normal(size=(60, 2, 12)).astype(np.float32)
    values[np.arange(60) % 3 == 1] += 3
    np.save(tmp_path / "x.npy", values)
    return tmp_path / "x.npy", values / 2


def dataset_of(path: Path, n: int = 60) -> Dataset:
    X = lazy_array(Halved(str(path)))
    return Dataset(X, np.arange(n) % 3, "classification", ("a", "b", "c"), name="lazy")


def test_it_looks_like_the_array(stored):
    path, values = stored
    rows = LazyRows(Halved(str(path)))
    assert (rows.shape, rows.ndim, len(rows), rows.dtype) == (values.shape, 3, 60, values.dtype)
    for key in (3, -1, slice(2, 50, 7), np.array([5, 5, 0]), np.arange(60) % 2 == 0, [1, 2]):
        assert_array_equal(rows[key], values[key])
    assert_array_equal(rows.view(np.array([9, 4]))[:], values[[9, 4]])
    assert_array_equal(rows.view(slice(10, 20)).view(np.array([0, 9]))[1], values[19])
    assert_array_equal(np.asarray(rows), values)
    assert_array_equal(np.concatenate([block for _, block in row_blocks(rows, most=100)]), values)
    assert_array_equal(np.stack(list(rows)), values)
    with pytest.raises(TypeError, match="by row only"):
        rows[:, 0]
    with pytest.raises(DataError, match="which has 60"):
        rows.__class__(rows.reader, np.array([60]))


def test_reading_everything_at_once_is_refused_when_it_is_too_much(stored):
    path, _ = stored
    huge = LazyRows(Halved(str(path)), np.zeros(30_000_000, np.int64))
    with pytest.raises(DataError, match="limit the rows"):
        np.asarray(huge)


def test_a_sample_is_spaced_over_all_rows(stored):
    rows = spaced_rows(LazyRows(Halved(str(stored[0]))), most=24 * 20)
    assert len(rows) == 20
    assert (rows[0], rows[-1]) == (0, 59)
    assert np.diff(rows).max() <= 4


def _read_in_child(rows: LazyRows, queue) -> None:
    queue.put(rows[np.array([7, 3])])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_reads_the_same_rows(stored, method):
    path, values = stored
    rows = LazyRows(Halved(str(path))).view(np.arange(10, 30))
    assert_array_equal(rows[0], values[10])  # opened here before the child begins
    assert len(pickle.dumps(rows)) < 2000
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(rows, queue))
    child.start()
    assert_array_equal(queue.get(timeout=60), values[[17, 13]])
    child.join()


def test_taking_rows_stays_lazy_and_batches_are_arrays(stored):
    path, values = stored
    part = dataset_of(path).take(np.array([4, 2, 50]))
    assert isinstance(part.X, LazyRows)
    assert_array_equal(part.y, [1, 2, 2])
    x, _, _ = batch(part, np.array([2, 0]))
    assert_array_equal(x.numpy(), values[[50, 4]])
    assert_array_equal(in_memory(part).X, values[[4, 2, 50]])


def test_stored_as_a_reference_and_followed(stored, tmp_path):
    path, values = stored
    part = dataset_of(path).take(np.arange(20, 60))
    file = data.save_dataset(part, tmp_path / "part.npz")
    found = data.load_dataset(file)
    assert isinstance(found.X, LazyRows)
    assert_array_equal(found.X[3], values[23])
    assert_array_equal(found.y, part.y)
    assert data.dataset_digest(found) == data.dataset_digest(part)
    assert data.dataset_digest(part) != data.dataset_digest(dataset_of(path).take(np.arange(19, 59)))
    other = replace(part, X=lazy_array(Halved(str(path), by=3.0), np.arange(20, 60)))
    assert data.dataset_digest(part) != data.dataset_digest(other)
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "x.npy").write_bytes(path.read_bytes())
    elsewhere = replace(part, X=lazy_array(Halved(str(moved / "x.npy")), np.arange(20, 60)))
    assert data.dataset_digest(part) == data.dataset_digest(elsewhere)


def test_changed_and_missing_files_are_noticed(stored, tmp_path):
    path, values = stored
    file = data.save_dataset(dataset_of(path), tmp_path / "part.npz")
    changed = values.copy()
    changed[30] += 1
    np.save(path, changed)
    with pytest.raises(DataError, match="no longer those that"):
        data.load_dataset(file)
    path.unlink()
    with pytest.raises((DataError, FileNotFoundError), match="not there"):
        data.load_dataset(file)


def test_only_known_readers_are_made(stored):
    with pytest.raises(DataError, match="'os:system'"):
        reader_from({"reader": "os:system", "arguments": {"path": "true"}})
    with pytest.raises(DataError, match="does not have"):
        reader_from({"reader": "crosstune.errors:DataError", "arguments": {}})
    with pytest.raises(DataError, match="does not have"):
        reader_from({"reader": "crosstune.nowhere:Reader", "arguments": {}})


def test_inspection_of_lazy_data_says_what_it_looked_at(stored, monkeypatch):
    path, values = stored
    dataset = dataset_of(path)
    split = Split(np.arange(40), np.arange(40, 50), np.arange(50, 60), "by hand", 0)
    whole = data.inspect(replace(dataset, X=values), split)
    assert data.inspect(dataset, split).as_dict() == whole.as_dict()  # small enough to be read whole
    monkeypatch.setattr("crosstune.data.inspection.thinned", lambda d: thinned(d, 24 * 30))
    found = data.inspect(dataset, split)
    assert any("30 of 60 rows" in f.message for f in found.findings)
    assert found.classes == whole.classes


def test_a_copy_across_the_split_is_found_in_a_sample(tmp_path, monkeypatch):
    values = np.random.default_rng(0).normal(size=(60, 1, 12)).astype(np.float32)
    values[59] = values[0]
    np.save(tmp_path / "x.npy", values)
    monkeypatch.setattr("crosstune.data.inspection.thinned", lambda d: thinned(d, 12 * 30))
    split = Split(np.arange(40), np.arange(40, 50), np.arange(50, 60), "by hand", 0)
    found = data.inspect(dataset_of(tmp_path / "x.npy"), split).findings
    assert any(f.code == "duplicates" for f in found)


def test_floors_learn_from_what_memory_holds(stored, monkeypatch):
    path, values = stored
    dataset = dataset_of(path)
    train, query = dataset.take(np.arange(45)), dataset.take(np.arange(45, 60))
    eager = replace(dataset, X=values)
    wanted = run_floors(
        eager.take(np.arange(45)), {"q": eager.take(np.arange(45, 60))}, ("linear",), seed=0, in_process=True
    )["linear"]
    assert wanted.status == "ok"
    monkeypatch.setattr("crosstune.floors.execute.BLOCK_VALUES", 24 * 4)  # queries in blocks of four rows
    found = run_floors(train, {"q": query}, ("linear",), seed=0, in_process=True)["linear"]
    np.testing.assert_allclose(found.predictions["q"], wanted.predictions["q"], atol=1e-12)
    monkeypatch.setattr("crosstune.floors.execute.LAZY_VALUES", 24 * 30)
    cut = run_floors(train, {"q": query}, ("linear",), seed=0, in_process=True)["linear"]
    assert "learned from 30 of 45 rows" in cut.note
    assert cut.status == "ok"


def test_forgotten_data_are_read_anew(stored):
    path, values = stored
    rows = LazyRows(Halved(str(path)))
    assert_array_equal(rows[0], values[0])
    np.save(path, values + 1)
    forget(path)
    assert_array_equal(rows[0], (values[0] + 1) / 2)
