"""Files that are either whole or absent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from crosstune.runs.files import plain, sweep, write_atomically, write_bytes, write_json, write_npz


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_bytes(path, b"old")

    def half(handle: BinaryIO) -> None:
        handle.write(b"half")
        handle.flush()
        assert path.read_bytes() == b"old"  # a reader sees the old one until the very end
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, half)
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_json_is_standard_json(tmp_path: Path) -> None:
    value: dict[str, Any] = {
        "nan": float("nan"), "inf": [np.float32("inf"), 1.5], "array": np.array([1.0, np.nan]), "int": np.int64(3),
        "path": Path("a/b"), "bool": np.bool_(True), "tuple": (1, None),
    }  # fmt: skip
    write_json(tmp_path / "f.json", value)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads((tmp_path / "f.json").read_text(), parse_constant=refuse) == {
        "nan": None, "inf": [None, 1.5], "array": [1.0, None], "int": 3, "path": "a/b", "bool": True,
        "tuple": [1, None],
    }  # fmt: skip
    with pytest.raises(TypeError, match="object"):
        plain(object())


def test_arrays_come_back(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", rows=np.arange(3), fields=np.eye(2, dtype=np.float32))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["rows"], np.arange(3))
        assert stored["fields"].dtype == np.float32


def test_sweep_removes_what_killed_writers_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in (".run.json.x1.tmp", "model/.model.safetensors.ab.tmp", ".report.html.q.part"):
        (tmp_path / name).write_bytes(b"half")
    keep = {"run.json", "notes.tmp", ".hidden", "model"}
    for name in keep - {"model"}:
        (tmp_path / name).write_bytes(b"whole")
    sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == keep
    assert list((tmp_path / "model").iterdir()) == []
