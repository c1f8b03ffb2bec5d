"""Exact transport against closed forms, POT, scipy's assignment and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance
from torch import Tensor

import ot as pot
from crosstune import ot
from crosstune.errors import DataError, UsageError
from crosstune.ot.geometry import cost_block

D = torch.float64


def cloud(n: int, d: int, seed: int, scale: float = 1.0, dtype: torch.dtype = D) -> Tensor:
    return (scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=D)).to(dtype)


def check_duality(x: Tensor, y: Tensor, coupling: ot.Coupling, tolerance: float) -> None:
    """Feasible potentials whose value equals the plan's: a proof of optimality that needs no other solver."""
    f, g = coupling.potentials
    costs = cost_block(x.double(), y.double(), coupling.cost)
    assert float((costs - f[:, None] - g[None, :]).min()) > -tolerance
    plan = coupling.plan.dense()
    primal = float((plan * costs).sum())
    dual = float((plan.sum(1) * f).sum() + (plan.sum(0) * g).sum())
    assert abs(primal - dual) < tolerance
    assert abs(primal - coupling.linear_cost) < tolerance * (1 + abs(primal))


def test_one_dimension_is_sorted_differences() -> None:
    x, y = cloud(200, 1, 0), cloud(200, 1, 1, 2.0)
    apart = (x.squeeze().sort().values - y.squeeze().sort().values).abs()
    assert float(ot.exact(x, y, cost="euclidean").value) == pytest.approx(float(apart.mean()), rel=1e-12)
    assert float(ot.exact(x, y).value) == pytest.approx(float(apart.square().mean()), rel=1e-12)
    z = cloud(31, 1, 2)
    expected = wasserstein_distance(x.squeeze(), z.squeeze())
    assert float(ot.exact(x, z, cost="euclidean").value) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "cosine"])
def test_equal_sizes_match_scipy_assignment(cost: str) -> None:
    x, y = cloud(60, 7, 0), cloud(60, 7, 1)
    costs = torch.cdist(x, y).numpy()
    if cost == "sqeuclidean":
        costs = costs**2
    if cost == "cosine":
        costs = (1 - torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(y).T).numpy()
    rows, cols = linear_sum_assignment(costs)
    assert ot.exact(x, y, cost=cost).linear_cost == pytest.approx(costs[rows, cols].mean(), rel=1e-10)


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_that_of_the_float64_linear_program(cost: str, dtype: torch.dtype) -> None:
    x, y = cloud(1500, 24, 0), 0.5 * cloud(96, 24, 1) + 0.3
    leaf = y.to(dtype, copy=True).requires_grad_()
    coupling = ot.exact(ot.prepare(x.to(dtype), cost=cost), leaf, cost=cost)
    coupling.value.backward()
    reference = y.clone().requires_grad_()
    costs = cost_by_hand(x, reference, cost)
    plan = torch.from_numpy(pot.emd(np.full(1500, 1 / 1500), np.full(96, 1 / 96), costs.detach().numpy()))
    expected = (plan * costs).sum()
    expected.backward()
    assert "certified" in coupling.solver
    assert coupling.converged
    assert coupling.gap < 1e-6
    cosine = torch.nn.functional.cosine_similarity(leaf.grad.double().flatten(), reference.grad.flatten(), dim=0)
    assert float(cosine) > 1 - 1e-6
    assert float((leaf.grad.double() - reference.grad).abs().max()) < 1e-5
    assert coupling.linear_cost == pytest.approx(float(expected.detach()), rel=1e-6)


def cost_by_hand(x: Tensor, y: Tensor, cost: str) -> Tensor:
    if cost == "cosine":
        return 1 - torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(y).T
    squared = (x[:, None] - y[None]).square().sum(2)
    return squared if cost == "sqeuclidean" else squared.sqrt()


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "cosine"])
def test_gradients_to_both_clouds_by_finite_differences(cost: str) -> None:
    a = torch.rand(9, dtype=D, generator=torch.Generator().manual_seed(2))
    x, y = cloud(9, 3, 0).requires_grad_(), cloud(5, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda u, v: ot.exact(u, v, a=a, cost=cost).value, (x, y), eps=1e-6, atol=1e-6)


def test_gradient_check_rejects_the_halved_cost() -> None:
    """The convention matters: with half the squared distance the same check must fail."""

    def halved(u: Tensor, v: Tensor) -> Tensor:
        value = ot.exact(u, v).value
        return value.detach() + 0.5 * (value - value.detach())

    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(halved, (cloud(6, 2, 0).requires_grad_(), cloud(4, 2, 1).requires_grad_()))


def hard_cases() -> dict[str, tuple[Tensor, Tensor]]:
    """Clouds on which reducing the program is difficult: ties, clusters, lines, collapse, offsets."""
    n, m = 1200, 90
    centres = cloud(8, 6, 9, 10.0)
    codes = torch.arange(n) % 8
    ints = torch.randint(0, 3, (n, 4), generator=torch.Generator().manual_seed(3)).to(D)
    return {
        "gauss": (cloud(n, 6, 0), cloud(m, 6, 1, 0.5)),
        "wide": (cloud(n, 64, 0), cloud(m, 64, 1, 0.3) + 1),
        "clusters": (centres[codes] + 0.1 * cloud(n, 6, 0), centres[codes[:m] % 3] + 0.1 * cloud(m, 6, 1)),
        "duplicates": (cloud(20, 5, 0)[torch.arange(n) % 20], cloud(5, 5, 1)[torch.arange(m) % 5]),
        "integers": (ints, ints[:m].clone()),
        "collapsed": (cloud(n, 6, 0), 1.0 + 1e-4 * cloud(m, 6, 1)),
        "line": (torch.linspace(0, 1, n, dtype=D)[:, None], torch.linspace(0, 1, m, dtype=D)[:, None]),
        "subset": (cloud(n, 6, 0), cloud(n, 6, 0)[:m]),
        "offset": (cloud(n, 6, 0) + 1000, cloud(m, 6, 1) + 1000),
        "tiny": (1e-6 * cloud(n, 6, 0), 1e-6 * cloud(m, 6, 1)),
        "constant": (torch.ones(n, 3, dtype=D), torch.zeros(m, 3, dtype=D)),
    }


@pytest.mark.parametrize("name", list(hard_cases()))
def test_reduced_program_is_the_full_program(name: str) -> None:
    x, y = hard_cases()[name]
    short, full = ot.exact(x, y), ot.exact(x, y, reduce=False)
    scale = float(x.square().mean() + y.square().mean())
    assert short.linear_cost == pytest.approx(full.linear_cost, rel=1e-9, abs=1e-12 * scale)
    assert short.converged
    assert short.marginal_error < 1e-9
    check_duality(x, y, short, 1e-7 * scale * x.shape[1])


def test_reduction_does_not_just_trust_its_potentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """With potentials that are wrong on purpose the certificate must refuse fixed rows, and the optimum stay."""
    from crosstune.ot import reduction

    honest = reduction._potential

    def misled(*args: object) -> tuple[Tensor, float, int]:
        g, margin, count = honest(*args)  # type: ignore[arg-type]
        assert g is not None
        return g + 20 * margin * torch.linspace(-1, 1, g.numel(), dtype=g.dtype), margin, count

    monkeypatch.setattr(reduction, "_potential", misled)
    x, y = cloud(1500, 12, 0), cloud(80, 12, 1, 0.5)
    misled_result = ot.exact(x, y)
    assert misled_result.linear_cost == pytest.approx(ot.exact(x, y, reduce=False).linear_cost, rel=1e-9)
    check_duality(x, y, misled_result, 1e-6)


def test_without_the_certificate_wrong_potentials_give_a_wrong_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest wrong implementation: skip the check of the fixed rows. Some column must then be served badly."""
    from crosstune.ot import reduction

    honest = reduction._potential
    shift = torch.zeros(80, dtype=D)

    def misled(*args: object) -> tuple[Tensor, float, int]:
        g, margin, count = honest(*args)  # type: ignore[arg-type]
        assert g is not None
        return g + margin * shift, margin, count

    monkeypatch.setattr(reduction, "_potential", misled)
    monkeypatch.setattr(reduction, "_violation", lambda matrix, g, *_: (torch.zeros_like(matrix[:, 0]),) * 2)
    x, y = cloud(1500, 12, 0), cloud(80, 12, 1, 0.5)
    optimum = ot.exact(x, y, reduce=False).linear_cost
    excess = []
    for column in range(20):
        shift.zero_()[column] = -3.0
        excess.append(ot.exact(x, y).linear_cost - optimum)
    assert max(excess) > 1e-4 * optimum


@pytest.mark.parametrize("flip", [False, True])
def test_weights_and_points_without_weight(flip: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    x, y = cloud(1300, 5, 0), cloud(85, 5, 1)
    a = torch.rand(1300, generator=generator, dtype=D) * (torch.rand(1300, generator=generator) > 0.3)
    b = torch.rand(85, generator=generator, dtype=D) * (torch.rand(85, generator=generator) > 0.3)
    if flip:
        x, y, a, b = y, x, b, a
    coupling = ot.exact(x, y, a=a, b=b)
    expected = pot.emd2((a / a.sum()).numpy(), (b / b.sum()).numpy(), cost_by_hand(x, y, "sqeuclidean").numpy())
    assert coupling.linear_cost == pytest.approx(expected, rel=1e-9)
    assert torch.allclose(coupling.plan.dense().sum(1), a / a.sum(), atol=1e-12)
    check_duality(x, y, coupling, 1e-8)


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_self_distance_is_zero(cost: str, dtype: torch.dtype) -> None:
    x = cloud(300, 16, 0, dtype=dtype) + 5
    assert float(ot.exact(x, x[torch.randperm(300)], cost=cost).value) == pytest.approx(0.0, abs=1e-12)


def test_coinciding_points_in_float32_have_euclidean_distance_zero() -> None:
    """Through the expanded square alone they would be 1e-2 apart."""
    x = cloud(50, 300, 0, dtype=torch.float32) * 10
    assert float(cost_block(x, x.clone(), "euclidean").diagonal().max()) == 0.0
    naive = (x.square().sum(1)[:, None] + x.square().sum(1)[None] - 2 * x @ x.T).clamp_min(0).sqrt()
    assert float(naive.diagonal().max()) > 1e-3


def test_prepared_half_precision_and_warm_starts_change_nothing() -> None:
    x, y = cloud(1500, 8, 0, dtype=torch.float32), cloud(100, 8, 1, dtype=torch.float32)
    plain = ot.exact(x, y)
    assert ot.exact(ot.prepare(x), y).linear_cost == pytest.approx(plain.linear_cost, rel=1e-6)
    assert ot.exact(x, y, warm=plain.potentials).linear_cost == pytest.approx(plain.linear_cost, rel=1e-6)
    half = y.bfloat16().requires_grad_()
    coupling = ot.exact(x.bfloat16(), half)
    coupling.value.backward()
    assert half.grad.dtype == torch.bfloat16
    assert coupling.value.dtype == torch.float32
    assert ot.exact(ot.prepare(x), y.double()).value.dtype == D


def test_inputs_are_not_changed() -> None:
    x, y = cloud(600, 4, 0), cloud(200, 4, 1)
    before = x.clone(), y.clone()
    ot.exact(x, y)
    ot.sinkhorn_divergence(x, y, epsilon=1.0)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_solver_and_status_are_told() -> None:
    x, y = cloud(40, 3, 0), cloud(30, 3, 1)
    coupling = ot.exact(x, y)
    assert coupling.solver == "network simplex (POT, cpu) on all 40 rows; cost matrix on cpu"
    with pytest.warns(UserWarning, match="numItermax reached"):
        stopped = ot.exact(x, y, max_iterations=3)
    assert not stopped.converged


def test_errors_name_values_and_fixes() -> None:
    x = cloud(10, 3, 0)
    with pytest.raises(DataError, match="x has 3 features and y has 4"):
        ot.exact(x, cloud(5, 4, 1))
    with pytest.raises(DataError, match=r"exact transport of 30,000 x 20,000 points needs about 22\.4 GiB"):
        ot.exact(torch.zeros(30_000, 1), torch.zeros(20_000, 1))
    with pytest.raises(DataError, match="or use sinkhorn_divergence, sliced or mmd"):
        ot.exact(x, x, memory_limit=100)
    broken = x.clone()
    broken[3, 1] = float("nan")
    with pytest.raises(DataError, match="y has 1 of 10 rows with NaN"):
        ot.exact(x, broken)
    with pytest.raises(UsageError, match="unknown transport cost 'l2'"):
        ot.exact(x, x, cost="l2")
    with pytest.raises(UsageError, match="prepared for cost 'cosine'"):
        ot.exact(ot.prepare(x, cost="cosine"), x)
    with pytest.raises(DataError, match=r"expected \(points, features\)"):
        ot.exact(x, x[0])
    with pytest.raises(DataError, match=r"weights a have shape \(9,\), expected \(10,\)"):
        ot.exact(x, x, a=torch.ones(9))
