"""The transport cost as a differentiable function of the points, with the plan held fixed.

By the envelope theorem (Danskin 1967) the derivative of ``min_P <P, C(x, y)>`` is ``<P*, dC>``: the plan's own
dependence on the points does not enter, so no graph runs through the solver. Gradients are formed in the forward
pass, next to the value that needs the same differences; the backward pass is one product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from crosstune.ot.geometry import TINY, PreparedSource, paired_cost, row_blocks
from crosstune.ot.results import SparsePlan

_PAIR_BYTES = 2 * 2**20  # small enough to stay in cache: larger temporaries cost page faults on every call
_CANCELLATION = 1e-2  # below this share of the norms, the expanded square loses too many digits


class _PlanCost(torch.autograd.Function):
    """``sum_k mass_k c(x[rows_k], y[cols_k])``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, source: PreparedSource, plan: SparsePlan) -> Tensor:
        want_x, want_y = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        value = _expanded_square(ctx, x, y, source, plan) if source.cost == "sqeuclidean" and not want_x else None
        if value is None:
            value, grad_x, grad_y = _by_differences(x, y, plan, source.cost, want_x, want_y)
            ctx.save_for_backward(grad_x, grad_y)
        return value.to(y.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_x, grad_y = ctx.saved_tensors
        scaled = [None if g is None else g * grads[0].to(g.dtype) for g in (grad_x, grad_y)]
        return scaled[0], scaled[1], None, None


def _expanded_square(ctx: Any, x: Tensor, y: Tensor, source: PreparedSource, plan: SparsePlan) -> Tensor | None:
    """``|x|^2 + |y|^2 - 2 <x, y>`` on centred points: one weighted segment sum instead of all differences."""
    order = torch.argsort(plan.cols, stable=True)
    rows, mass = plan.rows[order], plan.mass[order]
    counts = torch.bincount(plan.cols, minlength=y.shape[0])
    starts = torch.cumsum(counts, 0) - counts
    pulled = torch.nn.functional.embedding_bag(
        rows, source.shifted, starts, mode="sum", per_sample_weights=mass.to(y.dtype)
    )
    moved = y - source.shift
    column = torch.zeros(y.shape[0], dtype=torch.float64, device=y.device).index_add_(0, plan.cols, plan.mass)
    norms = (column * moved.square().sum(dim=1).double()).sum() + (mass * source.norms[rows].double()).sum()
    value = norms - 2.0 * (moved * pulled).sum(dim=1).double().sum()
    if not bool(value > _CANCELLATION * norms):
        return None
    grad_y = 2.0 * (column.to(y.dtype)[:, None] * moved - pulled) if ctx.needs_input_grad[1] else None
    ctx.save_for_backward(None, grad_y)
    return value


def _by_differences(
    x: Tensor, y: Tensor, plan: SparsePlan, cost: str, want_x: bool, want_y: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    grad_x = torch.zeros_like(x) if want_x else None
    grad_y = torch.zeros_like(y) if want_y else None
    total = torch.zeros((), dtype=torch.float64, device=y.device)
    for part in row_blocks(plan.rows.numel(), x.shape[1] * x.element_size(), _PAIR_BYTES):
        r, c, mass = plan.rows[part], plan.cols[part], plan.mass[part]
        xr, yc = x[r], y[c]
        pair = paired_cost(xr, yc, cost)
        total += (pair.double() * mass).sum()
        to_x, to_y = _pair_gradients(xr, yc, cost, want_x, want_y)
        weight = mass.to(x.dtype)[:, None]
        if grad_x is not None and to_x is not None:
            grad_x.index_add_(0, r, to_x.mul_(weight))
        if grad_y is not None and to_y is not None:
            grad_y.index_add_(0, c, to_y.mul_(weight))
    return total, grad_x, grad_y


def _pair_gradients(x: Tensor, y: Tensor, cost: str, want_x: bool, want_y: bool) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of c(x_k, y_k) to x_k and y_k. At equal points the euclidean subgradient is taken as zero."""
    if cost == "cosine":
        return _cosine_gradient(y, x) if want_x else None, _cosine_gradient(x, y) if want_y else None
    step = y - x
    if cost == "sqeuclidean":
        step.mul_(2.0)
    else:
        length = step.norm(dim=1, keepdim=True)
        step = torch.where(length > 0, step / length.clamp_min(TINY), torch.zeros_like(step))
    return (-step if want_x else None), (step if want_y else None)


def _cosine_gradient(x: Tensor, y: Tensor) -> Tensor:
    """Gradient of ``1 - <x, y> / (|x| |y|)`` to y."""
    ny = y.norm(dim=1, keepdim=True).clamp_min(TINY)
    ux, uy = x / x.norm(dim=1, keepdim=True).clamp_min(TINY), y / ny
    return ((ux * uy).sum(dim=1, keepdim=True) * uy - ux) / ny


def plan_cost(x: Tensor, y: Tensor, source: PreparedSource, plan: SparsePlan) -> Tensor:
    """Transport cost of fixed arcs, 0-d. ``source`` is the preparation of x; x and y share its dtype."""
    value = _PlanCost.apply(x, y, source, plan)
    assert isinstance(value, Tensor)
    return value
