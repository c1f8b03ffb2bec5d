"""What must not change a transport cost, and what must: Hypothesis looks for counterexamples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crosstune import ot

D = torch.float64
few = settings(max_examples=25, deadline=None, derandomize=True)
costs = st.sampled_from(["sqeuclidean", "euclidean", "cosine"])
seeds = st.integers(0, 2**31)


def clouds(seed: int, *sizes: int, d: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=generator, dtype=D) for n in sizes]


def value(x: Tensor, y: Tensor, cost: str) -> float:
    return float(ot.exact(x, y, cost=cost).value)


@few
@given(seeds, st.integers(1, 30), st.integers(1, 30), costs)
def test_order_of_points_and_sides_do_not_matter(seed: int, n: int, m: int, cost: str) -> None:
    x, y = clouds(seed, n, m)
    base = value(x, y, cost)
    assert value(x.flip(0), y.roll(1, 0), cost) == pytest.approx(base, rel=1e-9, abs=1e-12)
    assert value(y, x, cost) == pytest.approx(base, rel=1e-9, abs=1e-12)


@few
@given(seeds, st.floats(0.01, 100.0))
def test_rigid_motions_and_scale(seed: int, scale: float) -> None:
    x, y, basis, shift = clouds(seed, 20, 12, 3, 1)
    rotation = torch.linalg.qr(basis).Q
    base = value(x, y, "euclidean")
    assert value(x @ rotation + shift, y @ rotation + shift, "euclidean") == pytest.approx(base, rel=1e-8)
    assert value(scale * x, scale * y, "euclidean") == pytest.approx(scale * base, rel=1e-8)
    assert value(scale * x, scale * y, "sqeuclidean") == pytest.approx(scale**2 * value(x, y, "sqeuclidean"), rel=1e-8)
    assert value(scale * x, y, "cosine") == pytest.approx(value(x, y, "cosine"), rel=1e-8, abs=1e-12)


@few
@given(seeds)
def test_triangle_inequality_of_w1_and_w2(seed: int) -> None:
    x, y, z = clouds(seed, 15, 10, 12)
    assert value(x, z, "euclidean") <= value(x, y, "euclidean") + value(y, z, "euclidean") + 1e-10
    w2 = [value(u, v, "sqeuclidean") ** 0.5 for u, v in ((x, z), (x, y), (y, z))]
    assert w2[0] <= w2[1] + w2[2] + 1e-10


def test_triangle_check_rejects_the_squared_distance() -> None:
    """W2 squared is no metric: on a line it breaks the triangle inequality that W2 keeps."""
    x, y, z = (torch.full((1, 1), v, dtype=D) for v in (0.0, 1.0, 2.0))
    assert value(x, z, "sqeuclidean") > value(x, y, "sqeuclidean") + value(y, z, "sqeuclidean")


@few
@given(seeds, st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_translation_splits_off_from_the_squared_cost(seed: int, by: list[float]) -> None:
    x, y = clouds(seed, 25, 25)
    t = torch.tensor(by, dtype=D)
    expected = value(x, y, "sqeuclidean") + float(t.square().sum() + 2 * t @ (y.mean(0) - x.mean(0)))
    assert value(x, y + t, "sqeuclidean") == pytest.approx(expected, rel=1e-8, abs=1e-10)


@few
@given(seeds, costs)
def test_plan_has_the_weights_as_marginals_and_few_arcs(seed: int, cost: str) -> None:
    x, y = clouds(seed, 18, 11)
    a, b = torch.rand(18, dtype=D) + 0.1, torch.rand(11, dtype=D) + 0.1
    coupling = ot.exact(x, y, a=a, b=b, cost=cost)
    plan = coupling.plan.dense()
    assert torch.allclose(plan.sum(1), a / a.sum(), atol=1e-12)
    assert torch.allclose(plan.sum(0), b / b.sum(), atol=1e-12)
    assert coupling.plan.mass.numel() <= 18 + 11 - 1
    assert coupling.gap < 1e-10


@few
@given(seeds)
def test_repeated_points_are_weights(seed: int) -> None:
    x, y = clouds(seed, 8, 6)
    times = torch.randint(1, 4, (8,), generator=torch.Generator().manual_seed(seed))
    repeated = value(x.repeat_interleave(times, 0), y, "sqeuclidean")
    assert float(ot.exact(x, y, a=times).value) == pytest.approx(repeated, rel=1e-9)


@few
@given(seeds, st.sampled_from([0.2, 1.0, 5.0]))
def test_sinkhorn_is_symmetric_and_not_negative(seed: int, epsilon: float) -> None:
    x, y = clouds(seed, 14, 9)
    there = float(ot.sinkhorn_divergence(x, y, epsilon=epsilon, tolerance=1e-8).value)
    back = float(ot.sinkhorn_divergence(y.flip(0), x, epsilon=epsilon, tolerance=1e-8).value)
    assert there == pytest.approx(back, rel=1e-6, abs=1e-9)
    assert there > -1e-9


@few
@given(seeds, st.sampled_from(["energy", "gaussian", "laplacian"]))
def test_kernel_distances_ignore_order_and_common_shift(seed: int, kernel: str) -> None:
    x, y = clouds(seed, 14, 9)
    base = float(ot.mmd(x, y, kernel=kernel, bandwidth=1.0).value)
    assert float(ot.mmd(x.flip(0) + 3, y + 3, kernel=kernel, bandwidth=1.0).value) == pytest.approx(base, rel=1e-7)
    assert float(ot.mmd(y, x, kernel=kernel, bandwidth=1.0).value) == pytest.approx(base, rel=1e-9)


@few
@given(seeds, st.sampled_from([1, 2]))
def test_sliced_never_exceeds_exact(seed: int, p: int) -> None:
    """A projection shortens distances, so every direction's cost is at most the cost in space."""
    x, y = clouds(seed, 14, 9)
    cost = "euclidean" if p == 1 else "sqeuclidean"
    sliced = float(ot.sliced(x, y, projections=20, p=p, generator=torch.Generator().manual_seed(seed)).value)
    assert sliced <= value(x, y, cost) + 1e-10


@few
@given(seeds)
def test_w1_is_at_most_w2(seed: int) -> None:
    x, y = clouds(seed, 12, 17)
    assert value(x, y, "euclidean") <= value(x, y, "sqeuclidean") ** 0.5 + 1e-10
