"""The gradient of a loss behind one gradient step, with respect to what that step depended on. Not a stage itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Order = Literal["second", "first"]
Fast = dict[str, Tensor]
STEP = 0.01  # norm of the difference that stands for a derivative


@dataclass(frozen=True)
class Outer:
    """inner: loss before the step; parts: losses behind it, by name; gradients: of their weighted sum, one per slow
    tensor, None where it plays no part; inner_gradients: of the inner loss, per fast tensor that has one."""

    inner: float
    parts: dict[str, float]
    gradients: list[Tensor | None]
    inner_gradients: Fast


def outer_gradient(
    inner: Callable[[Fast], Tensor], outer: Callable[[Fast], dict[str, tuple[float, Tensor]]], fast: Fast,
    rates: Callable[[Fast], dict[str, float]], slow: Sequence[Tensor], order: Order,
) -> Outer:  # fmt: skip
    """d/d phi of F(theta - r * d L(theta, phi) / d theta, phi), theta the fast and phi the slow tensors.

    inner: L, given the fast tensors; outer: F's terms as name -> (weight, loss), given the moved ones; rates: r of
    every fast tensor, given dL/d theta; a length that depends on it is held fixed in the derivative. By the chain
    rule, with v = dF/d theta' held fixed,

        dF/d phi  =  (partial F/partial phi)(theta', phi)  -  d/d phi < r * dL/d theta, v >

    (Finn et al., MAML, ICML 2017). order: "second" differentiates dL/d theta itself. "first" takes the derivative along
    r v as a central difference of two gradients, ``STEP`` to either side (Liu et al., DARTS, ICLR 2019, equation 8): no
    second derivatives, less memory, an error of the second power of the step where the loss is smooth (a maximum over
    tokens is not: the difference sees its jumps). Leaving the term out, which is what first order means elsewhere,
    would leave nothing of losses that know phi through theta' only.
    """
    names = list(fast)
    leaves = [fast[name].detach().requires_grad_() for name in names]
    exact = order == "second"
    # the fused attention kernels have no second derivative on any device; the plain one has
    with sdpa_kernel(SDPBackend.MATH) if exact else nullcontext():
        loss = inner(dict(zip(names, leaves)))
        grads = torch.autograd.grad(loss, leaves, create_graph=exact, allow_unused=True)
    present = {name: grad.detach() for name, grad in zip(names, grads) if grad is not None}
    lengths = rates(present)
    moved = [
        (leaf if grad is None else leaf - lengths[name] * grad).detach().requires_grad_()
        for name, leaf, grad in zip(names, leaves, grads)
    ]
    terms = outer(dict(zip(names, moved)))
    total = torch.stack([weight * value for weight, value in terms.values()]).sum()
    found = torch.autograd.grad(total, [*moved, *slow], allow_unused=True)
    along = [
        None if grad is None or way is None else lengths[name] * way
        for name, grad, way in zip(names, grads, found[: len(names)])
    ]
    if exact:
        mixed = _exact(grads, along, slow)
    else:
        mixed = _difference(inner, names, leaves, along, slow)
    gradients = [_minus(direct, bent) for direct, bent in zip(found[len(names) :], mixed)]
    return Outer(
        float(loss.detach()), {name: float(value.detach()) for name, (_, value) in terms.items()}, gradients, present
    )


def losses_behind(
    inner: Callable[[Fast], Tensor], outer: Callable[[Fast], dict[str, tuple[float, Tensor]]], fast: Fast,
    rates: Callable[[Fast], dict[str, float]],
) -> dict[str, float]:  # fmt: skip
    """The outer losses behind the inner step, by name, as in ``outer_gradient`` but without any gradient of theirs."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in fast.items()}
    grads = torch.autograd.grad(inner(leaves), list(leaves.values()), allow_unused=True)
    present = {name: grad for name, grad in zip(leaves, grads) if grad is not None}
    lengths = rates(present)
    with torch.no_grad():
        moved = {n: p - lengths[n] * present[n] if n in present else p for n, p in leaves.items()}
        return {name: float(value) for name, (_, value) in outer(moved).items()}


def _minus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if b is None:
        return a
    return -b if a is None else a - b


def _exact(
    grads: Sequence[Tensor | None], along: Sequence[Tensor | None], slow: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    products = [(grad * way).sum() for grad, way in zip(grads, along) if grad is not None and way is not None]
    if not products or not any(product.requires_grad for product in products):
        return [None] * len(slow)
    return torch.autograd.grad(torch.stack(products).sum(), list(slow), allow_unused=True)


def _difference(
    inner: Callable[[Fast], Tensor], names: list[str], leaves: list[Tensor], along: Sequence[Tensor | None],
    slow: Sequence[Tensor],
) -> Sequence[Tensor | None]:  # fmt: skip
    length = torch.stack([way.square().sum() for way in along if way is not None] or [torch.zeros(())]).sum().sqrt()
    if not float(length) > 0:
        return [None] * len(slow)
    step = STEP / float(length)
    sides = []
    for sign in (1.0, -1.0):
        at = {
            name: leaf.detach() if way is None else leaf.detach() + sign * step * way
            for name, leaf, way in zip(names, leaves, along)
        }
        sides.append(torch.autograd.grad(inner(at), list(slow), allow_unused=True))
    return [None if up is None or down is None else (up - down) / (2 * step) for up, down in zip(*sides)]
