"""Alignment and uniformity against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from crosstune.information import class_alignment, uniformity


def test_one_point_per_class_is_perfectly_aligned() -> None:
    features = torch.tensor([[1.0, 0], [0, 1], [3, 0], [0, 0.5]])
    labels = torch.tensor([0, 1, 0, 1])
    assert float(class_alignment(features, labels)) == pytest.approx(0, abs=1e-6)
    # the wrong pairs: orthogonal, squared distance 2; opposite ones would have 4
    assert float(class_alignment(features, torch.tensor([0, 0, 1, 1]))) == pytest.approx(2)
    assert float(class_alignment(torch.tensor([[1.0], [-2.0]]), torch.zeros(2))) == pytest.approx(4)


def test_alignment_is_the_mean_over_pairs() -> None:
    """Three rows of one class at angles 0, a, b: the mean of 2 - 2 cos over the three pairs."""
    a, b = 0.3, 1.1
    features = torch.tensor([[math.cos(t), math.sin(t)] for t in (0, a, b)])
    expected = sum(2 - 2 * math.cos(t) for t in (a, b, b - a)) / 3
    assert float(class_alignment(features, torch.zeros(3))) == pytest.approx(expected, abs=1e-6)


def test_uniformity_of_few_points_in_closed_form() -> None:
    assert float(uniformity(torch.ones(5, 3))) == pytest.approx(0, abs=1e-6)
    antipodes = torch.tensor([[1.0, 0], [-1, 0]])
    assert float(uniformity(antipodes)) == pytest.approx(-8)
    assert float(uniformity(antipodes, t=0.5)) == pytest.approx(-2)
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    expected = math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6)
    assert float(uniformity(square)) == pytest.approx(expected, rel=1e-6)


def test_uniformity_of_a_uniform_cloud_is_the_integral_on_the_sphere() -> None:
    """On the sphere in three dimensions cos is uniform in [-1, 1]: the mean of exp(-4 (1 - c)) is (1 - exp(-8)) / 8."""
    features = torch.randn(1500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(uniformity(features)) == pytest.approx(math.log((1 - math.exp(-8)) / 8), abs=0.02)


def test_no_pairs_is_zero_with_a_gradient() -> None:
    features = torch.randn(3, 4, requires_grad=True)
    assert float(class_alignment(features, torch.arange(3)).detach()) == 0
    loss = class_alignment(features, torch.arange(3)) + uniformity(features[:1])
    loss.backward()
    assert float(loss.detach()) == 0
    assert features.grad is not None
    assert float(features.grad.abs().sum()) == 0
