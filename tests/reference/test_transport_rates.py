"""Not only the limits but the rates at which they are reached, and Gaussians with known distances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from crosstune import ot

D = torch.float64


def cloud(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=D)


def slope(x: list[float], y: list[float]) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def test_entropic_cost_exceeds_the_exact_one_like_epsilon() -> None:
    """<P_e, C> - OT is about d e / 2 for d-dimensional densities, as long as e is above the spacing of the points."""
    x, y = cloud(500, 2, 0), cloud(500, 2, 1) + 1
    optimum = ot.exact(x, y).linear_cost
    epsilons = [1.0, 0.5, 0.25]
    excess = [
        ot.sinkhorn_divergence(x, y, epsilon=e, tolerance=1e-7, debiased=False).linear_cost - optimum for e in epsilons
    ]
    assert all(e > 0 for e in excess)
    assert slope(epsilons, excess) == pytest.approx(1.0, abs=0.35)


def test_entropic_cost_is_exponentially_close_at_the_discrete_scale() -> None:
    """Below the gap of the linear program the excess falls like exp(-gap / e) (Cominetti & San Martin 1994)."""
    x, y = cloud(12, 2, 0), cloud(12, 2, 1)
    optimum = ot.exact(x, y).linear_cost
    excess = [
        ot.sinkhorn_divergence(x, y, epsilon=e, tolerance=1e-9, debiased=False).linear_cost - optimum
        for e in (0.04, 0.02, 0.01)
    ]
    assert excess[2] < 0.05 * excess[1]  # a power law of order one would give 0.5, one of order four 0.06
    assert math.log(excess[1] / excess[2]) == pytest.approx(2 * math.log(excess[0] / excess[1]), rel=0.2)


def test_debiased_divergence_approaches_the_exact_cost_faster_than_linearly() -> None:
    """For smooth densities S_e - W2^2 = O(e^2) (Chizat et al. 2020), while the biased value misses by O(e log e)."""
    x = cloud(700, 1, 0)
    y = 1.5 * x + 2
    optimum = ot.exact(x, y).linear_cost
    epsilons = [2.0, 1.0, 0.5]
    gaps = [abs(float(ot.sinkhorn_divergence(x, y, epsilon=e, tolerance=1e-8).value) - optimum) for e in epsilons]
    assert slope(epsilons, gaps) > 1.4
    biased = abs(float(ot.sinkhorn_divergence(x, y, epsilon=0.5, debiased=False).value) - optimum)
    assert biased > 10 * gaps[-1]


@pytest.mark.parametrize(("d", "rate"), [(1, -0.5), (6, -1 / 6)])
def test_w1_between_samples_of_one_law_falls_like_its_theory(d: int, rate: float) -> None:
    """n^(-1/2) on the line, n^(-1/d) for d > 2 (Dudley 1969; Fournier & Guillin 2015)."""
    sizes = [50, 200, 800]
    means = []
    for n in sizes:
        runs = [ot.exact(cloud(n, d, 2 * s), cloud(n, d, 2 * s + 1), cost="euclidean").linear_cost for s in range(6)]
        means.append(float(np.mean(runs)))
    assert slope([float(n) for n in sizes], means) == pytest.approx(rate, abs=0.12)


def test_equal_covariances_are_their_mean_difference_apart() -> None:
    """W1 = W2 = |m - m'| for translates: exact for the same sample moved."""
    x, shift = cloud(400, 5, 0), torch.tensor([1.0, 2.0, 0.0, -2.0, 0.0], dtype=D)
    assert ot.exact(x, x + shift, cost="euclidean").linear_cost == pytest.approx(3.0, rel=1e-10)
    assert ot.exact(x, x + shift).linear_cost == pytest.approx(9.0, rel=1e-10)


def test_gaussians_match_bures_within_sampling_error() -> None:
    """The optimal map between Gaussians is linear, so a sample and its image are exactly Bures apart."""
    x = cloud(600, 3, 0)
    x = (x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T, correction=0))).T
    stretch = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, 0.1], [0.0, 0.1, 0.5]], dtype=D)  # symmetric positive
    y = x @ stretch + 1.0
    closed = 3.0 + float((stretch - torch.eye(3, dtype=D)).square().sum())
    assert ot.exact(x, y).linear_cost == pytest.approx(closed, rel=1e-9)
    zero = torch.zeros(600, dtype=torch.int64)
    label = ot.dataset_distance(x, zero, y, zero).details["label_distance"]
    assert float(label) == pytest.approx(closed, rel=1e-9)
    independent = (cloud(600, 3, 7) @ stretch) + 1.0
    assert ot.exact(x, independent).linear_cost == pytest.approx(closed, rel=0.25)


def test_sliced_distance_of_a_translation_converges_like_one_over_sqrt_projections() -> None:
    x = cloud(30, 8, 0)
    t = torch.zeros(8, dtype=D)
    t[0] = 4.0
    truth = 16.0 / 8
    errors = []
    for count in (25, 400):
        runs = [
            float(ot.sliced(x, x + t, projections=count, generator=torch.Generator().manual_seed(s)).value) - truth
            for s in range(40)
        ]
        errors.append(math.sqrt(float(np.mean(np.square(runs)))))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.4)


@pytest.mark.slow
def test_fifty_thousand_points_stay_within_two_gibibytes() -> None:
    """Peak memory, data included: 50,000 x 4,096 features against 128 points, and 50,000 x 4,096 points."""
    import subprocess
    import sys

    script = """
import resource, torch
from crosstune import ot
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
base = peak()
x = torch.randn(50_000, 4096)
y = (0.5 * torch.randn(128, 4096) + 0.3).requires_grad_()
ot.exact(x, y).value.backward()
ot.sinkhorn_divergence(x, y, epsilon=100.0, debiased=False).value.backward()
ot.sliced(x, y, projections=64).value.backward()
del x
x, y = torch.randn(50_000, 8), torch.randn(4096, 8, requires_grad=True)
ot.sinkhorn_divergence(x, y, epsilon=1.0, debiased=False, max_iterations=3).value.backward()
ot.mmd(x, y).value.backward()
ot.sliced(x, y, projections=64).value.backward()
print(peak() - base)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(out.stdout) < 2.0
