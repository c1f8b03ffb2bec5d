"""The gradient behind an inner step, against finite differences of the whole thing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from crosstune.backbones import load_backbone
from crosstune.stages import bilevel
from crosstune.stages.bilevel import Fast, Order, outer_gradient

Problem = tuple[Fast, Tensor, Tensor, Tensor]


def smooth(fast: Fast, phi: Tensor, x: Tensor, y: Tensor) -> Tensor:
    hidden = ((x * phi) @ fast["a"]).tanh()
    return (hidden @ fast["b"] - y).square().mean()


@pytest.fixture
def problem() -> Problem:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {"a": normal(4, 5), "b": normal(5), "idle": normal(2)}, normal(4).requires_grad_(), normal(8, 4), normal(8)


RATES = {"a": 0.3, "b": 0.1, "idle": 1.0}


def found(problem: Problem, order: Order, source_weight: float = 0.7) -> list[Tensor | None]:
    fast, phi, x, y = problem
    return outer_gradient(
        lambda at: smooth(at, phi, x, y),
        lambda at: {
            "target": (1.0, smooth(at, phi, x.flip(0) + 0.1, y)),
            "source": (source_weight, at["a"].square().sum() * at["b"].sin().sum()),
        },
        fast, lambda grads: RATES, [phi], order,
    ).gradients  # fmt: skip


def value(problem: Problem, phi: Tensor, source_weight: float = 0.7) -> float:
    """The outer loss as a plain function of phi: the inner step written out."""
    fast, _, x, y = problem
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in fast.items()}
    grads = torch.autograd.grad(smooth(leaves, phi, x, y), list(leaves.values()), allow_unused=True)
    moved = {n: p if g is None else p - RATES[n] * g for (n, p), g in zip(leaves.items(), grads)}
    source = moved["a"].square().sum() * moved["b"].sin().sum()
    return float((smooth(moved, phi, x.flip(0) + 0.1, y) + source_weight * source).detach())


def differences(problem: Problem, step: float = 1e-5) -> Tensor:
    phi = problem[1].detach()
    eye = torch.eye(len(phi), dtype=phi.dtype) * step
    return torch.tensor([(value(problem, phi + e) - value(problem, phi - e)) / (2 * step) for e in eye]).double()


def test_second_order_is_the_derivative(problem: Problem) -> None:
    (gradient,) = found(problem, "second")
    assert gradient is not None
    assert torch.allclose(gradient, differences(problem), rtol=1e-7, atol=1e-8)


def test_first_order_comes_as_near_as_its_step_is_short(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """A central difference errs with the second power of its step: half the step, a quarter of the error."""
    errors = []
    for step in (0.2, 0.1, 0.05):
        monkeypatch.setattr(bilevel, "STEP", step)
        (gradient,) = found(problem, "first")
        assert gradient is not None
        errors.append(float((gradient - differences(problem)).norm()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("order", ["second", "first"])
def test_a_loss_that_knows_phi_through_the_moved_tensors_only_has_a_gradient(problem: Problem, order: Order) -> None:
    """What is usually called first order leaves this path out, and the source term would teach the embedder nothing."""
    with_source, without = found(problem, order), found(problem, order, source_weight=0.0)
    assert with_source[0] is not None
    assert without[0] is not None
    assert float((with_source[0] - without[0]).norm()) > 0.1 * float(without[0].norm())


def test_nothing_is_moved_in_place_and_idle_tensors_stay(problem: Problem) -> None:
    fast, phi, x, y = problem
    before = {name: tensor.clone() for name, tensor in fast.items()}
    seen: list[Fast] = []

    def outer(at: Fast) -> dict[str, tuple[float, Tensor]]:
        seen.append(at)
        return {"target": (1.0, smooth(at, phi, x, y))}

    result = outer_gradient(lambda at: smooth(at, phi, x, y), outer, fast, lambda grads: RATES, [phi], "second")
    assert all(torch.equal(fast[name], before[name]) for name in fast)
    assert phi.grad is None
    assert torch.equal(seen[0]["idle"], fast["idle"])
    assert "idle" not in result.inner_gradients
    for name, gradient in result.inner_gradients.items():
        assert torch.allclose(seen[0][name], fast[name] - RATES[name] * gradient)


# T5 normalises in single precision and has kinks, which a difference jumps over
FAMILIES = {"twin-bert": 1e-4, "twin-gpt2": 1e-4, "twin-vit": 1e-4, "twin-swin": 1e-4, "twin-t5": 2e-2}


@pytest.mark.parametrize("name", list(FAMILIES))
@pytest.mark.parametrize("padded", [False, True])
def test_bodies_have_second_derivatives(name: str, padded: bool) -> None:
    """In float64, along one direction of the tokens, against finite differences; with and without a mask."""
    body = load_backbone(name).body.double().eval()
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    tokens, source, way = normal(3, 6, body.width), normal(3, 6, body.width), normal(6, body.width)
    mask = torch.ones(3, 6, dtype=torch.bool)
    if padded:
        mask[1, 4:] = False
    fast = dict(body.named_parameters())
    rates = dict.fromkeys(fast, 0.05)

    def loss(at: Fast, inputs: Tensor) -> Tensor:
        return functional_call(body, at, (inputs, mask, None))[-1][:, :4].sin().mean()

    def gradient(order: Order) -> float:
        shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
        result = outer_gradient(
            lambda at: loss(at, tokens + shift * way), lambda at: {"source": (1.0, loss(at, source))}, fast,
            lambda grads: rates, [shift], order,
        ).gradients[0]  # fmt: skip
        assert result is not None
        return float(result)

    def moved(shift: float) -> float:
        at = {n: p.detach().clone().requires_grad_() for n, p in fast.items()}
        grads = torch.autograd.grad(loss(at, tokens + shift * way), list(at.values()), allow_unused=True)
        step = {n: p if g is None else p - rates[n] * g for (n, p), g in zip(at.items(), grads)}
        return float(loss({n: p.detach() for n, p in step.items()}, source))

    expected = (moved(1e-4) - moved(-1e-4)) / 2e-4
    assert gradient("second") == pytest.approx(expected, rel=FAMILIES[name], abs=1e-10)
    if name != "twin-t5":
        assert gradient("first") == pytest.approx(expected, rel=2e-2, abs=1e-9)
