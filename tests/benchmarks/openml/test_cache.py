"""The split that public code stores at its first run."""

import numpy as np
import pytest

from crosstune.benchmarks import get_task
from crosstune.errors import DataError


def stored(tmp_path, **changes):
    rng = np.random.default_rng(0)
    held = {
        "X_raw_dev": rng.normal(size=(18, 4)), "X_raw_test": rng.normal(size=(2, 4)),
        "X_norm_dev": rng.normal(size=(18, 4, 1)), "X_norm_test": rng.normal(size=(2, 4, 1)),
        "y_dev": np.arange(18) % 3, "y_test": np.array([1, 2]),
    }  # fmt: skip
    held = {key: value for key, value in {**held, **changes}.items() if value is not None}
    np.save(tmp_path / "61_dev_test_split.npy", held, allow_pickle=True)  # type: ignore[arg-type]
    return held


def test_a_stored_split_decides(tmp_path):
    held = stored(tmp_path)
    data = get_task("openml/iris").load(tmp_path, "shipped", seed=5)
    assert (data.split.train.tolist(), data.split.test.tolist()) == (list(range(18)), [18, 19])
    np.testing.assert_array_equal(data.dataset.X[18:], held["X_norm_test"].astype(np.float32))
    np.testing.assert_array_equal(data.dataset.y, [*held["y_dev"], *held["y_test"]])
    assert "stored in 61_dev_test_split.npy" in data.notes[0]
    with pytest.raises(DataError, match="no file of iris"):
        get_task("openml/iris").load(tmp_path, "clean")  # which no leaked preprocessing may reach


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "does not hold a split"),
        ({"y_test": np.array([1, 2, 0])}, "X_norm_test has shape"),
        ({"X_norm_dev": np.zeros((18, 4))}, "not \\(rows, channels, length\\)"),
        ({"y_dev": np.full(18, 0.5)}, "y_dev holds no class codes"),
    ],
)
def test_a_stored_split_that_is_none(tmp_path, changes, message):
    stored(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        get_task("openml/iris").load(tmp_path, "shipped")


def test_a_stored_split_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    np.save(tmp_path / "61_dev_test_split.npy", {"y_dev": Evil()}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(DataError):
        get_task("openml/iris").load(tmp_path, "shipped")
