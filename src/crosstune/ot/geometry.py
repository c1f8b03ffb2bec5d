"""Points, costs and what can be computed once per source: norms, centred copies, self terms, sorted projections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor

from crosstune.errors import DataError, UsageError

Cost = Literal["sqeuclidean", "euclidean", "cosine"]
COSTS: tuple[str, ...] = ("sqeuclidean", "euclidean", "cosine")
BLOCK_BYTES = 128 * 2**20  # one block of a cost matrix; everything blockwise stays within a few of these
TINY = 1e-12
_CLOSE = {torch.float32: 1e-4, torch.float64: 1e-9}


@dataclass(frozen=True)
class PreparedSource:
    """A point cloud with the work that depends on it alone, done once.

    points: (n, d) detached. shifted: points minus ``shift`` (their mean), or unit vectors for the cosine cost:
    inner products of centred points lose fewer digits. norms: (n,) squared norms of ``shifted``.
    cache: self terms and sorted projections, filled on first use.
    """

    points: Tensor
    cost: str
    shift: Tensor
    shifted: Tensor = field(repr=False)
    norms: Tensor = field(repr=False)
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        return (self.points.shape[0], self.points.shape[1])

    def double(self, rows: Tensor | slice) -> PreparedSource:
        """Some of the points in float64, without a cache."""
        points, shift = self.points[rows].double(), self.shift.double()
        shifted, norms = _represent(points, shift, self.cost)
        return PreparedSource(points=points, cost=self.cost, shift=shift, shifted=shifted, norms=norms)


Points = Tensor | PreparedSource


def check_cost(cost: str) -> Cost:
    if cost not in COSTS:
        raise UsageError(f"unknown transport cost {cost!r}", fix=f"use one of {', '.join(COSTS)}")
    return cast(Cost, cost)


def check_points(points: Tensor, name: str) -> Tensor:
    """(n, d) floating point, finite, not empty; raises ``DataError`` naming the argument."""
    if points.ndim != 2 or 0 in points.shape:
        raise DataError(
            f"{name} has shape {tuple(points.shape)}, expected (points, features), both at least 1",
            fix="pool or flatten the features to one row per point first",
        )
    if not points.is_floating_point():
        raise DataError(f"{name} has dtype {points.dtype}, expected floating point", fix=f"pass {name}.float()")
    if not bool(torch.isfinite(points.detach().sum())) and not bool(torch.isfinite(points.detach()).all()):
        bad = int((~torch.isfinite(points.detach())).any(dim=1).sum())
        raise DataError(
            f"{name} has {bad} of {points.shape[0]} rows with NaN or infinite values",
            cause="a diverged model or unfilled missing values",
            fix="impute missing values, or lower the learning rate",
        )
    return points


def working_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if any input is; float32 otherwise (half precision is widened)."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def raw_points(x: Points) -> Tensor:
    return x.points if isinstance(x, PreparedSource) else x


def check_pair(x: Points, y: Tensor) -> torch.dtype:
    """Both clouds well formed, of one width, on one device; returns the dtype to compute in."""
    first = raw_points(x)
    if not isinstance(x, PreparedSource):
        check_points(x, "x")
    check_points(y, "y")
    if first.shape[1] != y.shape[1]:
        raise DataError(
            f"x has {first.shape[1]} features and y has {y.shape[1]}",
            cause="the two clouds were taken from different layers or poolings",
            fix="compare points of one space",
        )
    if first.device != y.device:
        raise UsageError(f"x is on {first.device} and y on {y.device}", fix="move both to one device")
    return working_dtype(first, y)


def _represent(points: Tensor, shift: Tensor, cost: str) -> tuple[Tensor, Tensor]:
    if cost == "cosine":
        unit = points / points.norm(dim=1, keepdim=True).clamp_min(TINY)
        return unit, torch.ones(points.shape[0], dtype=points.dtype, device=points.device)
    moved = points - shift
    norms = torch.empty(points.shape[0], dtype=points.dtype, device=points.device)
    for rows in row_blocks(points.shape[0], points.shape[1] * points.element_size()):
        norms[rows] = moved[rows].square().sum(dim=1)
    return moved, norms


def prepare_points(source: Tensor, cost: str) -> PreparedSource:
    check_cost(cost)
    points = check_points(source, "source").detach()
    points = points.to(working_dtype(points))
    shift = points.mean(dim=0)
    shifted, norms = _represent(points, shift, cost)
    return PreparedSource(points=points, cost=cost, shift=shift, shifted=shifted, norms=norms)


def prepare_like(source: PreparedSource, y: Tensor) -> PreparedSource:
    """y in the representation of the source (same shift), so that differences of ``shifted`` are differences."""
    shifted, norms = _represent(y, source.shift, source.cost)
    return PreparedSource(points=y, cost=source.cost, shift=source.shift, shifted=shifted, norms=norms)


def as_prepared(x: Points, cost: str, dtype: torch.dtype | None = None) -> PreparedSource:
    """``x`` itself when it was prepared for this cost; a fresh preparation otherwise."""
    if not isinstance(x, PreparedSource):
        points = x.detach() if dtype is None else x.detach().to(dtype)
        return prepare_points(points, cost)
    if x.cost != cost:
        raise UsageError(
            f"the source was prepared for cost {x.cost!r} but {cost!r} was asked for",
            fix=f"call prepare(source, cost={cost!r})",
        )
    return x.double(slice(None)) if dtype == torch.float64 and x.points.dtype != dtype else x


def cost_matrix(x: PreparedSource, y: Tensor, *, rows: slice | Tensor | None = None) -> Tensor:
    """Cost between (rows of) the prepared source and y: (n, m), one matrix product."""
    xs = x.shifted if rows is None else x.shifted[rows]
    xn = x.norms if rows is None else x.norms[rows]
    ys, yn = _represent(y.to(xs.dtype), x.shift, x.cost)
    out = xs @ ys.T
    if x.cost == "cosine":
        return out.neg_().add_(1.0).clamp_min_(0.0)
    out.mul_(-2.0).add_(xn[:, None]).add_(yn[None, :]).clamp_min_(0.0)
    if x.cost == "sqeuclidean":
        return out
    _refine_close(out, xs, ys, xn, yn)
    return out.sqrt_()


def _refine_close(squared: Tensor, x: Tensor, y: Tensor, xn: Tensor, yn: Tensor) -> None:
    """Recompute by differences, in place, squared distances that cancellation has made meaningless.

    The square root turns a rounding error of 1e-7 into one of 3e-4 at coinciding points.
    """
    limit = _CLOSE[squared.dtype]
    rows, cols = torch.nonzero(squared < limit * (xn[:, None] + yn[None, :]), as_tuple=True)
    for part in row_blocks(rows.numel(), x.shape[1] * x.element_size(), BLOCK_BYTES // 16):
        r, c = rows[part], cols[part]
        squared[r, c] = (x[r] - y[c]).square().sum(dim=1)


def cost_block(x: Points, y: Tensor, cost: str) -> Tensor:
    """Cost matrix between two clouds, (n, m), no gradient."""
    return cost_matrix(as_prepared(x, cost), y.detach())


def paired_cost(x: Tensor, y: Tensor, cost: str) -> Tensor:
    """Cost of the pairs ``(x[k], y[k])``, (k,), by differences: exactly zero for equal points."""
    if cost == "cosine":
        ux = x / x.norm(dim=1, keepdim=True).clamp_min(TINY)
        uy = y / y.norm(dim=1, keepdim=True).clamp_min(TINY)
        return 0.5 * (ux - uy).square().sum(dim=1)
    squared = (x - y).square().sum(dim=1)
    return squared.sqrt() if cost == "euclidean" else squared


def row_blocks(n: int, bytes_per_row: int, limit: int = BLOCK_BYTES) -> Iterator[slice]:
    step = max(1, limit // max(1, bytes_per_row))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def weights(given: Tensor | None, n: int, name: str, device: torch.device) -> Tensor:
    """Normalised float64 weights (n,); uniform when none are given."""
    if given is None:
        return torch.full((n,), 1.0 / n, dtype=torch.float64, device=device)
    given = given.detach().to(device=device, dtype=torch.float64)
    if given.shape != (n,) or bool((given < 0).any()) or not bool(given.sum() > 0):
        raise DataError(
            f"weights {name} have shape {tuple(given.shape)}, expected ({n},), non-negative, with a positive sum"
        )
    return given / given.sum()
