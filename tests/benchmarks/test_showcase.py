"""The evidence suite: its data are what they claim to be, its splits are fixed and honest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crosstune.benchmarks import get_suite, get_task, tasks
from crosstune.benchmarks.showcase import LOW, WHOLE
from crosstune.benchmarks.showcase.digests import DIGESTS
from crosstune.data import load_dataset, save_dataset
from crosstune.errors import DataError

SHIPPED = sorted(DIGESTS)


def test_the_suite_is_complete() -> None:
    assert set(tasks("showcase")) == {*WHOLE, *LOW}
    modalities = {task.modality for task in tasks("showcase").values()}
    assert modalities == {"series", "grid", "table"}
    for scale in get_suite("showcase").scales.values():
        assert scale.tasks is not None
        assert set(scale.tasks) <= set(tasks("showcase"))


@pytest.mark.parametrize("name", SHIPPED)
def test_data_are_those_known_and_splits_are_honest(name: str, tmp_path: Path) -> None:
    task = get_task(f"showcase/{name}")
    task.generate(tmp_path)
    assert task.recognise(tmp_path)
    found = task.verify(tmp_path)
    assert found.ok, found
    whole = task.load(tmp_path, "clean")
    parts = [whole.split.rows(part) for part in ("train", "validation", "test")]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(whole.dataset)))
    again = task.load(tmp_path, "clean")
    assert all(np.array_equal(a, again.split.rows(p)) for a, p in zip(parts, ("train", "validation", "test")))
    for share in (30, 10):
        low = get_task(f"showcase/{name}-{share}").load(tmp_path, "clean")
        assert np.array_equal(low.split.test, whole.split.test)
        assert np.array_equal(low.split.validation, whole.split.validation)
        assert set(low.split.train) < set(whole.split.train)
        if whole.dataset.kind == "classification":
            y = whole.dataset.y
            assert y is not None
            assert set(y[low.split.train]) == set(y[whole.split.train])


def test_another_release_is_noticed(tmp_path: Path) -> None:
    task = get_task("showcase/wine")
    (file,) = task.generate(tmp_path)
    data = load_dataset(file)
    data.X[3, 2] += 1e-3
    save_dataset(data, file)
    found = task.verify(tmp_path)
    assert [check.name for check in found.checks if check.ok is False] == ["digest"]


def test_missing_data_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="crosstune data generate showcase/wine -o"):
        get_task("showcase/wine").load(tmp_path, "clean")
