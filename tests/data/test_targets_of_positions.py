"""Class maps and fields with gaps: reading, inspection, splits, batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from crosstune import data
from crosstune.assembly import batch
from crosstune.errors import DataError, TaskError

from .samples import ragged, series

RNG = np.random.default_rng(0)


def maps(n: int = 40, size: int = 6, classes: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, (n, size, size))


def grids(n: int = 40, size: int = 6) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, 2, size, size)).astype(np.float32)


def codes_of(found: data.Inspection) -> dict[str, str]:
    return {f.code: f.severity for f in found.findings}


def test_a_signal_of_one_channel_is_one_where_every_sample_has_a_class():
    found = data.from_arrays(RNG.normal(size=(20, 32)), RNG.integers(0, 2, (20, 32)), task="segmentation")
    assert found.X.shape == (20, 1, 32)
    assert (found.kind, found.classes) == ("segmentation", ("0", "1"))
    assert data.from_arrays(RNG.normal(size=(20, 32)), RNG.integers(0, 2, (20, 32))).kind == "multilabel"


def test_positions_behind_a_ragged_series_do_not_count():
    made = ragged()
    lengths = np.array([part.shape[1] for part in made])
    y = RNG.integers(0, 2, (30, lengths.max())).astype(np.uint8)
    for task in (None, "segmentation"):
        found = data.from_arrays(made, y, task=task)
        assert found.kind == "segmentation"
        assert_array_equal(found.y == -1, np.arange(lengths.max()) >= lengths[:, None])
        assert "ignored-positions" not in codes_of(data.inspect(found))
    x, _, target = batch(found, np.argsort(lengths)[:3])
    assert target is not None
    assert target.shape == (3, x.shape[2])


@pytest.mark.parametrize("kind", ["dense", "segmentation"])
def test_rows_of_which_nothing_is_known_are_refused_by_number(kind):
    y = maps() if kind == "segmentation" else grids()[:, :1]
    gap = -1 if kind == "segmentation" else np.nan
    y[3, ..., :2] = gap
    assert len(data.from_arrays(grids(), y)) == 40
    y[[5, 17]] = gap
    with pytest.raises(TaskError, match="the target is missing everywhere in 2 of 40 rows: rows 5, 17"):
        data.from_arrays(grids(), y, task=kind)
    found = data.from_arrays(grids(), y, drop_missing_target=True)
    assert (len(found), found.kind) == (38, kind)
    with pytest.raises(TaskError, match="the target is missing in 3 of 40 rows: rows 3, 5, 17"):
        data.from_arrays(series(), np.where(np.isin(np.arange(40), [3, 5, 17]), np.nan, 1.5 * np.arange(40)))


def test_a_ragged_field_unknown_within_its_series_is_missing():
    made = ragged()
    longest = max(part.shape[1] for part in made)
    y = RNG.normal(size=(30, 1, longest))
    y[4, :, : made[4].shape[1]] = np.nan
    with pytest.raises(TaskError, match="missing everywhere in 1 of 30 rows: rows 4"):
        data.from_arrays(made, y)


def test_gaps_of_fields_are_counted():
    y = grids()[:, :1].copy()
    y[:5, 0, 0, 0] = np.nan
    found = data.inspect(data.from_arrays(grids(), y + 1))
    said = next(f for f in found.findings if f.code == "ignored-positions")
    assert said.message == "5 positions of the target (0.35%, in 5 rows) are NaN: they do not count"
    assert said.severity == "note"
    constant = data.inspect(data.from_arrays(grids(), np.where(np.isnan(y), np.nan, 2.0)))
    assert codes_of(constant)["constant-target"] == "refuse"
    by_hand = replace(data.from_arrays(grids(), y + 1), y=np.where(np.arange(40)[:, None, None, None] == 7, np.nan, y))
    assert "is NaN everywhere: rows 7" in str(data.inspect(by_hand).refused())


def test_classes_of_positions_are_counted_and_rare_ones_told():
    y = np.zeros((40, 6, 6), int)
    y[:, 0, 0] = RNG.integers(0, 2, 40)
    y[0, 5, 5] = 2
    y[1, 3] = -1
    found = data.inspect(data.from_arrays(grids(), y))
    assert found.classes == {"0": int((y == 0).sum()), "1": int((y == 1).sum()), "2": 1}
    assert codes_of(found).items() >= {"imbalance": "warn", "rare-classes": "warn", "ignored-positions": "note"}.items()
    assert "6 positions of the target" in str(found.findings)
    assert any("segmentation: one of 3 classes at each of 6 x 6 positions" in line for line in found.plan)
    assert any("split at random" in line for line in found.plan)


def test_the_same_map_everywhere_is_refused():
    same = np.repeat(maps(1), 40, axis=0)
    assert codes_of(data.inspect(data.from_arrays(grids(), same)))["constant-target"] == "refuse"


def test_a_channel_that_is_the_map_is_a_leak():
    X, y = grids(), maps()
    X[:, 1] = np.array([0.5, -3.0, 7.0])[y]
    y[:, 0, 0] = -1
    found = data.inspect(data.from_arrays(X, y))
    assert [f.code for f in found.refused()] == ["leakage"]
    X[0, 1, 3, 3] = 7.0 if X[0, 1, 3, 3] != 7.0 else 0.5
    assert "leakage" not in codes_of(data.inspect(data.from_arrays(X, y)))
    sign = (X[:, 0] > 0).astype(int)  # a function of the input is what there is to learn
    assert "leakage" not in codes_of(data.inspect(data.from_arrays(X, sign)))


def test_splits_are_random_or_grouped_and_name_absent_classes():
    y = maps(classes=2)
    y[7, 2, 2] = 2
    found = data.split(data.from_arrays(grids(), y))
    assert found.strategy == "random"
    assert sum("1 of 3 classes have no position in" in warning for warning in found.warnings) == 2
    groups = np.arange(40) // 4
    grouped = data.split(data.from_arrays(grids(), y, groups=groups))
    assert grouped.strategy == "grouped"
    assert not set(groups[grouped.train]) & set(groups[grouped.test])


def test_rows_of_a_unit_stay_together():
    units = np.arange(40) // 4
    made = data.from_arrays(series(), np.arange(40) % 2, units=[f"clip {u}" for u in units])
    assert_array_equal(made.units, units)
    assert_array_equal(made.take(np.array([9, 3])).units, [2, 0])
    for dataset in (made, replace(made, time=np.arange(40))):
        found = data.split(dataset)
        parts = [set(units[found.rows(name)]) for name in ("train", "validation", "test")]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    with pytest.raises(DataError, match="2 units of rows that belong together cannot fill 3 parts"):
        data.split(replace(made, units=np.arange(40) % 2))


def test_units_are_read_by_name_only(tmp_path):
    np.savez(tmp_path / "d.npz", X=series(), y=np.arange(40) % 2, units=np.arange(40) // 4)
    assert data.read(tmp_path / "d.npz").units is None
    assert_array_equal(data.read(tmp_path / "d.npz", units="units").units, np.arange(40) // 4)
    with pytest.raises(DataError, match="no key 'clip'"):
        data.read(tmp_path / "d.npz", units="clip")
