"""Each finding, triggered by the smallest cause, and silent on sound data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

from crosstune import data
from crosstune.errors import UsageError
from crosstune.records import Dataset

from .samples import parts, ragged, series, table

RNG = np.random.default_rng(0)


def codes(dataset, split=None, severity=None):
    found = data.inspect(dataset, split).findings
    return {f.code for f in found if severity is None or f.severity == severity}


def message(dataset, code, split=None):
    return next(f.message for f in data.inspect(dataset, split).findings if f.code == code)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits, load_diabetes])
def test_sound_data_are_not_refused(load):
    bunch = load()
    dataset = data.from_arrays(bunch.data, bunch.target)
    assert data.inspect(dataset, data.split(dataset)).refused() == ()


def test_clean_data_have_no_findings():
    dataset = data.from_arrays(series(90), np.arange(90) % 3, groups=np.arange(90) % 15)
    assert data.inspect(dataset, data.split(dataset)).findings == ()


def test_duplicates_across_groups():
    X = series(60)
    X[30:33] = X[0:3]
    dataset = data.from_arrays(X, np.arange(60) % 2, groups=np.arange(60) // 6)
    found = [f for f in data.inspect(dataset).refused() if f.code == "duplicates"]
    assert [f.accept for f in found] == ["--accept duplicates"]
    assert found[0].message.startswith("6 of 60 rows have an exact duplicate in another group")
    assert not data.inspect(dataset, accept=["duplicates"]).refused()
    assert not data.inspect(dataset).refused(["duplicates"])
    within = data.from_arrays(X, np.arange(60) % 2, groups=np.r_[np.arange(30) // 3, np.zeros(3, int), np.arange(27)])
    assert "duplicates" not in codes(within)
    assert "copies" in codes(within)


@pytest.mark.parametrize(("copies", "severity"), [(3, "refuse"), (1, "warn")])
def test_duplicates_across_the_split(copies, severity):
    X = series(300, 1, 4)
    X[200 : 200 + copies] = X[:copies]
    dataset = data.from_arrays(X, np.arange(300) % 2)
    bad = parts(dataset, range(200), range(200, 250), range(250, 300))
    found = [f for f in data.inspect(dataset, bad).findings if f.code == "duplicates"]
    assert [f.severity for f in found] == [severity]
    assert "another part of the split" in found[0].message
    assert "duplicates" not in codes(dataset, data.split(dataset))


def test_near_duplicates_and_conflicting_targets():
    X = series(50)
    X[25] = X[3] * (1 + 1e-6)
    assert "near-duplicates" in codes(data.from_arrays(X, np.arange(50) % 2))
    X[25] = X[4]
    dataset = data.from_arrays(X, np.arange(50) % 2)
    assert "2 rows have exact duplicates with a different target" in message(dataset, "conflicting-targets")
    assert "near-duplicates" not in codes(dataset)
    X[25] = X[5]
    assert "conflicting-targets" not in codes(data.from_arrays(X, np.arange(50) % 2))


def test_constant_channels():
    X = series(40, 3)
    X[:, 1] = 4.0
    assert codes(data.from_arrays(X, np.arange(40) % 2), severity="warn") == {"constant"}
    assert "1 of 3 channels are constant and carry nothing: channel 1" in message(data.from_arrays(X), "constant")
    assert codes(data.from_arrays(np.full_like(X, 2.0), np.arange(40) % 2), severity="refuse") == {"constant"}
    padded = [np.full((1, n), 5.0) for n in (3, 4, 5)]
    assert "constant" in codes(data.from_arrays(padded))


def test_missing_shares():
    X = series(40, 2, 20)
    X[:, 0, 0] = np.nan
    assert "2.50% of the values are missing, in channel 0" in message(data.from_arrays(X), "missing")
    assert "missing" in codes(data.from_arrays(X), severity="note")
    X[:, 0, :10] = np.nan
    assert "missing" in codes(data.from_arrays(X), severity="warn")
    X[:, :, 1:-1] = np.nan
    assert "missing" in codes(data.from_arrays(X), severity="refuse")
    X = series()
    X[3] = np.nan
    assert message(data.from_arrays(X), "empty-rows").endswith("rows 3")
    assert "missing" not in codes(data.from_arrays(ragged()))


def test_infinite_values_that_came_past_the_reader():
    X = series()
    X[2, 1, 0] = -np.inf
    assert "1 infinite values in X, the first at row 2, channel 1" in message(Dataset(X), "infinite")


@pytest.mark.parametrize(("minority", "severity"), [(1, "refuse"), (3, "refuse"), (25, "warn"), (200, None)])
def test_imbalance(minority, severity):
    dataset = data.from_arrays(series(400, 1, 4), np.arange(400) < minority)
    found = [f.severity for f in data.inspect(dataset).findings if f.code == "imbalance"]
    assert found == ([severity] if severity else [])


def test_rare_classes():
    dataset = data.from_arrays(series(), np.r_[np.zeros(20), np.ones(18), [2, 2]].astype(int))
    found = data.inspect(dataset).refused()
    assert [f.accept for f in found] == ["--accept rare-classes"]
    assert "1 of 3 classes have fewer than 3 rows, too few for three parts: '2' (2)" in found[0].message
    labels = np.zeros((40, 3), int)
    labels[::2, 0] = labels[::3, 1] = labels[0, 2] = labels[0, 0] = 1
    assert "rare-classes" in codes(data.from_arrays(series(), labels), severity="refuse")


def test_constant_targets():
    same = Dataset(series(), np.full((40, 1), 3.0, np.float32), "regression")
    assert message(same, "constant-target") == "the target is 3 everywhere"
    assert "constant-target" in codes(Dataset(series(), series()[:1].repeat(40, 0), "dense"), severity="refuse")
    two = np.column_stack([RNG.normal(size=40), np.ones(40)])
    assert "constant-target" in codes(data.from_arrays(series(), two), severity="warn")
    one = Dataset(series(), np.zeros(40, np.int64), "classification", ("a",))
    assert "constant-target" in codes(one, severity="refuse")
    labels = np.column_stack([np.arange(40) % 2, np.ones(40), np.arange(40) % 3 == 0])
    assert "constant-target" in codes(data.from_arrays(series(), labels), severity="warn")


@pytest.mark.parametrize("form", ["equal", "bijection", "text", "missing"])
def test_leakage_through_a_column(form):
    y = RNG.integers(0, 3, 60)
    leak = {
        "equal": y,
        "bijection": np.array([7.0, -2.0, 4.5])[y],
        "text": np.array(["x", "z", "y"])[y],
        "missing": np.where(y == 0, np.nan, RNG.normal(size=60)),
    }[form]
    target = y == 0 if form == "missing" else y
    dataset = data.from_arrays({"a": RNG.normal(size=60), "secret": leak, "b": RNG.integers(0, 3, 60)}, target)
    found = data.inspect(dataset).refused()
    assert [f.accept for f in found] == ["--accept leakage"]
    assert found[0].detail["features"] == [("missing values of " if form == "missing" else "") + "column 'secret'"]


def test_almost_leaking_columns_are_not_leakage():
    y = RNG.integers(0, 3, 60)
    almost = y.copy()
    almost[5] = (almost[5] + 1) % 3
    assert "leakage" not in codes(data.from_arrays({"a": almost, "b": RNG.normal(size=60)}, y))
    noisy = RNG.normal(size=60)
    dataset = data.from_arrays({"a": noisy + 0.01 * RNG.normal(size=60), "b": RNG.normal(size=60)}, noisy)
    assert "leakage" not in codes(dataset)


def test_agreement_by_chance_is_not_leakage():
    """10 rows and 400 random binary columns: some column equals the target by accident."""
    rng = np.random.default_rng(2)
    y = np.arange(10) % 2
    X = rng.integers(0, 2, (10, 2000)).astype(float)
    assert ((y[:, None] == X).all(axis=0) | (y[:, None] != X).all(axis=0)).any()
    assert "leakage" not in codes(data.from_arrays(X, y))


@pytest.mark.parametrize("form", ["scaled", "monotone", "negative"])
def test_leakage_of_a_number(form):
    y = RNG.normal(size=50)
    leak = {"scaled": 3 * y - 7, "monotone": np.exp(y), "negative": -(y**3)}[form]
    dataset = data.from_arrays({"a": RNG.normal(size=50), "b": leak}, y)
    assert data.inspect(dataset).refused()[0].detail["features"] == ["column 'b'"]


@pytest.mark.parametrize("statistic", ["mean", "minimum", "first value", "number of missing values"])
def test_leakage_through_a_channel(statistic):
    y = np.arange(60) % 2
    X = series(60, 2)
    if statistic == "mean":
        X[:, 1] = y[:, None]
    elif statistic == "minimum":
        X[:, 1, 5] = -50 - y
    elif statistic == "first value":
        X[:, 1, 0] = y
    else:
        X[y == 1, 1, 3] = np.nan
    found = data.inspect(data.from_arrays(X, y)).refused()
    assert any(f"the {statistic} of channel 1" in name for name in found[0].detail["features"])


def test_leakage_through_lengths_and_fields():
    y = np.arange(60) % 2
    dataset = data.from_arrays([RNG.normal(size=(1, 10 + 5 * k)) for k in y], y)
    assert "the length of the series" in message(dataset, "leakage")
    X = series(40, 2)
    assert "channel 1 of the input" in message(data.from_arrays(X, 2 * X[:, 1:]), "leakage")
    assert "leakage" not in codes(data.from_arrays(X, np.cumsum(X, axis=2)))


def test_column_that_decides():
    y = np.arange(80) % 2
    dataset = data.from_arrays({"site": 2 * RNG.integers(0, 2, 80) + y, "a": RNG.normal(size=80)}, y)
    assert "deciding-column" in codes(dataset, severity="warn")
    assert "leakage" not in codes(dataset)


def test_groups_straddling_and_too_few():
    dataset = data.from_arrays(series(60), np.arange(60) % 2, groups=np.arange(60) % 12)
    bad = parts(dataset, range(40), range(40, 50), range(50, 60))
    assert "groups-straddle" in codes(dataset, bad, "refuse")
    assert "groups-straddle" not in codes(dataset, data.split(dataset))
    few = data.from_arrays(series(60), np.arange(60) % 2, groups=np.arange(60) // 15)
    assert "few-groups" in codes(few, severity="warn")
    two = data.from_arrays(series(60), np.arange(60) % 2, groups=np.arange(60) // 30)
    assert "few-groups" in codes(two, severity="refuse")
    own = data.from_arrays(series(60), np.arange(60) % 2, groups=np.arange(60))
    assert "groups-trivial" in codes(own, severity="note")


def test_classes_of_one_group():
    y = np.arange(60) % 3
    assert "group-classes" in codes(data.from_arrays(series(60), y, groups=y), severity="refuse")
    mixed = np.where(y == 0, 0, np.arange(60) % 12 + 1)
    assert "group-classes" in codes(data.from_arrays(series(60), y, groups=mixed), severity="warn")


def test_identifiers_and_sorted_labels():
    dataset = data.from_arrays({"id": np.arange(60)[::-1] + 100, "a": RNG.normal(size=60)}, np.arange(60) % 2)
    assert codes(dataset) == {"identifier"}
    ordered = data.from_arrays(series(60), np.arange(60) // 20)
    assert codes(ordered) == {"sorted-labels"}


def test_notes_of_the_reader_and_few_rows():
    text = [f"p{i}" for i in range(25)]
    dataset = data.from_arrays({"id": text, "a": RNG.normal(size=25)}, np.arange(25) % 2)
    assert codes(dataset) == {"reading", "few-rows"}
    assert codes(series_without_target()) == {"no-target"}


def series_without_target():
    return data.from_arrays(series())


def test_summary_plan_and_plain_form():
    samples = ragged(60)
    dataset = data.from_arrays(samples, np.array(["a", "b", "c"] * 20), groups=np.arange(60) // 4)
    split = data.split(dataset)
    found = data.inspect(dataset, split)
    assert (found.rows, found.modality, found.kind) == (60, "series", "classification")
    assert found.classes == {"a": 20, "b": 20, "c": 20}
    assert found.lengths == (min(s.shape[1] for s in samples), max(s.shape[1] for s in samples))
    plan = "\n".join(found.plan)
    assert "series of 2 channels and" in plan
    assert "classification into 3 classes; 'y' holds text, 3 distinct values" in plan
    assert "split (grouped, seed 0) before anything is fitted: train" in plan
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["rows"] == 60
    assert plain["refused"] == []
    assert "name a target with --target" in data.inspect(series_without_target()).plan[-1]
    for kind in ("regression", "multilabel", "dense"):
        y = {"regression": RNG.normal(size=40), "multilabel": RNG.integers(0, 2, (40, 4)), "dense": series(seed=3)}[
            kind
        ]
        assert data.inspect(data.from_arrays(series(), y)).kind == kind
    gappy = data.from_arrays({"a": [1.0, np.nan] * 20, "b": ["u", "v", "w", "u"] * 10}, np.arange(40) % 2)
    assert any("filled with train medians" in line for line in data.inspect(gappy).plan)


def test_findings_come_refusals_first():
    y = RNG.integers(0, 3, 60)
    dataset = data.from_arrays({"a": y, "b": np.ones(60), "c": np.arange(60)}, y)
    order = [f.severity for f in data.inspect(dataset).findings]
    assert order == sorted(order, key=["refuse", "warn", "note"].index)
    assert order[0] == "refuse"


def test_unknown_acceptance():
    with pytest.raises(UsageError, match=r"--accept duplicate: there is no such finding\n.*did you mean 'duplicates'"):
        data.inspect(table(), accept=["duplicate"])
    with pytest.raises(UsageError, match="no such finding"):
        data.inspect(table()).refused(["all"])


def test_inspection_changes_nothing():
    dataset = table()
    before = data.dataset_digest(dataset)
    data.inspect(dataset, data.split(dataset))
    assert data.dataset_digest(dataset) == before
    assert data.dataset_digest(replace(dataset, y=dataset.y[::-1])) != before
