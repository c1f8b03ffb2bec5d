"""The debiased Sinkhorn divergence: identities that hold for every epsilon, POT as witness, certificates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import ot as pot
from crosstune import ot
from crosstune.errors import UsageError
from crosstune.ot import entropic

D = torch.float64


def cloud(n: int, d: int, seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=D)


def check_translation(divergence: Callable[[Tensor, Tensor], Tensor]) -> None:
    """For the squared cost a translate by t is |t|^2 away, with gradient 2 t / n, whatever epsilon is."""
    x, t = cloud(40, 4, 0), torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=D)
    y = (x + t).requires_grad_()
    value = divergence(x, y)
    value.backward()
    assert float(value.detach()) == pytest.approx(float(t.square().sum()), rel=1e-6)
    assert torch.allclose(y.grad, (2 * t / 40).expand(40, 4), atol=1e-6)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_translation_for_every_epsilon(epsilon: float) -> None:
    check_translation(lambda x, y: ot.sinkhorn_divergence(x, y, epsilon=epsilon, tolerance=1e-8).value)


def test_translation_rejects_the_biased_divergence() -> None:
    with pytest.raises(AssertionError):
        check_translation(lambda x, y: ot.sinkhorn_divergence(x, y, epsilon=10.0, debiased=False).value)


def test_translation_rejects_half_the_squared_distance() -> None:
    with pytest.raises(AssertionError):
        check_translation(lambda x, y: 0.5 * ot.sinkhorn_divergence(x, y, epsilon=2.0).value)


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_self_distance_is_zero_to_rounding(cost: str, dtype: torch.dtype) -> None:
    x = cloud(80, 5, 0).to(dtype)
    y = x.clone().requires_grad_()
    coupling = ot.sinkhorn_divergence(x, y, epsilon=0.05, cost=cost)
    coupling.value.backward()
    assert abs(float(coupling.value.detach())) < 1e-6
    assert float(y.grad.abs().max()) < 1e-5
    assert coupling.converged


def test_plan_matches_pot() -> None:
    x, y = cloud(30, 3, 0), cloud(20, 3, 1)
    a = torch.rand(30, dtype=D, generator=torch.Generator().manual_seed(2))
    a = a / a.sum()
    b = torch.full((20,), 1 / 20, dtype=D)
    costs = torch.cdist(x, y).square()
    expected = pot.sinkhorn(a, b, costs, 0.5, method="sinkhorn_log", stopThr=1e-12, numItermax=20_000)
    coupling = ot.sinkhorn_divergence(x, y, a=a, epsilon=0.5, tolerance=1e-10, debiased=False)
    assert torch.allclose(coupling.plan.dense(), expected, atol=1e-9)
    assert coupling.linear_cost == pytest.approx(float((expected * costs).sum()), rel=1e-8)
    rows, cols, mass = coupling.plan.pairs(threshold=1e-3)
    assert torch.allclose(coupling.plan.dense()[rows, cols], mass)


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "cosine"])
def test_gradients_by_finite_differences(cost: str, debiased: bool) -> None:
    def value(u: Tensor, v: Tensor) -> Tensor:
        return ot.sinkhorn_divergence(u, v, epsilon=0.3, cost=cost, tolerance=1e-11, debiased=debiased).value

    x, y = cloud(6, 2, 0).requires_grad_(), cloud(4, 2, 1).requires_grad_()
    assert torch.autograd.gradcheck(value, (x, y), eps=1e-5, atol=1e-6)


def test_blocks_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = cloud(300, 6, 0), cloud(70, 6, 1)

    def run() -> tuple[float, Tensor, float]:
        leaf = y.clone().requires_grad_()
        coupling = ot.sinkhorn_divergence(x, leaf, epsilon=1.0, tolerance=1e-9)
        coupling.value.backward()
        return float(coupling.value.detach()), leaf.grad, coupling.linear_cost

    whole = run()
    monkeypatch.setattr(entropic, "KEEP_BYTES", 0)
    monkeypatch.setattr(entropic, "BLOCK_BYTES", 4 * 70 * 8 * 13)
    parts = run()
    assert parts[0] == pytest.approx(whole[0], rel=1e-8)
    assert torch.allclose(parts[1], whole[1], atol=1e-9)
    assert parts[2] == pytest.approx(whole[2], rel=1e-7)


def test_stopping_early_is_a_status() -> None:
    coupling = ot.sinkhorn_divergence(cloud(50, 3, 0), cloud(40, 3, 1), epsilon=0.001, max_iterations=2)
    assert not coupling.converged
    assert coupling.marginal_error > 1e-4
    done = ot.sinkhorn_divergence(cloud(50, 3, 0), cloud(40, 3, 1), epsilon=0.1, tolerance=1e-7)
    assert done.converged
    plan = done.plan.dense()
    assert float((plan.sum(1) - 1 / 50).abs().sum()) < 2e-7


def test_certificate_is_the_real_marginal_error() -> None:
    coupling = ot.sinkhorn_divergence(cloud(600, 3, 0), cloud(550, 3, 1), epsilon=0.2, max_iterations=8, debiased=False)
    plan = coupling.plan.dense()
    real = float((plan.sum(1) - 1 / 600).abs().sum() + (plan.sum(0) - 1 / 550).abs().sum())
    assert coupling.marginal_error == pytest.approx(real, rel=1e-6)


def test_prepared_self_term_is_computed_once_and_warm_starts_shorten() -> None:
    source, y = ot.prepare(cloud(200, 4, 0)), cloud(50, 4, 1)
    first = ot.sinkhorn_divergence(source, y, epsilon=0.5)
    second = ot.sinkhorn_divergence(source, y, epsilon=0.5, warm=first.potentials)
    assert second.iterations < first.iterations
    assert float(second.value) == pytest.approx(float(first.value), rel=1e-5)
    assert any(isinstance(key, tuple) and key[0] == "sinkhorn" for key in source.cache)


def test_weights_of_the_source_are_not_mixed_up_with_the_cached_self_term() -> None:
    points, y = cloud(40, 3, 0), cloud(30, 3, 1)
    source = ot.prepare(points)
    ot.sinkhorn_divergence(source, y, epsilon=0.5)
    a = torch.linspace(1, 2, 40, dtype=D)
    cached = ot.sinkhorn_divergence(source, y, epsilon=0.5, a=a).value
    assert float(cached) == pytest.approx(float(ot.sinkhorn_divergence(points, y, epsilon=0.5, a=a).value), rel=1e-9)


def test_epsilon_must_be_positive() -> None:
    with pytest.raises(UsageError, match=r"epsilon is 0\.0, expected a positive number in cost units"):
        ot.sinkhorn_divergence(cloud(5, 2, 0), cloud(5, 2, 1), epsilon=0.0)
