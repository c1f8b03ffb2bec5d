"""Exact transport: a linear program, its certificate, and the gradient by the envelope theorem."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from crosstune.errors import DataError
from crosstune.ot.geometry import (
    Points,
    PreparedSource,
    as_prepared,
    check_cost,
    check_pair,
    cost_matrix,
    raw_points,
    weights,
)
from crosstune.ot.gradient import plan_cost
from crosstune.ot.reduction import Basis, full_program, reduced_program, reducible
from crosstune.ot.results import Coupling, SparsePlan

MEMORY_LIMIT = 2 * 2**30
_PROGRAM_BYTES = 40  # per cell of the network simplex: cost, plan and the solver's own arcs


def exact(
    x: Points,
    y: Tensor,
    *,
    a: Tensor | None = None,
    b: Tensor | None = None,
    cost: str = "sqeuclidean",
    warm: tuple[Tensor, Tensor] | None = None,
    max_iterations: int = 10_000_000,
    reduce: bool = True,
    memory_limit: int | None = None,
) -> Coupling:
    """Exact optimal transport cost ``min_P sum_ij P_ij c(x_i, y_j)`` between two weighted clouds.

    x: (n, d) points or ``prepare(points, cost=cost)``; y: (m, d); any floating dtype (half is computed in
    float32, float64 if either is float64), CPU or GPU. a: (n,), b: (m,) non-negative weights, normalised here;
    uniform by default. cost: "sqeuclidean" (``|x - y|^2``, no half), "euclidean", "cosine" (``1 - cos``).
    warm: potentials of a similar problem; only a hint, the solution does not depend on it.
    reduce: solve on the contested rows only where that pays (see ``reduction.py``); the optimum is the same.

    Returns a ``Coupling`` whose ``value`` has exact gradients to y and to x (envelope theorem), in the cost's
    units: W2 squared for "sqeuclidean", W1 for "euclidean". ``gap`` bounds primal minus dual cost.
    Raises ``DataError`` for malformed points and for problems that exceed ``memory_limit`` bytes (default 2 GiB).
    """
    check_cost(cost)
    dtype = check_pair(x, y)
    n, m = raw_points(x).shape[0], y.shape[0]
    wa, wb = weights(a, n, "a", y.device), weights(b, m, "b", y.device)
    source = as_prepared(x, cost, dtype)
    moved = y.to(source.points.dtype)
    basis, solver = optimum(
        source, moved.detach(), wa, wb,
        warm=warm, max_iterations=max_iterations, reduce=reduce, memory_limit=memory_limit,
    )  # fmt: skip
    plan = SparsePlan(rows=basis.rows, cols=basis.cols, mass=basis.mass, shape=(n, m))
    points = source.points if isinstance(x, PreparedSource) else x.to(source.points.dtype)
    return certify(plan_cost(points, moved, source, plan), plan, basis, wa, wb, solver, cost)


def certify(value: Tensor, plan: SparsePlan, basis: Basis, a: Tensor, b: Tensor, solver: str, cost: str) -> Coupling:
    """The record of a solved program, with the plan's marginals checked against the weights."""
    error = _marginal_error(plan, a, b)
    return Coupling(
        value=value,
        plan=plan,
        linear_cost=float(value.detach()),
        converged=basis.optimal and error < 1e-6,
        marginal_error=error,
        iterations=basis.iterations,
        potentials=(basis.f, basis.g),
        solver=solver,
        cost=cost,
        gap=basis.gap,
        details={"program_rows": basis.program_rows},
    )


def _check_memory(n: int, m: int, itemsize: int, reduce: bool, limit: int) -> None:
    light = reduce and reducible(max(n, m), min(n, m))
    need = n * m * (4 * itemsize if light else _PROGRAM_BYTES)
    if need > limit:
        raise DataError(
            f"exact transport of {n:,} x {m:,} points needs about {need / 2**30:.1f} GiB for the cost matrix and "
            f"plan, more than the limit of {limit / 2**30:.1f} GiB",
            cause="the linear program holds one arc per pair of points",
            fix="pass fewer points, raise memory_limit, or use sinkhorn_divergence, sliced or mmd (by blocks)",
        )


@dataclass(frozen=True)
class LabelCost:
    """A term ``between[codes_x_i, codes_y_j]`` added to the cost. between: (C, C') float64."""

    codes_x: Tensor
    codes_y: Tensor
    between: Tensor

    def matrix(self, rows: Tensor, cols: Tensor) -> Tensor:
        return self.between[self.codes_x[rows]][:, self.codes_y[cols]]


def optimum(
    source: PreparedSource,
    y: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    labels: LabelCost | None = None,
    warm: tuple[Tensor, Tensor] | None = None,
    max_iterations: int = 10_000_000,
    reduce: bool = True,
    memory_limit: int | None = None,
) -> tuple[Basis, str]:
    """Arcs and potentials of an optimal plan, and which solver found them; rows are the larger side.

    Solved on the support of the weights (float64). Points without weight get potentials afterwards.
    """
    _check_memory(a.numel(), b.numel(), y.dtype.itemsize, reduce, memory_limit or MEMORY_LIMIT)
    keep_x, keep_y = torch.nonzero(a > 0).squeeze(1), torch.nonzero(b > 0).squeeze(1)
    whole = keep_x.numel() == a.numel() and keep_y.numel() == b.numel()
    entire = cost_matrix(source, y)
    if labels is not None:
        entire += labels.matrix(torch.arange(a.numel()), torch.arange(b.numel())).to(entire.dtype)
    matrix = entire
    if not whole:
        matrix = entire[keep_x][:, keep_y]
        a, b = a[keep_x], b[keep_y]
    flip = matrix.shape[0] < matrix.shape[1]
    tall, supply, demand = (matrix.T.contiguous(), b, a) if flip else (matrix, a, b)

    def row_costs(rows: Tensor) -> Tensor:
        mine, theirs = (keep_x, keep_y[rows]) if flip else (keep_x[rows], keep_y)
        block = cost_matrix(source.double(mine), y[theirs].double())
        if labels is not None:
            block += labels.matrix(mine, theirs)
        return block.T.contiguous() if flip else block

    hint = None
    if warm is not None:
        hint = warm[0][keep_x] if flip else warm[1][keep_y]
    basis = None
    if reduce and reducible(*tall.shape):
        basis = reduced_program(tall, supply, demand, row_costs, max_iterations, hint)
    where = f"cost matrix on {y.device.type}"
    if basis is not None:
        solver = f"network simplex (POT, cpu) on {basis.program_rows} of {tall.shape[0]} rows, certified; {where}"
    else:
        costs = tall.double().cpu().numpy()
        basis = full_program(costs, supply.cpu().numpy(), demand.cpu().numpy(), max_iterations)
        solver = f"network simplex (POT, cpu) on all {tall.shape[0]} rows; {where}"
    basis = replace(
        basis,
        rows=(basis.cols if flip else basis.rows).to(y.device),
        cols=(basis.rows if flip else basis.cols).to(y.device),
        mass=basis.mass.to(y.device),
        f=(basis.g if flip else basis.f).to(y.device),
        g=(basis.f if flip else basis.g).to(y.device),
    )
    return (basis if whole else _extend(basis, entire, keep_x, keep_y)), solver


def _extend(basis: Basis, matrix: Tensor, keep_x: Tensor, keep_y: Tensor) -> Basis:
    """Back to all points: points without weight get the largest potential that stays feasible."""
    matrix = matrix.double()
    f = (matrix[:, keep_y] - basis.g).amin(dim=1)
    f[keep_x] = basis.f
    g = (matrix - f[:, None]).amin(dim=0)
    g[keep_y] = basis.g
    return replace(basis, rows=keep_x[basis.rows], cols=keep_y[basis.cols], f=f, g=g)


def _marginal_error(plan: SparsePlan, a: Tensor, b: Tensor) -> float:
    row = torch.zeros_like(a).index_add_(0, plan.rows, plan.mass)
    column = torch.zeros_like(b).index_add_(0, plan.cols, plan.mass)
    return float((row - a).abs().sum() + (column - b).abs().sum())
