"""Identities of entropies under relabelling, merging and mixing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crosstune import information as info

D = torch.float64
few = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)
sizes = st.tuples(st.integers(2, 40), st.integers(1, 6), st.integers(1, 5), st.floats(0.1, 8.0))


def draw(seed: int, shape: tuple[int, int, int, float]) -> tuple[Tensor, Tensor, int]:
    n, k, c, sharpness = shape
    generator = torch.Generator().manual_seed(seed)
    probs = torch.softmax(sharpness * torch.randn(n, k, generator=generator, dtype=D), dim=1)
    return probs, torch.randint(c, (n,), generator=generator), c


@few
@given(seeds, sizes)
def test_relabelling_changes_nothing(seed: int, shape: tuple[int, int, int, float]) -> None:
    probs, labels, c = draw(seed, shape)
    generator = torch.Generator().manual_seed(seed + 1)
    swap_z = torch.randperm(shape[1], generator=generator)
    swap_y = torch.randperm(c, generator=generator)
    order = torch.randperm(len(labels), generator=generator)
    other, names = probs[order][:, swap_z], swap_y[labels[order]]
    for corrected in (False, True):
        for direction in ("z_given_label", "label_given_z"):
            args = {"direction": direction, "bias_correction": corrected, "num_labels": c}
            before = float(info.conditional_entropy(probs, labels, **args))  # type: ignore[arg-type]
            after = float(info.conditional_entropy(other, names, **args))  # type: ignore[arg-type]
            assert after == pytest.approx(before, abs=1e-10)
    assert float(info.leep(other, names, num_labels=c)) == pytest.approx(float(info.leep(probs, labels, num_labels=c)))


@few
@given(seeds, sizes)
def test_chain_rule_and_ranges(seed: int, shape: tuple[int, int, int, float]) -> None:
    probs, labels, c = draw(seed, shape)
    joint = info.joint_distribution(probs, labels, c)
    hz, hy = float(info.marginal_entropy(probs)), info.label_entropy(labels, c)
    z_given = float(info.conditional_entropy(probs, labels))
    y_given = float(info.conditional_entropy(probs, labels, direction="label_given_z"))
    total = float(info.entropy(joint.flatten()))
    assert total == pytest.approx(hy + z_given, abs=1e-10)
    assert total == pytest.approx(hz + y_given, abs=1e-10)
    mutual = float(info.mutual_information(probs, labels))
    assert mutual == pytest.approx(hy - y_given, abs=1e-10)
    assert -1e-10 <= mutual <= min(hz, hy, math.log(shape[1])) + 1e-10
    assert y_given >= info.label_floor(labels, shape[1], c) - 1e-10


@few
@given(seeds, sizes)
def test_leep_lies_between_the_prior_and_the_conditional_entropy(seed: int, shape: tuple[int, int, int, float]) -> None:
    """-LEEP <= H(z' | z) by Jensen's inequality, and H(z' | z) <= H(z')."""
    probs, labels, c = draw(seed, shape)
    distortion = float(info.conditional_entropy(probs, labels, direction="label_given_z", num_labels=c))
    assert -float(info.leep(probs, labels, num_labels=c)) <= distortion + 1e-10
    assert distortion <= info.label_entropy(labels, c) + 1e-10


def test_leep_inequality_rejects_the_other_conditional_entropy() -> None:
    """With H(z | z') in its place (the two are easily confused) the inequality fails."""
    labels = torch.arange(12) % 4
    probs = torch.nn.functional.one_hot(torch.zeros(12).long(), 2).to(D)
    assert -float(info.leep(probs, labels)) > float(info.conditional_entropy(probs, labels)) + 0.5


@few
@given(seeds, sizes)
def test_merging_source_labels_loses_information(seed: int, shape: tuple[int, int, int, float]) -> None:
    n, k, c, sharpness = shape
    probs, labels, _ = draw(seed, (n, k + 1, c, sharpness))
    merged = torch.cat([probs[:, :1] + probs[:, 1:2], probs[:, 2:]], dim=1)
    assert float(info.mutual_information(merged, labels)) <= float(info.mutual_information(probs, labels)) + 1e-10


@few
@given(seeds, sizes)
def test_weights_are_repetitions(seed: int, shape: tuple[int, int, int, float]) -> None:
    probs, labels, c = draw(seed, shape)
    times = torch.randint(1, 4, (len(labels),), generator=torch.Generator().manual_seed(seed))
    repeated = info.leep(probs.repeat_interleave(times, 0), labels.repeat_interleave(times, 0), num_labels=c)
    assert float(info.leep(probs, labels, weights=times, num_labels=c)) == pytest.approx(float(repeated))
