"""What a transport solver hands back: the value, the plan, and the evidence that the value can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class SparsePlan:
    """A transport plan as its arcs: ``mass[k]`` moves from ``x[rows[k]]`` to ``y[cols[k]]``.

    rows, cols: int64 (k,); mass: float64 (k,), sums to one. A basic solution of the linear program has at
    most n + m - 1 arcs, so this is all of it.
    """

    rows: Tensor
    cols: Tensor
    mass: Tensor
    shape: tuple[int, int]

    def dense(self) -> Tensor:
        """The plan as an (n, m) matrix of the masses' dtype."""
        out = torch.zeros(self.shape, dtype=self.mass.dtype, device=self.mass.device)
        return out.index_put_((self.rows, self.cols), self.mass, accumulate=True)

    def pairs(self, *, threshold: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Arcs ``(rows, cols, mass)`` that carry more than ``threshold``."""
        keep = self.mass > threshold
        return self.rows[keep], self.cols[keep], self.mass[keep]


@dataclass(frozen=True)
class EntropicPlan:
    """The plan ``exp((f_i + g_j - c_ij) / epsilon) a_i b_j`` of an entropic problem, built only on request."""

    f: Tensor
    g: Tensor
    a: Tensor
    b: Tensor
    epsilon: float
    points: tuple[Any, Any] = field(repr=False)
    cost: str = "sqeuclidean"

    @property
    def shape(self) -> tuple[int, int]:
        return (self.f.numel(), self.g.numel())

    def dense(self) -> Tensor:
        """The plan as an (n, m) matrix; needs room for one."""
        from crosstune.ot.geometry import cost_block

        x, y = self.points
        logits = (self.f[:, None] + self.g[None, :] - cost_block(x, y, self.cost)) / self.epsilon
        return logits.exp_() * self.a[:, None] * self.b[None, :]

    def pairs(self, *, threshold: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Arcs ``(rows, cols, mass)`` that carry more than ``threshold``."""
        plan = self.dense()
        rows, cols = torch.nonzero(plan > threshold, as_tuple=True)
        return rows, cols, plan[rows, cols]


@dataclass(frozen=True)
class Result:
    """A discrepancy without a plan (sliced, MMD). value: 0-d tensor, differentiable; units as the solver says."""

    value: Tensor
    solver: str
    converged: bool = True
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Coupling:
    """The solution of a transport problem, with its certificate.

    value: 0-d tensor with gradients to the points, in the cost's own units.
    plan: the coupling as arcs or as potentials (``plan.dense()`` for the matrix).
    linear_cost: ``sum_ij plan_ij c_ij``.
    converged: a status the caller must look at, never only a warning.
    marginal_error: L1 distance between the plan's marginals and the weights asked for.
    gap: upper bound on (primal - dual) in cost units, ``nan`` where the solver gives none.
    potentials: dual potentials ``(f, g)``, (n,) and (m,), for warm starts.
    solver: which algorithm ran, on which device. cost: the ground cost.
    """

    value: Tensor
    plan: SparsePlan | EntropicPlan
    linear_cost: float
    converged: bool
    marginal_error: float
    iterations: int
    potentials: tuple[Tensor, Tensor]
    solver: str
    cost: str
    epsilon: float = 0.0
    gap: float = float("nan")
    details: dict[str, Any] = field(default_factory=dict)
