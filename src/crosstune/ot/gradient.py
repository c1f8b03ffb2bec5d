"""The transport cost as a differentiable function of the points, with the plan held fixed.

By the envelope theorem (Danskin 1967) the derivative of ``min_P <P, C(x, y)>`` is ``<P*, dC>``: the plan's own
dependence on the points does not enter, so no graph runs through the solver. Gradients are formed together with
the value, which needs the same differences; the backward pass is one product.
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


class _Attached(torch.autograd.Function):
    """A known value with known gradients to two tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, value: Tensor, to_x: Tensor | None, to_y: Tensor | None) -> Tensor:
        ctx.save_for_backward(to_x, to_y)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        to_x, to_y = (None if g is None else g * grads[0].to(g.dtype) for g in ctx.saved_tensors)
        return to_x, to_y, None, None, None


def attach(x: Tensor, y: Tensor, value: Tensor, to_x: Tensor | None, to_y: Tensor | None) -> Tensor:
    """``value`` (0-d, detached) as a function of x and y with the given gradients (None: no gradient)."""
    out = _Attached.apply(x, y, value.to(y.dtype), to_x, to_y)
    assert isinstance(out, Tensor)
    return out


def wants_gradient(*tensors: Tensor) -> tuple[bool, ...]:
    """Which of the tensors a gradient will be asked for."""
    return tuple(torch.is_grad_enabled() and t.requires_grad for t in tensors)


def plan_cost(x: Tensor, y: Tensor, source: PreparedSource, plan: SparsePlan) -> Tensor:
    """``sum_k mass_k c(x[rows_k], y[cols_k])``, 0-d. ``source`` is the preparation of x; x and y share its dtype."""
    want_x, want_y = wants_gradient(x, y)
    with torch.no_grad():
        found = None
        if source.cost == "sqeuclidean" and not want_x:
            found = _expanded_square(y, source, plan, want_y)
        value, to_x, to_y = found or _by_differences(x, y, plan, source.cost, want_x, want_y)
    return attach(x, y, value, to_x, to_y)


Found = tuple[Tensor, Tensor | None, Tensor | None]


def _expanded_square(y: Tensor, source: PreparedSource, plan: SparsePlan, want_y: bool) -> Found | None:
    """``|x|^2 + |y|^2 - 2 <x, y>`` on centred points: one weighted segment sum instead of all differences."""
    order = torch.argsort(plan.cols, stable=True)
    rows, mass = plan.rows[order], plan.mass[order]
    counts = torch.bincount(plan.cols, minlength=y.shape[0])
    pulled = torch.nn.functional.embedding_bag(
        rows, source.shifted, torch.cumsum(counts, 0) - counts, mode="sum", per_sample_weights=mass.to(y.dtype)
    )
    moved = y - source.shift
    column = torch.zeros(y.shape[0], dtype=torch.float64, device=y.device).index_add_(0, plan.cols, plan.mass)
    norms = (column * moved.square().sum(dim=1).double()).sum() + (mass * source.norms[rows].double()).sum()
    value = norms - 2.0 * (moved * pulled).sum(dim=1).double().sum()
    if not bool(value > _CANCELLATION * norms):
        return None
    return value, None, 2.0 * (column.to(y.dtype)[:, None] * moved - pulled) if want_y else None


def _by_differences(x: Tensor, y: Tensor, plan: SparsePlan, cost: str, want_x: bool, want_y: bool) -> Found:
    grad_x = torch.zeros_like(x) if want_x else None
    grad_y = torch.zeros_like(y) if want_y else None
    total = torch.zeros((), dtype=torch.float64, device=y.device)
    for part in row_blocks(plan.rows.numel(), x.shape[1] * x.element_size(), _PAIR_BYTES):
        r, c, mass = plan.rows[part], plan.cols[part], plan.mass[part]
        xr, yc = x[r], y[c]
        total += (paired_cost(xr, yc, cost).double() * mass).sum()
        weight = mass.to(x.dtype)[:, None]
        if grad_x is not None:
            grad_x.index_add_(0, r, _pair_gradient(yc, xr, cost).mul_(weight))
        if grad_y is not None:
            grad_y.index_add_(0, c, _pair_gradient(xr, yc, cost).mul_(weight))
    return total, grad_x, grad_y


def _pair_gradient(x: Tensor, y: Tensor, cost: str) -> Tensor:
    """Gradients of c(x_k, y_k) to y_k. At equal points the euclidean subgradient is taken as zero."""
    if cost == "sqeuclidean":
        return 2.0 * (y - x)
    if cost == "euclidean":
        step = y - x
        length = step.norm(dim=1, keepdim=True)
        return torch.where(length > 0, step / length.clamp_min(TINY), torch.zeros_like(step))
    ny = y.norm(dim=1, keepdim=True).clamp_min(TINY)
    ux, uy = x / x.norm(dim=1, keepdim=True).clamp_min(TINY), y / ny
    return ((ux * uy).sum(dim=1, keepdim=True) * uy - ux) / ny


def pull(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``sum_i weight_ij (y_j - x_i)``: (m, d), by one product. weight: (n, m)."""
    return weight.sum(dim=0)[:, None] * y - weight.T @ x


def block_gradient(mass: Tensor, costs: Tensor, x: PreparedSource, y: PreparedSource, rows: slice) -> Tensor:
    """Gradient to y of ``sum_ij mass_ij c(x_i, y_j)`` over a block of rows, (m, d). mass, costs: (rows, m).

    x and y are preparations with one shift, so differences of ``shifted`` are differences of points.
    """
    xs = x.shifted[rows]
    if x.cost == "sqeuclidean":
        return 2.0 * pull(mass, xs, y.shifted)
    if x.cost == "euclidean":
        return pull(torch.where(costs > 0, mass / costs.clamp_min(TINY), torch.zeros_like(mass)), xs, y.shifted)
    length = y.points.norm(dim=1, keepdim=True).clamp_min(TINY)
    along = (mass * (1.0 - costs)).sum(dim=0)[:, None] * y.shifted
    return (along - mass.T @ xs) / length
