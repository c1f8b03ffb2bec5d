"""The run folder: a record that is whole, events that survive a torn line, a lock that dies with its owner."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from crosstune.data import from_arrays
from crosstune.errors import RunError
from crosstune.records import Split
from crosstune.runs import RunFolder, write_predictions


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.write_record({"schema": 1, "status": "running"})
    return made


def test_opening_what_is_not_a_run_says_so(tmp_path: Path, folder: RunFolder) -> None:
    assert RunFolder.open(folder.path).record()["status"] == "running"
    with pytest.raises(RunError, match=r"no run\.json"):
        RunFolder.open(tmp_path / "elsewhere")
    folder.write_record({"schema": 99})
    with pytest.raises(RunError, match="schema 99, this version reads 1"):
        RunFolder.open(folder.path)
    (folder.path / "run.json").write_text('{"schema": 1')
    with pytest.raises(RunError, match="damaged"):
        RunFolder.open(folder.path)


def test_update_keeps_the_rest(folder: RunFolder) -> None:
    assert folder.update(status="complete", extra=1) == {"schema": 1, "status": "complete", "extra": 1}
    assert folder.record()["schema"] == 1


def test_events_are_lines_whatever_was_torn_before(folder: RunFolder) -> None:
    assert folder.last_time() == 0.0
    folder.event(t=1.5, kind="message", text="one\ntwo", score=float("nan"), loss=np.float32(0.5))
    with open(folder.path / "events.jsonl", "ab") as file:
        file.write(b'{"t": 9.0, "ki')  # a kill
    assert folder.last_time() == 1.5
    folder.event(t=2.5, kind="message", text="three")
    lines = (folder.path / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"t": 1.5, "kind": "message", "text": "one\ntwo", "score": None, "loss": 0.5}
    assert lines[1] == '{"t": 9.0, "ki'
    assert json.loads(lines[2])["text"] == "three"
    assert folder.last_time() == 2.5


def test_events_of_several_threads_do_not_mix(folder: RunFolder) -> None:
    def write(name: int) -> None:
        for step in range(50):
            folder.event(t=0.0, kind="step", arm=str(name) * 200, step=step)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read = [json.loads(line) for line in (folder.path / "events.jsonl").read_text().splitlines()]
    assert len(read) == 200
    assert all([e["step"] for e in read if e["arm"][0] == str(k)] == list(range(50)) for k in range(4))


def test_the_lock_is_exclusive_and_ends_with_its_owner(folder: RunFolder) -> None:
    folder.lock()
    folder.lock()  # once more by the same owner is no conflict
    other = RunFolder(folder.path)
    with pytest.raises(RunError, match=f"process {os.getpid()} on "):
        other.lock()
    other.unlock()  # of what it never had: nothing happens
    with pytest.raises(RunError):
        other.lock()
    folder.unlock()
    assert not (folder.path / ".lock").exists()
    other.lock()
    other.unlock()
    # what a killed process leaves: the file without its lock, and half-written files
    (folder.path / ".lock").write_text("process 1 on somewhere")
    (folder.path / ".run.json.abc.tmp").write_text("{")
    folder.lock()
    assert not (folder.path / ".run.json.abc.tmp").exists()
    folder.unlock()


def test_checkpoints(folder: RunFolder) -> None:
    state = {"step": 3, "w": torch.arange(4.0), "big": 2**100, "nested": {"list": [1, "a", None]}}
    assert folder.load_checkpoint("a.s0.fit") is None
    assert not folder.has_checkpoint("a.s0.fit")
    folder.save_checkpoint("a.s0.fit", state)
    folder.save_checkpoint("a.s0.done-align", {"step": 1})
    folder.save_checkpoint("a.s01.fit", {"step": 2})
    loaded = folder.load_checkpoint("a.s0.fit")
    assert loaded is not None
    assert torch.equal(loaded.pop("w"), state.pop("w"))
    assert loaded == state
    folder.drop_checkpoints("a.s0.")
    assert not folder.has_checkpoint("a.s0.fit")
    assert not folder.has_checkpoint("a.s0.done-align")
    assert folder.has_checkpoint("a.s01.fit")
    folder.drop_checkpoints("")
    assert not (folder.path / "checkpoints").exists()


def test_a_checkpoint_is_data_and_never_code(folder: RunFolder) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (os.system, ("touch evil",))

    path = folder.path / "checkpoints" / "x.pt"
    path.parent.mkdir()
    for content in (pickle.dumps(Evil(), protocol=2), b"", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"x\.pt") as caught:
            folder.load_checkpoint("x")
        assert "remove it" in str(caught.value)
    assert not Path("evil").exists()


def test_parts_and_split_come_back(folder: RunFolder) -> None:
    data = from_arrays(np.random.default_rng(0).random((6, 1, 5)).astype("float32"), np.array(list("abcabc")))
    rows = np.array([3, 1])
    folder.save_part("train", data.take(rows))
    part = folder.part("train")
    np.testing.assert_array_equal(part.X, data.X[rows])
    assert part.classes == ("a", "b", "c")
    with pytest.raises(RunError, match="holds no test rows"):
        folder.part("test")
    folder.save_split(Split(rows, np.array([0]), np.array([], dtype=int), "random", 0))
    with np.load(folder.path / "split.npz") as stored:
        np.testing.assert_array_equal(stored["train"], rows)
        assert len(stored["test"]) == 0


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "dense", "segmentation"])
def test_predictions_carry_targets_and_protocol(kind: str, folder: RunFolder) -> None:
    rng = np.random.default_rng(0)
    shapes = {"classification": (4, 3), "multilabel": (4, 2), "regression": (4, 1), "dense": (4, 2, 5)}
    shapes["segmentation"] = (4, 3, 5)
    prediction = rng.random(shapes[kind])
    y = np.array([0, 2, 1, 0]) if kind == "classification" else rng.integers(0, 2, shapes[kind]).astype("float32")
    if kind == "segmentation":
        y = rng.integers(-1, 3, (4, 5))
    data = from_arrays(np.zeros((4, 1, 5), "float32"), units=[7, 7, 8, 9] if kind == "segmentation" else None)
    data = replace(
        data, y=y, kind=kind, classes=("a", "b", "c") if kind in ("classification", "segmentation") else None
    )
    folder.save_predictions(
        "validation", "floor:linear", 3, rows=np.array([9, 7, 5, 3]), prediction=prediction, data=data, metric="m",
        selected_on="train",
    )  # fmt: skip
    read = pq.read_table(folder.path / "predictions" / "validation.floor-linear.s3.parquet")
    meta = json.loads(read.schema.metadata[b"crosstune"])
    assert set(meta) == {"arm", "seed", "split", "selected_on", "protocol", "kind", "classes", "field_shape", "metric"}
    assert (meta["arm"], meta["seed"], meta["selected_on"], meta["kind"]) == ("floor:linear", 3, "train", kind)
    assert meta["field_shape"] == {"dense": [2, 5], "segmentation": [3, 5]}.get(kind)
    assert ("unit" in read.column_names) == (kind == "segmentation")
    assert read["row"].to_pylist() == [9, 7, 5, 3]
    if kind == "dense":
        np.testing.assert_allclose(np.array(read["prediction"].to_pylist()).reshape(4, 2, 5), prediction, rtol=1e-6)
        np.testing.assert_array_equal(np.array(read["target"].to_pylist()).reshape(4, 2, 5), y)
    elif kind == "segmentation":
        np.testing.assert_allclose(np.array(read["prediction"].to_pylist()).reshape(4, 3, 5), prediction, rtol=1e-6)
        np.testing.assert_array_equal(np.array(read["target"].to_pylist()), y)
        assert read["unit"].to_pylist() == [7, 7, 8, 9]
    else:
        name = "p" if kind == "classification" else "pred"
        got = np.column_stack([read[f"{name}{k}"].to_numpy() for k in range(prediction.shape[1])])
        np.testing.assert_array_equal(got, prediction)  # doubles, not rounded
        names = ["target"] if kind == "classification" else [f"target{k}" for k in range(y.shape[1])]
        np.testing.assert_array_equal(np.column_stack([read[n].to_numpy() for n in names]).reshape(y.shape), y)


def test_predictions_of_new_data_have_no_target(tmp_path: Path) -> None:
    write_predictions(
        tmp_path / "p.parquet", np.arange(2), np.eye(2), None, "classification", {"kind": "classification"}
    )
    assert pq.read_table(tmp_path / "p.parquet").column_names == ["row", "p0", "p1"]
    maps = np.random.default_rng(0).random((2, 3, 4))
    write_predictions(
        tmp_path / "m.parquet", np.arange(2), maps, None, "segmentation", {}, lengths=np.array([4, 2])
    )  # fmt: skip
    read = pq.read_table(tmp_path / "m.parquet")
    assert read.column_names == ["row", "label", "prediction"]
    codes = maps.argmax(axis=1)
    codes[1, 2:] = -1
    np.testing.assert_array_equal(np.array(read["label"].to_pylist()), codes)
