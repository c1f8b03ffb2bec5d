"""The semi-dual of entropic transport in the potential of the smaller side, maximised by Newton's method.

For a cost ``C`` (n, m), weights a, b and potential g in R^m (Genevay, Cuturi, Peyre & Bach 2016, up to the
convention that g absorbs ``epsilon log b``):

    J(g) = <g, b> - epsilon sum_i a_i log sum_j exp((g_j - C_ij) / epsilon)

is concave with gradient ``b - P^T 1`` and Hessian ``-(diag(P^T 1) - P^T diag(1/a) P) / epsilon``, where
``P_ij = a_i softmax_j((g_j - C_ij) / epsilon)``. When m is a few hundred the Hessian is cheap next to the cost
matrix, and Newton needs a handful of steps where Sinkhorn needs thousands for a small epsilon.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_FLOOR = -40.0  # exp(-40) is below rounding next to 1; smaller values become subnormal and slow the product 100-fold

_STARVED = 0.05  # share of its weight below which a column's curvature is not used
_CRUMB = 1e-6


@dataclass(frozen=True)
class SemiDual:
    """Potential g (m,), the L1 marginal error of its plan, and how often the plan was evaluated."""

    g: Tensor
    error: float
    evaluations: int


def soft_assignment(matrix: Tensor, g: Tensor, epsilon: float, out: Tensor | None = None) -> Tensor:
    """``softmax_j((g_j - C_ij) / epsilon)``, (n, m)."""
    logits = torch.add(g / epsilon, matrix, alpha=-1.0 / epsilon, out=out)
    top = logits.amax(dim=1, keepdim=True)
    return torch.softmax(torch.maximum(logits, top + _FLOOR, out=logits), dim=1, out=logits)


def newton(
    matrix: Tensor, a: Tensor, b: Tensor, g: Tensor, epsilon: float, *, tolerance: float, limit: int, work: Tensor
) -> SemiDual:
    """Maximise J from ``g`` until ``|b - P^T 1|_1 <= tolerance`` or ``limit`` evaluations of P.

    matrix: (n, m); a: (n,), b: (m,) > 0 with equal sums; work: scratch of the matrix's shape. While some column
    receives almost nothing the Hessian says nothing about it, and a Sinkhorn step ``epsilon log(b / P^T 1)`` is
    taken instead (it always ascends). Newton steps are damped (Levenberg-Marquardt, vanishing with the error) and
    shortened until the slope along them has not turned.
    """
    uniform = bool((a == a[0]).all())

    def evaluate(potential: Tensor) -> tuple[Tensor, Tensor]:
        soft = soft_assignment(matrix, potential, epsilon, out=work)
        return soft, (soft.sum(dim=0) * a[0] if uniform else a @ soft)

    total = float(b.sum())
    soft, columns = evaluate(g)
    residual = b - columns
    error, evaluations = float(residual.abs().sum()), 1
    while error > tolerance and evaluations < limit:
        if float((columns / b).min()) < _STARVED:
            g = g + epsilon * (b / columns.clamp_min(_CRUMB * b)).log()
            soft, columns = evaluate(g)
            evaluations += 1
        else:
            direction = _direction(soft, a, columns, residual, error / total, uniform) * epsilon
            slope, length, start = float(residual @ direction), 1.0, g
            while True:
                g = start + length * direction
                soft, columns = evaluate(g)
                evaluations += 1
                if float((b - columns) @ direction) >= -0.5 * slope or evaluations >= limit:
                    break
                length *= 0.4
        residual = b - columns
        error = float(residual.abs().sum())
    return SemiDual(g=g, error=error, evaluations=evaluations)


def _direction(soft: Tensor, a: Tensor, columns: Tensor, residual: Tensor, error: float, uniform: bool) -> Tensor:
    gram = (soft.T @ soft) * a[0] if uniform else soft.T @ (soft * a[:, None])
    hessian = gram.neg_().double()
    damping = (torch.finfo(soft.dtype).eps + 1e-2 * min(1.0, error)) * columns.double().mean()
    hessian.diagonal().add_(columns.double() + damping)
    factor, failed = torch.linalg.cholesky_ex(hessian)
    right = residual.double()[:, None]
    if int(failed):
        hessian.diagonal().add_(1e-3 * columns.double().mean())
        return torch.linalg.solve(hessian, right).squeeze(1).to(residual.dtype)
    step = torch.cholesky_solve(right, factor).squeeze(1)
    return (step - step.mean()).to(residual.dtype)
