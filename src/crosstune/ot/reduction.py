"""The transport linear program on the few rows that matter, with a certificate for all the others.

When one cloud (n rows) is much larger than the other (m columns), almost every row of an optimal plan sends all
its mass to one column: a basic solution splits at most m - 1 rows. Given a potential g close to the optimal one,
row i goes to ``argmin_j (C_ij - g_j)``, and only rows whose best two columns are nearly tied are in doubt. So:

1. g from the entropic semi-dual by Newton, epsilon decreasing, first on a sample of rows (``semidual.py``);
2. rows with a clear margin are fixed to their column, and the exact linear program is solved on the rest;
3. the program's potentials are checked on every fixed row: ``C_ij(i) - g_j(i) <= C_ik - g_k`` for all k is dual
   feasibility of the whole problem, so plan and potentials are optimal for it (complementary slackness). Rows
   that fail join the program and it is solved again; in the worst case this ends in the full program.

The result is therefore the exact solution, not an approximation; only the way to it is shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import ot as pot
from crosstune.ot.semidual import newton

MAX_COLUMNS = 512  # beyond this Newton's Hessian costs more than the network simplex saves
MIN_CELLS = 100_000
MIN_RATIO = 4
_SAMPLE_ROWS = 1024
_ATTEMPTS = 8
_EVALUATIONS = 12  # per epsilon; typical problems need two to four
_HOPELESS = 0.2
_MARGIN = 5  # in epsilons: about twice the potential's distance from the optimal one
_FEW = 5  # rows per column that the reduced program may have without another epsilon
_LAST = 5000  # smallest epsilon is scale / _LAST


@dataclass(frozen=True)
class Basis:
    """Arcs of an optimal plan, its potentials (float64), the bound on primal - dual, and how it was found."""

    rows: Tensor
    cols: Tensor
    mass: Tensor
    f: Tensor
    g: Tensor
    gap: float
    optimal: bool
    program_rows: int
    iterations: int


RowCosts = Callable[[Tensor], Tensor]  # row indices -> float64 costs (k, m) of those rows


def reducible(n: int, m: int) -> bool:
    """Whether an (n, m) problem, n >= m, is worth reducing."""
    return 2 <= m <= MAX_COLUMNS and n >= MIN_RATIO * m and n * m >= MIN_CELLS


def full_program(costs: np.ndarray, a: np.ndarray, b: np.ndarray, max_iterations: int) -> Basis:
    """POT's network simplex on a float64 cost matrix (n, m).

    The simplex stops pivoting at an absolute tolerance, so costs of 1e-12 are brought to about one first.
    """
    unit = float(np.abs(costs).max())
    unit = 1.0 if unit == 0.0 or 1e-2 < unit < 1e6 else unit
    plan, log = pot.emd(a, b, costs if unit == 1.0 else costs / unit, numItermax=max_iterations, log=True)
    rows, cols = np.nonzero(plan)
    f, g = unit * np.asarray(log["u"]), unit * np.asarray(log["v"])
    return Basis(
        rows=torch.from_numpy(rows),
        cols=torch.from_numpy(cols),
        mass=torch.from_numpy(plan[rows, cols]),
        f=torch.from_numpy(f),
        g=torch.from_numpy(g),
        gap=max(0.0, float(unit * log["cost"] - f @ a - g @ b)),
        optimal=log["warning"] is None,
        program_rows=costs.shape[0],
        iterations=0,
    )


def reduced_program(
    matrix: Tensor, a: Tensor, b: Tensor, row_costs: RowCosts, max_iterations: int, warm: Tensor | None = None
) -> Basis | None:
    """Exact plan of an (n, m) problem with positive float64 weights; ``None`` when reducing does not pay.

    matrix: costs in working precision, on any device; only rows of the reduced program leave it.
    """
    work = torch.empty_like(matrix)
    scale = _scale(matrix)
    noise = 16 * torch.finfo(matrix.dtype).eps * float(matrix.abs().max())
    if not scale > 16 * noise:
        return None
    g, margin, iterations = _potential(matrix, a, b, scale, noise, work, warm)
    if g is None:
        return None
    spent = 0
    gap, column = _margins(matrix, g, work)
    contested = _contested(gap, column, margin, g.numel())
    for _ in range(_ATTEMPTS):
        rest = _remaining(a, b, column, contested)
        if float(rest.min()) <= 0.0:  # the fixed rows deliver more than a column takes: too many were fixed
            margin *= 2
            contested |= gap < margin
            continue
        spent += int(contested.sum())
        if spent > matrix.shape[0] // 2:
            return None
        basis = _solve(contested, a, rest, row_costs, max_iterations)
        best, slack = _violation(matrix, basis.g, column, work)
        failed = (slack > noise) & ~contested
        if not bool(failed.any()):
            return _assemble(a, basis, contested, column, best, slack, iterations)
        # A near miss is one row; many misses mean that the potentials were off, so widen as well.
        contested = contested | failed
        if int(failed.sum()) > 16:
            margin *= 2
            contested |= gap < margin
    return None


def _scale(matrix: Tensor) -> float:
    """Spread of the costs after removing row and column means, which no plan can change."""
    rows = matrix[:: max(1, matrix.shape[0] // _SAMPLE_ROWS)]
    centred = rows - rows.mean(dim=1, keepdim=True)
    return float((centred - centred.mean(dim=0)).std())


def _potential(
    matrix: Tensor, a: Tensor, b: Tensor, scale: float, noise: float, work: Tensor, warm: Tensor | None
) -> tuple[Tensor | None, float, int]:
    """Semi-dual potential, the margin below which rows are in doubt, and the work done.

    Epsilon falls by factors of 4: on a sample of rows, then on all, then on the contested ones until few are left.
    """
    n = matrix.shape[0]
    a, b = a.to(matrix.dtype), b.to(matrix.dtype)
    ascent = _Ascent(torch.zeros_like(b) if warm is None else warm.to(b))
    if warm is None and n >= 2 * _SAMPLE_ROWS:
        pick = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:_SAMPLE_ROWS].to(matrix.device)
        share = a[pick] / a[pick].sum()
        ascent.run(matrix[pick], share, b, (scale, scale / 4, scale / 16), 0.05, None)
    elif warm is None:
        ascent.run(matrix, a, b, (scale, scale / 4), 0.05, work)
    ascent.run(matrix, a, b, (scale / 16,), 0.01, work)
    if ascent.failed:
        return None, 0.0, ascent.evaluations
    epsilon = scale / 16
    while epsilon > noise:
        gap, column = _margins(matrix, ascent.g, work)
        if epsilon < scale / 16 and int((gap < _MARGIN * epsilon).sum()) <= _FEW * b.numel():
            break
        contested = _contested(gap, column, 3 * epsilon, b.numel())
        rest = _remaining(a, b, column, contested)
        epsilon /= 4
        if float(rest.min()) > 0.0:
            ascent.run(matrix[contested], a[contested], rest, (epsilon,), 0.02, None)
        else:
            ascent.run(matrix, a, b, (epsilon,), 0.02, work)
        if ascent.failed or epsilon < scale / _LAST:
            break
    return (None if ascent.failed else ascent.g), _MARGIN * epsilon, ascent.evaluations


class _Ascent:
    """Newton at decreasing epsilon; gives up early when the semi-dual is too ill-conditioned to pay."""

    def __init__(self, g: Tensor) -> None:
        self.g = g
        self.failed = False
        self.evaluations = 0

    def run(
        self, matrix: Tensor, a: Tensor, b: Tensor, epsilons: tuple[float, ...], tolerance: float, work: Tensor | None
    ) -> None:
        scratch = torch.empty_like(matrix) if work is None else work
        total = float(b.sum())
        for epsilon in epsilons:
            if self.failed:
                return
            step = newton(matrix, a, b, self.g, epsilon, tolerance=tolerance * total, limit=_EVALUATIONS, work=scratch)
            self.g = step.g
            self.evaluations += step.evaluations
            self.failed = step.error > _HOPELESS * total


def _margins(matrix: Tensor, g: Tensor, work: Tensor) -> tuple[Tensor, Tensor]:
    """Distance between a row's best two reduced costs (n,), and its best column (n,)."""
    reduced = torch.sub(matrix, g, out=work)
    best, column = reduced.min(dim=1)
    second = reduced.scatter_(1, column[:, None], torch.inf).amin(dim=1)  # twice as fast as topk(2)
    return second - best, column


def _contested(gap: Tensor, column: Tensor, margin: float, m: int) -> Tensor:
    """Rows in doubt, and one row per column at least, so that no column drops out of the reduced program."""
    closest = torch.full((m,), float("inf"), dtype=gap.dtype, device=gap.device)
    closest.scatter_reduce_(0, column, gap, reduce="amin")
    return (gap < margin) | (gap <= closest[column])


def _remaining(a: Tensor, b: Tensor, column: Tensor, contested: Tensor) -> Tensor:
    """What the columns still need after the fixed rows have delivered."""
    fixed = ~contested
    return b - torch.zeros_like(b).index_add_(0, column[fixed], a[fixed])


def _solve(contested: Tensor, a: Tensor, rest: Tensor, row_costs: RowCosts, max_iterations: int) -> Basis:
    rows = torch.nonzero(contested).squeeze(1)
    supply, demand = a[rows].cpu().numpy(), rest.cpu().numpy()
    demand = demand * (supply.sum() / demand.sum())
    basis = full_program(row_costs(rows).cpu().numpy(), supply, demand, max_iterations)
    return Basis(
        rows=rows[basis.rows.to(rows.device)],
        cols=basis.cols.to(rows.device),
        mass=basis.mass.to(rows.device),
        f=basis.f,
        g=basis.g.to(rows.device),
        gap=basis.gap,
        optimal=basis.optimal,
        program_rows=rows.numel(),
        iterations=0,
    )


def _violation(matrix: Tensor, g: Tensor, column: Tensor, work: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's best reduced cost, and by how much its assigned column misses it (>= 0): (n,), (n,)."""
    reduced = torch.sub(matrix, g.to(matrix.dtype), out=work)
    best = reduced.amin(dim=1)
    return best, reduced.gather(1, column[:, None]).squeeze(1) - best


def _assemble(
    a: Tensor, basis: Basis, contested: Tensor, column: Tensor, best: Tensor, slack: Tensor, iterations: int
) -> Basis:
    fixed = torch.nonzero(~contested).squeeze(1)
    f = best.double()
    f[contested] = basis.f.to(f.device)
    return Basis(
        rows=torch.cat([fixed, basis.rows]),
        cols=torch.cat([column[fixed], basis.cols]),
        mass=torch.cat([a[fixed], basis.mass]),
        f=f,
        g=basis.g,
        gap=basis.gap + float((a[fixed] * slack[fixed].double()).sum()),
        optimal=basis.optimal,
        program_rows=basis.program_rows,
        iterations=iterations,
    )
