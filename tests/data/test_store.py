"""Stored data come back bit for bit, and their digest does not depend on the process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from crosstune import data
from crosstune.errors import DataError
from crosstune.records import Dataset

from .samples import ragged, series


def examples() -> dict[str, Dataset]:
    rng = np.random.default_rng(0)
    return {
        "ragged": data.from_arrays(
            ragged(), ["ä", "b", "c"] * 10, groups=[f"p{i % 5}" for i in range(30)], time=np.arange(30) / 7
        ),
        "table": data.from_arrays(
            {"a": rng.normal(size=30), "b": ["u", None, "v"] * 10},
            rng.normal(size=(30, 2)),
            target_names=["s", "t"],
            name="t",
            source={"path": "x", "bytes": 3, "key": None},
        ),
        "dense": data.from_arrays(np.where(series() > 2, np.nan, series()), series(seed=1)),
        "multilabel": data.from_arrays(series(), rng.integers(0, 2, (40, 3))),
        "units": replace(data.from_arrays(series(), np.arange(40) % 2), units=np.arange(40) // 4),
        "no target": data.from_arrays(series(), groups=np.arange(40) - 20),
    }


@pytest.mark.parametrize("name", list(examples()))
def test_round_trip_of_every_field(tmp_path, name):
    dataset = examples()[name]
    found = data.load_dataset(data.save_dataset(dataset, tmp_path / "sub" / "d.npz"))
    for field in fields(Dataset):
        a, b = getattr(dataset, field.name), getattr(found, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert a.tobytes() == b.tobytes()
        else:
            assert a == b
            assert type(a) is type(b)
    assert data.dataset_digest(found) == data.dataset_digest(dataset)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["d.npz"]


def test_digest_sees_every_field_but_the_origin():
    dataset = examples()["ragged"]
    digest = data.dataset_digest(dataset)
    assert data.dataset_digest(replace(dataset, name="other", source={})) == digest
    X = dataset.X.copy()
    X[0, 0, 0] = np.nextafter(X[0, 0, 0], np.float32(9))
    changed = [
        replace(dataset, X=X),
        replace(dataset, y=dataset.y[::-1].copy()),
        replace(dataset, classes=("a", "b", "c")),
        replace(dataset, lengths=None),
        replace(dataset, groups=None),
        replace(dataset, time=dataset.time + 1),
        replace(dataset, units=np.arange(30)),
        replace(dataset, columns=("a",)),
        replace(dataset, categories={0: ("a",)}),
        replace(dataset, kind="regression"),
        replace(dataset, target_names=("z",)),
    ]
    assert len({digest, *map(data.dataset_digest, changed)}) == len(changed) + 1


def test_digest_is_the_same_in_other_processes():
    code = (
        "import numpy as np; from crosstune import data;"
        "print(data.dataset_digest(data.from_arrays({'a': np.arange(6.0), 'b': list('uvwuvw')}, list('xyxyxy'))))"
    )
    seen = set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        seen.add(subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True).stdout)
    assert len(seen) == 1


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = data.save_dataset(examples()["dense"], tmp_path / "d.npz")
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        data.save_dataset(examples()["table"], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_objects_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"groups holds Python objects.*\n.*groups\.astype\(str\)"):
        data.save_dataset(Dataset(series(), groups=np.array([None] * 40)), tmp_path / "d.npz")
    np.savez(tmp_path / "f.npz", X=series())
    with pytest.raises(DataError, match=r"is not a data file of crosstune[\s\S]*crosstune\.data\.read"):
        data.load_dataset(tmp_path / "f.npz")
    path = data.save_dataset(examples()["dense"], tmp_path / "g.npz")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="is not a data file"):
        data.load_dataset(path)
    with pytest.raises(DataError, match="no stored data at"):
        data.load_dataset(tmp_path / "none.npz")


def test_stored_data_are_also_readable_as_npz(tmp_path):
    dataset = examples()["ragged"]
    found = data.read(data.save_dataset(dataset, tmp_path / "d.npz"))
    assert_array_equal(found.X, dataset.X)
    assert_array_equal(found.lengths, dataset.lengths)
    assert_array_equal(found.groups, dataset.groups)
