"""Entropic transport and the debiased Sinkhorn divergence, in the log domain, by blocks of rows.

``OT_e(x, y) = min_P <P, C> + e KL(P | a b^T)``, epsilon in cost units, and
``S_e = OT_e(x, y) - (OT_e(x, x) + OT_e(y, y)) / 2`` (Genevay, Peyre & Cuturi 2018; Feydy et al. 2019), which is
zero at x = y and, for the squared distance, ``|t|^2`` between a cloud and its translate by t for every epsilon.

One pass over the rows updates both potentials: f from g by rows, then the column sums for the next g with the new
f. A cost matrix that fits is kept; otherwise its blocks are recomputed in every pass, so memory stays bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from crosstune.errors import UsageError
from crosstune.ot.geometry import (
    BLOCK_BYTES,
    Points,
    PreparedSource,
    as_prepared,
    check_cost,
    check_pair,
    cost_matrix,
    prepare_like,
    row_blocks,
    weights,
)
from crosstune.ot.gradient import attach, block_gradient, wants_gradient
from crosstune.ot.results import Coupling, EntropicPlan
from crosstune.ot.semidual import newton

KEEP_BYTES = 256 * 2**20  # a cost matrix up to this size is kept between passes
_NEWTON_COLUMNS = 512
_NEWTON_EVALUATIONS = 40  # per epsilon


@dataclass(frozen=True)
class Solved:
    """Potentials of one entropic problem, its value, the L1 error of its row marginal, and the passes made."""

    f: Tensor
    g: Tensor
    value: float
    error: float
    passes: int


class Problem:
    """One entropic problem between prepared clouds; hands out its cost matrix block by block."""

    def __init__(self, x: PreparedSource, y: PreparedSource, a: Tensor, b: Tensor) -> None:
        self.x, self.y = x, y
        dtype = x.shifted.dtype
        self.a, self.b = a.to(dtype), b.to(dtype)
        tiny = torch.finfo(dtype).tiny
        self.log_a, self.log_b = self.a.clamp_min(tiny).log(), self.b.clamp_min(tiny).log()
        n, m = a.numel(), b.numel()
        self.kept = cost_matrix(x, y.points) if n * m * dtype.itemsize <= KEEP_BYTES else None
        self.blocks = list(row_blocks(n, m * dtype.itemsize, BLOCK_BYTES // 4))

    def costs(self, rows: slice) -> Tensor:
        return cost_matrix(self.x, self.y.points, rows=rows) if self.kept is None else self.kept[rows]

    def spread(self) -> float:
        """Mean cost of a sample of rows: where epsilon starts."""
        return float(cost_matrix(self.x, self.y.points, rows=slice(0, 64)).mean())

    def sweep(self, g: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """``f(g)`` by rows and then ``g(f)`` by columns."""
        f = torch.empty_like(self.a)
        top = torch.full_like(self.b, -math.inf)
        total = torch.zeros_like(self.b)
        for rows in self.blocks:
            cost = self.costs(rows)
            f[rows] = -epsilon * torch.logsumexp((g - cost) / epsilon + self.log_b, dim=1)
            logits = (f[rows, None] - cost) / epsilon + self.log_a[rows, None]
            higher = torch.maximum(top, logits.amax(dim=0))
            total = total * (top - higher).exp() + (logits - higher).exp_().sum(dim=0)
            top = higher
        return f, -epsilon * (top + total.log())

    def rows_from(self, g: Tensor, epsilon: float) -> Tensor:
        """``f(g)`` alone."""
        parts = [
            -epsilon * torch.logsumexp((g - self.costs(rows)) / epsilon + self.log_b, dim=1) for rows in self.blocks
        ]
        return torch.cat(parts)

    def row_error(self, f: Tensor, better: Tensor, epsilon: float) -> float:
        """L1 error of the row marginal of (f, g), when ``better = f(g)``."""
        return float((self.a * ((f - better) / epsilon).clamp_max(50.0).expm1().abs()).sum())

    def dual(self, f: Tensor, g: Tensor) -> float:
        """Dual value of potentials whose plan has unit mass (true right after a half sweep)."""
        return float((self.a.double() * f.double()).sum() + (self.b.double() * g.double()).sum())


def solve_cross(problem: Problem, epsilon: float, tolerance: float, limit: int, warm: Tensor | None) -> Solved:
    """Sinkhorn with decreasing epsilon; Newton on the semi-dual first where the smaller side allows it."""
    g = torch.zeros_like(problem.b) if warm is None else warm.to(problem.b)
    start = epsilon if warm is not None else max(epsilon, problem.spread())
    levels = [start / 4**k for k in range(math.ceil(math.log(start / epsilon, 4)))] + [epsilon]
    by_newton = problem.kept is not None and problem.b.numel() <= _NEWTON_COLUMNS and bool((problem.b > 0).all())
    passes = 0
    for step in levels:
        if passes >= limit:
            break
        if by_newton:
            g, used = _newton_level(problem, g, step, tolerance / 10 if step == epsilon else 0.05, limit - passes)
            passes += used
        elif step > epsilon:
            _, g = problem.sweep(g, step)
            passes += 1
    f, g = problem.sweep(g, epsilon)
    passes += 1
    better = problem.rows_from(g, epsilon)
    error = problem.row_error(f, better, epsilon)
    while error > tolerance and passes < limit:
        f, g = problem.sweep(g, epsilon)
        passes += 1
        if problem.kept is not None or passes % 5 == 0 or passes == limit:
            better = problem.rows_from(g, epsilon)
            error = problem.row_error(f, better, epsilon)
    return Solved(f=f, g=g, value=problem.dual(f, g), error=error, passes=passes)


def _newton_level(problem: Problem, g: Tensor, epsilon: float, tolerance: float, limit: int) -> tuple[Tensor, int]:
    assert problem.kept is not None
    shift = epsilon * problem.log_b  # the semi-dual's potential absorbs the weights
    ascent = newton(
        problem.kept, problem.a, problem.b, g + shift, epsilon,
        tolerance=tolerance, limit=max(1, min(_NEWTON_EVALUATIONS, limit)), work=torch.empty_like(problem.kept),
    )  # fmt: skip
    return ascent.g - shift, ascent.evaluations


def solve_self(problem: Problem, epsilon: float, tolerance: float, limit: int) -> Solved:
    """One cloud against itself: averaged symmetric updates converge in a few passes (Feydy et al. 2019)."""
    f = torch.zeros_like(problem.a)
    step, passes, error = max(epsilon, problem.spread()), 0, math.inf
    while passes < limit:
        better = problem.rows_from(f, step)
        passes += 1
        if step == epsilon:
            error = problem.row_error(f, better, epsilon)
            if error <= tolerance:
                break
        f = 0.5 * (f + better)
        step = max(epsilon, step / 4)
    # <a, f> + <a, better> is the dual value right after a half sweep: the plan of (f, better) has unit mass.
    return Solved(f=f, g=f, value=problem.dual(f, better), error=error, passes=passes)


def transport_gradient(problem: Problem, solved: Solved, epsilon: float, *, to_y: bool) -> tuple[Tensor | None, float]:
    """Gradient of <P, C> to y with P held fixed, and <P, C> itself."""
    gradient = torch.zeros_like(problem.y.shifted) if to_y else None
    linear = 0.0
    for rows in problem.blocks:
        cost = problem.costs(rows)
        logits = (solved.f[rows, None] + solved.g - cost) / epsilon
        plan = (logits + problem.log_a[rows, None] + problem.log_b).exp_()
        linear += float((plan * cost).double().sum())
        if gradient is not None:
            gradient += block_gradient(plan, cost, problem.x, problem.y, rows)
    return gradient, linear


def sinkhorn_divergence(
    x: Points,
    y: Tensor,
    *,
    epsilon: float,
    cost: str = "sqeuclidean",
    a: Tensor | None = None,
    b: Tensor | None = None,
    max_iterations: int = 2000,
    tolerance: float = 1e-4,
    debiased: bool = True,
    warm: tuple[Tensor, Tensor] | None = None,
) -> Coupling:
    """Debiased Sinkhorn divergence (or ``OT_epsilon`` itself with ``debiased=False``).

    x: (n, d) or ``prepare(points, cost=cost)``, whose self term is then computed once per epsilon; y: (m, d);
    a, b: weights, uniform by default. epsilon: in cost units, not relative. tolerance: L1 error of the plan's
    marginals at which a problem counts as solved. Computes in float32 unless an input is float64.

    Returns a ``Coupling``: ``value`` with gradients to x and y, ``linear_cost = <P, C>``, ``marginal_error`` of the
    worst of the three problems as the certificate behind ``converged``. Memory: blocks of rows; a cost matrix above
    256 MiB is recomputed in every pass instead of kept. Raises ``UsageError`` unless epsilon > 0.
    """
    check_cost(cost)
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise UsageError(
            f"epsilon is {epsilon}, expected a positive number in cost units",
            fix="use about 0.01 times the mean cost, or exact() for epsilon = 0",
        )
    dtype = check_pair(x, y)
    source = as_prepared(x, cost, dtype)
    points = source.points if isinstance(x, PreparedSource) else x.to(source.points.dtype)
    moved = y.to(source.points.dtype)
    target = prepare_like(source, moved.detach())
    wa = weights(a, source.shape[0], "a", y.device)
    wb = weights(b, y.shape[0], "b", y.device)
    want_x, want_y = wants_gradient(points, moved)
    with torch.no_grad():
        cross = Problem(source, target, wa, wb)
        solved = solve_cross(cross, epsilon, tolerance, max_iterations, None if warm is None else warm[1])
        to_y, linear = transport_gradient(cross, solved, epsilon, to_y=want_y)
        to_x = _gradient_to_x(cross, solved, epsilon) if want_x else None
        value, error, passes = solved.value, solved.error, solved.passes
        if debiased:
            for cloud, weight, own, gradient in ((source, wa, a is None, to_x), (target, wb, False, to_y)):
                worth, mistake, steps = _self_term(cloud, weight, epsilon, tolerance, max_iterations, own, gradient)
                value, error, passes = value - 0.5 * worth, max(error, mistake), passes + steps
    result = attach(points, moved, torch.tensor(value, dtype=torch.float64, device=y.device), to_x, to_y)
    return Coupling(
        value=result,
        plan=EntropicPlan(solved.f, solved.g, cross.a, cross.b, epsilon, (source, target.points), cost),
        linear_cost=linear,
        converged=error <= tolerance,
        marginal_error=error,
        iterations=passes,
        potentials=(solved.f, solved.g),
        solver=f"log-domain Sinkhorn ({dtype}, {y.device.type})".replace("torch.", ""),
        cost=cost,
        epsilon=epsilon,
    )


def _gradient_to_x(problem: Problem, solved: Solved, epsilon: float) -> Tensor | None:
    """The same problem seen from the other side."""
    other = Problem(problem.y, problem.x, problem.b, problem.a)
    turned = Solved(f=solved.g, g=solved.f, value=solved.value, error=solved.error, passes=0)
    return transport_gradient(other, turned, epsilon, to_y=True)[0]


def _self_term(
    cloud: PreparedSource, weight: Tensor, epsilon: float, tolerance: float, limit: int, cached: bool,
    gradient: Tensor | None,
) -> tuple[float, float, int]:  # fmt: skip
    """Value, error and passes of ``OT_e(cloud, cloud)``; subtracts half its gradient from ``gradient`` in place.

    Half of the derivative of a symmetric functional to both its arguments is the derivative to one of them.
    """
    key = ("sinkhorn", epsilon, tolerance, limit)
    if cached and gradient is None and key in cloud.cache:
        return cloud.cache[key]
    problem = Problem(cloud, cloud, weight, weight)
    solved = solve_self(problem, epsilon, tolerance, limit)
    if gradient is not None:
        own, _ = transport_gradient(problem, solved, epsilon, to_y=True)
        assert own is not None
        gradient.sub_(own)
    if cached:
        cloud.cache[key] = (solved.value, solved.error, 0)
    return solved.value, solved.error, solved.passes
