"""Invariants of splits under hypothesis, and what each strategy promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from crosstune import data
from crosstune.errors import DataError, UsageError
from crosstune.records import Dataset, Split

from .samples import series, table

PARTS = ("train", "validation", "test")


def is_partition(split: Split, n: int) -> bool:
    return sorted(np.concatenate([split.rows(p) for p in PARTS]).tolist()) == list(range(n))


def straddles(split: Split, labels: np.ndarray) -> bool:
    seen = [set(labels[split.rows(p)].tolist()) for p in PARTS]
    return bool(seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def random_data(seed: int, n: int, classes: int = 3, groups: int | None = None) -> Dataset:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    who = None if groups is None else np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)])
    return data.from_arrays(rng.normal(size=(n, 2)), y, groups=who, task="classification")


def test_checks_reject_the_smallest_wrong_splits():
    wrong = Split(np.array([0, 1]), np.array([1]), np.array([2]), "wrong", 0)
    assert not is_partition(wrong, 3)
    assert not is_partition(Split(np.array([0]), np.array([1]), np.array([], int), "wrong", 0), 3)
    assert straddles(wrong, np.array([0, 0, 1]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(6, 120), st.integers(2, 6), st.integers(0, 50))
def test_stratified(seed, n, classes, split_seed):
    classes = min(classes, n // 2)
    dataset = random_data(seed, n, classes)
    found = data.split(dataset, seed=split_seed)
    assert is_partition(found, n)
    assert all(len(found.rows(p)) for p in PARTS)
    assert set(dataset.y[found.train]) == set(dataset.y)
    for code, count in zip(*np.unique(dataset.y, return_counts=True)):
        got = [(dataset.y[found.rows(p)] == code).sum() for p in PARTS]
        assert np.abs(np.array(got) - count * np.array([0.6, 0.2, 0.2])).max() < 2.0
        assert count < 3 or min(got) >= 1
    again = data.split(dataset, seed=split_seed)
    assert all(np.array_equal(found.rows(p), again.rows(p)) for p in PARTS)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(12, 150), st.integers(3, 12), st.sampled_from(["auto", "stratified", "random"])
)
def test_groups_never_straddle_whatever_the_strategy(seed, n, groups, strategy):
    dataset = random_data(seed, n, 2, groups)
    found = data.split(dataset, seed=seed, strategy=strategy)
    assert is_partition(found, n)
    assert not straddles(found, dataset.groups)
    assert all(len(found.rows(p)) for p in PARTS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(10, 100))
def test_duplicates_stay_together(seed, n):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    source, copy = rng.choice(n, 4, replace=False).reshape(2, 2)
    X[copy] = X[source]
    found = data.split(data.from_arrays(X, np.arange(n) % 2), seed=seed)
    labels = np.arange(n)
    labels[copy] = labels[source]
    assert is_partition(found, n)
    assert not straddles(found, labels)
    assert any("2 rows are exact duplicates" in w for w in found.warnings)


def test_stratification_is_exact_on_even_classes():
    dataset = data.from_arrays(series(200), np.repeat([0, 1, 2, 3], [100, 60, 30, 10]))
    found = data.split(dataset, seed=3)
    counts = [np.bincount(dataset.y[found.rows(p)]).tolist() for p in PARTS]
    assert counts == [[60, 36, 18, 6], [20, 12, 6, 2], [20, 12, 6, 2]]


def test_grouped_parts_keep_classes_in_proportion():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 800)
    y = (rng.random(800) < (groups % 4 + 1) / 6).astype(int)
    found = data.split(data.from_arrays(rng.normal(size=(800, 3)), y, groups=groups), seed=0)
    assert found.strategy == "grouped"
    assert [len(found.rows(p)) for p in PARTS] == pytest.approx([480, 160, 160], abs=16)
    assert [y[found.rows(p)].mean() for p in PARTS] == pytest.approx([y.mean()] * 3, abs=0.03)


def test_multilabel_parts_keep_label_shares():
    rng = np.random.default_rng(0)
    y = (rng.random((400, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.025]).astype(int)
    found = data.split(data.from_arrays(rng.normal(size=(400, 3)), y), seed=0)
    assert is_partition(found, 400)
    shares = np.array([y[found.rows(p)].sum(axis=0) / y.sum(axis=0) for p in PARTS])
    assert np.abs(shares - np.array([[0.6], [0.2], [0.2]])).max() < 0.1


def test_regression_parts_have_alike_targets():
    y = np.random.default_rng(0).lognormal(size=300)
    dataset = data.from_arrays(series(300), y)
    found = data.split(dataset)
    means = [np.log(dataset.y[found.rows(p)]).mean() for p in PARTS]
    assert found.strategy == "stratified"
    assert means == pytest.approx([np.log(y).mean()] * 3, abs=0.1)


def test_temporal_keeps_the_order_and_ties():
    rng = np.random.default_rng(0)
    time = rng.integers(0, 50, 200)
    dataset = data.from_arrays(rng.normal(size=(200, 3)), rng.normal(size=200), time=time)
    found = data.split(dataset)
    assert found.strategy == "temporal"
    assert is_partition(found, 200)
    assert time[found.train].max() < time[found.validation].min()
    assert time[found.validation].max() < time[found.test].min()
    assert abs(len(found.train) - 120) <= 6


def test_temporal_with_groups_keeps_groups_and_says_what_overlaps():
    rng = np.random.default_rng(0)
    groups = np.arange(100) // 10
    dataset = data.from_arrays(
        rng.normal(size=(100, 3)), rng.normal(size=100), time=np.arange(100) + groups % 2 * 15, groups=groups
    )
    found = data.split(dataset, strategy="temporal")
    assert not straddles(found, groups)
    assert any("later than the first of" in w for w in found.warnings)
    assert any("time column was not used" in w for w in data.split(dataset).warnings)


def test_rare_classes_go_to_train_first():
    y = np.array([0] * 20 + [1] * 2 + [2])
    dataset = data.from_arrays(series(23), y, task="classification")
    for seed in range(5):
        found = data.split(dataset, seed=seed)
        assert set(y[found.train]) == {0, 1, 2}
        assert any("classes have no row in test" in w for w in found.warnings)


@pytest.mark.parametrize("n", [4, 5, 6, 7, 8])
def test_tiny(n):
    found = data.split(data.from_arrays(series(n), np.arange(n) % 2), seed=1)
    assert is_partition(found, n)
    assert all(len(found.rows(p)) for p in PARTS)


def test_too_few_says_how_many():
    with pytest.raises(DataError, match=r"3 rows cannot be split into 3 parts\n.*at least 4 rows are needed"):
        data.split(data.from_arrays(series(3), np.arange(3) % 2))
    dataset = data.from_arrays(series(8), np.arange(8) % 2, groups=np.arange(8) // 4)
    with pytest.raises(DataError, match=r"2 groups cannot fill 3 parts[\s\S]*at least 3 groups"):
        data.split(dataset)
    assert len(data.split(dataset, fractions=(0.5, 0.5, 0)).test) == 0
    same = data.from_arrays(series(8), np.arange(8) % 2, time=np.zeros(8))
    with pytest.raises(DataError, match="1 distinct times cannot fill 3 parts"):
        data.split(same)


def test_fractions():
    dataset = table(100)
    found = data.split(dataset, fractions=(0.5, 0.5, 0.0))
    assert [len(found.rows(p)) for p in PARTS] == pytest.approx([50, 50, 0], abs=1)
    for wrong in [(0.5, 0.2, 0.2), (0, 0.5, 0.5), (1.2, -0.1, -0.1), (0.5, 0.5)]:
        with pytest.raises(UsageError, match="three shares that sum to 1"):
            data.split(dataset, fractions=wrong)


def test_seeds_differ_and_strategies_are_checked():
    dataset = table()
    assert not np.array_equal(data.split(dataset, seed=0).train, data.split(dataset, seed=1).train)
    with pytest.raises(UsageError, match=r"unknown split strategy 'kfold'\n.*stratified"):
        data.split(dataset, strategy="kfold")
    with pytest.raises(DataError, match="needs `groups`"):
        data.split(dataset, strategy="grouped")
    with pytest.raises(DataError, match="needs a target"):
        data.split(data.from_arrays(series()), strategy="stratified")


def test_mostly_equal_rows_still_split():
    dataset = data.from_arrays(np.repeat(np.eye(2), 50, axis=0)[:, :2], np.arange(100) % 2)
    found = data.split(dataset)
    assert_array_equal([len(found.rows(p)) for p in PARTS], [60, 20, 20])
    assert any("could not all be kept in one part" in w for w in found.warnings)


def test_dense_is_random():
    found = data.split(data.from_arrays(series(), series(seed=1)))
    assert found.strategy == "random"
    assert [len(found.rows(p)) for p in PARTS] == [24, 8, 8]
