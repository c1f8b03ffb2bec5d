"""Lipschitz constants: bounds that hold everywhere, norms against autograd, estimates that say what they are."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from crosstune import information as info
from crosstune.errors import DataError, UsageError

D = torch.float64


def head(k: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(k, d, generator=generator, dtype=D), torch.randn(k, generator=generator, dtype=D)


@pytest.mark.parametrize(("k", "d"), [(3, 10), (12, 4)])
def test_closed_form_norms_match_autograd_one_sample_at_a_time(k: int, d: int) -> None:
    weight, bias = head(k, d)
    h = torch.randn(15, d, dtype=D)
    z = torch.arange(15) % k
    closed = info.linear_head_gradient_norms(h, weight, bias, z)
    for i in range(15):
        u = h[i].clone().requires_grad_()
        (-torch.log_softmax(weight @ u + bias, 0)[z[i]]).backward()
        assert float(closed[i]) == pytest.approx(float(u.grad.norm()), rel=1e-10)

    def loss(u: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(u @ weight.T + bias, z, reduction="none")

    assert torch.allclose(info.gradient_norms(loss, h), closed)


def test_norms_are_over_all_non_batch_axes_and_do_not_depend_on_the_batch() -> None:
    tokens = torch.randn(6, 5, 4, dtype=D)
    weight = torch.randn(4, dtype=D)

    def loss(u: Tensor) -> Tensor:
        return torch.sin(u @ weight).sum(dim=1)

    norms = info.gradient_norms(loss, tokens)
    assert norms.shape == (6,)
    alone = torch.cat([info.gradient_norms(loss, tokens[i : i + 1]) for i in range(6)])
    assert torch.allclose(norms, alone)
    averaged = info.gradient_norms(lambda u: loss(u) / len(u), tokens)  # the mean-reduced loss is the mistake
    assert not torch.allclose(averaged, torch.cat([info.gradient_norms(loss, tokens[i : i + 1]) for i in range(6)]))
    with pytest.raises(DataError, match="one loss per sample"):
        info.gradient_norms(lambda u: loss(u).mean(), tokens)


def test_hinge_penalty_pulls_norms_below_tau() -> None:
    weight, bias = head(3, 5)
    weight.requires_grad_()
    h, z = torch.randn(40, 5, dtype=D), torch.arange(40) % 3
    optimiser = torch.optim.SGD([weight], lr=0.5)
    for _ in range(200):
        penalty = info.hinge_penalty(info.linear_head_gradient_norms(h, weight, bias, z), 0.4)
        optimiser.zero_grad()
        penalty.backward()
        optimiser.step()
    assert float(info.linear_head_gradient_norms(h, weight.detach(), bias, z).max()) < 0.5
    assert float(info.hinge_penalty(torch.tensor([0.1, 0.4]), 0.4)) == 0.0
    assert float(info.hinge_penalty(torch.tensor([1.4, 0.0]), 0.4)) == pytest.approx(0.5)
    with pytest.raises(UsageError, match=r"tau is -1\.0"):
        info.hinge_penalty(torch.tensor([1.0]), -1.0)


@pytest.mark.parametrize(("k", "d"), [(2, 3), (5, 8), (30, 6)])
def test_whole_space_bounds_hold_and_are_nearly_reached(k: int, d: int) -> None:
    weight, bias = head(k, d)
    h = 3 * torch.randn(4000, d, dtype=D)
    z = torch.randint(k, (4000,))
    assert float(info.linear_head_gradient_norms(h, weight, bias, z).max()) <= info.linear_head_lipschitz(weight)

    def source_loss(u: Tensor) -> Tensor:
        return info.entropy(torch.softmax(u @ weight.T + bias, dim=1))

    assert float(info.gradient_norms(source_loss, h).max()) <= info.entropy_lipschitz(weight)


def test_two_class_constant_is_sharp() -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=D)
    h = torch.linspace(-20, 20, 4001, dtype=D)[:, None] * torch.tensor([[1.0, 0.0]], dtype=D)
    steep = info.linear_head_gradient_norms(h, weight, None, torch.ones(4001).long()).max()
    assert float(steep) == pytest.approx(info.linear_head_lipschitz(weight), rel=1e-6)
    slopes = info.gradient_norms(lambda u: info.entropy(torch.softmax(u @ weight.T, 1)), h)
    assert float(slopes.max()) == pytest.approx(info.entropy_lipschitz(weight), rel=1e-4)


@pytest.mark.parametrize("k", [2, 3, 10, 1000])
def test_entropy_constant_is_attained_up_to_its_stated_factor(k: int) -> None:
    """Adversarial search over the family of the derivation, and random logits: never above, not far below."""
    t = torch.zeros(2000, k, dtype=D)
    t[:, 0] = torch.linspace(-15, 15, 2000, dtype=D) + math.log(max(k - 1, 1))
    norms = info.gradient_norms(lambda u: info.entropy(torch.softmax(u, dim=1)), t)
    constant = info.softmax_entropy_constant(k)
    assert constant * math.sqrt(k / (2 * (k - 1))) == pytest.approx(float(norms.max()), rel=1e-3)
    wild = 4 * torch.randn(2000, k, dtype=D)
    assert float(info.gradient_norms(lambda u: info.entropy(torch.softmax(u, dim=1)), wild).max()) <= constant


def test_support_slopes_bound_the_change_of_the_mean() -> None:
    x, y = torch.randn(50, 3, dtype=D), torch.randn(40, 3, dtype=D)
    f = lambda u: torch.sin(u).sum(1)  # noqa: E731
    slopes = info.support_slopes(x, y, f(x), f(y))
    brute = ((f(y)[:, None] - f(x)[None]).abs() / (y[:, None] - x[None]).norm(dim=2)).max(dim=1).values
    assert torch.allclose(slopes, brute, rtol=1e-8)
    same = info.support_slopes(x, x, f(x), f(x))
    assert bool(torch.isfinite(same).all())
    close = info.support_slopes(x + 100, x + 100 + 1e-7, f(x), f(x + 1e-7))
    assert float(close.max()) == pytest.approx(3**0.5, rel=0.3)


def test_secants_and_their_report() -> None:
    slopes = info.secant_slopes(
        torch.tensor([0.0, 1.0, 5.0]), torch.tensor([1.0, 1.0, 9.0]), torch.tensor([2.0, 1.0, 0.0])
    )
    assert torch.equal(slopes, torch.tensor([0.5, 0.0]))
    report = info.summarise(torch.arange(1, 1001).double(), "pairs")
    assert report.max == 1000.0
    assert report.p99 == 990.0
    assert "a percentile voids the guarantee" in report.as_dict()["statement"]
    with pytest.raises(DataError, match="no slopes to summarise for pairs"):
        info.summarise(torch.empty(0), "pairs")
