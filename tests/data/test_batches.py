"""Batches cover the data, and a restored sampler goes on as if nothing had happened."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from crosstune import data
from crosstune.errors import UsageError

from .samples import ragged, series


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def test_collate_trims_to_the_longest():
    samples = ragged()
    dataset = data.from_arrays(samples, np.arange(30) % 3)
    rows = np.array([4, 1, 9])
    batch = data.collate(dataset, rows)
    longest = max(samples[r].shape[1] for r in rows)
    assert batch["X"].shape == (3, 2, longest)
    assert_array_equal(batch["mask"].sum(axis=1), batch["lengths"])
    assert_array_equal(batch["X"][0, :, : samples[4].shape[1]], samples[4])
    assert_array_equal(batch["y"], dataset.y[rows])
    plain = data.collate(data.from_arrays(series()), rows)
    assert set(plain) == {"X"}
    dense = data.from_arrays(samples, samples)
    assert data.collate(dense, rows)["y"].shape == (3, 2, longest)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.sampled_from(["plain", "stratify", "lengths"]), st.integers(0, 25))
def test_epochs_cover_every_row_once_and_state_resumes(n, size, mode, stop):
    options = {} if mode == "plain" else {mode: np.arange(n) % 4 + 1}
    sampler = data.BatchSampler(n, size, generator(), **options)
    for _ in range(2):
        epoch = [next(sampler) for _ in range(sampler.batches_per_epoch)]
        assert sorted(np.concatenate(epoch).tolist()) == list(range(n))
        assert max(map(len, epoch)) <= size
    for _ in range(stop):
        next(sampler)
    state = json.loads(json.dumps(sampler.state_dict()))
    expected = [next(sampler).tolist() for _ in range(2 * sampler.batches_per_epoch)]
    again = data.BatchSampler(n, size, generator(99), **options)
    again.load_state_dict(state)
    assert [next(again).tolist() for _ in range(2 * again.batches_per_epoch)] == expected
    assert again.state_dict() == sampler.state_dict()


def test_state_before_the_first_batch():
    state = data.BatchSampler(10, 3, generator(4)).state_dict()
    other = data.BatchSampler(10, 3, generator(5))
    other.load_state_dict(state)
    assert_array_equal(next(other), next(data.BatchSampler(10, 3, generator(4))))


def test_stratified_batches_hold_every_class_in_proportion():
    labels = np.repeat([0, 1, 2], [64, 24, 8])
    sampler = data.BatchSampler(96, 12, generator(), stratify=labels)
    plain = data.BatchSampler(96, 12, generator())
    spread = {}
    for name, source in (("stratified", sampler), ("plain", plain)):
        counts = np.array([np.bincount(labels[next(source)], minlength=3) for _ in range(80)])
        spread[name] = np.abs(counts - [8, 3, 1]).max(axis=0)
    assert (spread["stratified"] <= 1).all()
    assert (spread["plain"] > 1).all()


def test_bucketed_batches_waste_less():
    lengths = np.random.default_rng(0).integers(1, 200, 500)

    def padding(batches):
        return sum(int(lengths[b].max()) * len(b) for b in batches) / lengths.sum() - 1

    shuffled = data.length_bucketed_batches(lengths, 16, generator())
    ordered = data.length_bucketed_batches(lengths, 16)
    random = [next(data.BatchSampler(500, 16, generator()))] * 1
    assert sorted(np.concatenate(shuffled).tolist()) == list(range(500))
    assert padding(ordered) < 0.1
    assert padding(shuffled) < 0.1
    assert int(lengths[random[0]].max()) * 16 / lengths[random[0]].sum() - 1 > 0.3
    first = [int(lengths[b].max()) for b in shuffled]
    assert first != sorted(first)


def test_wrong_use():
    with pytest.raises(UsageError, match="batches of 0 from 5 rows"):
        data.BatchSampler(5, 0, generator())
    with pytest.raises(UsageError, match="pass one of the two"):
        data.BatchSampler(5, 2, generator(), stratify=np.zeros(5), lengths=np.ones(5))
    with pytest.raises(UsageError, match="stratify has 4 entries for 5 rows"):
        data.BatchSampler(5, 2, generator(), stratify=np.zeros(4))
    with pytest.raises(UsageError, match="resume with the data and batch size"):
        data.BatchSampler(5, 2, generator()).load_state_dict(data.BatchSampler(6, 2, generator()).state_dict())


def test_sequential():
    assert [b.tolist() for b in data.sequential_batches(5, 2)] == [[0, 1], [2, 3], [4]]
