"""Sliced Wasserstein distance: the mean over directions of one-dimensional optimal costs (Rabin et al. 2011)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crosstune.errors import DataError, UsageError
from crosstune.ot.geometry import BLOCK_BYTES, Points, PreparedSource, check_pair, raw_points
from crosstune.ot.results import Result

_KEY = "projections"


@dataclass(frozen=True)
class Slices:
    """Directions (d, P) of unit length and the source's sorted projections (n, P)."""

    directions: Tensor
    ordered: Tensor


def draw_directions(d: int, count: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
    """``count`` directions uniform on the sphere, (d, count). Drawn on the generator's device (CPU by default)."""
    if count < 1:
        raise UsageError(f"number of projections is {count}, expected at least 1")
    device = generator.device if generator is not None else torch.device("cpu")
    raw = torch.randn(d, count, generator=generator, device=device, dtype=torch.float64)
    return (raw / raw.norm(dim=0, keepdim=True)).to(device=like.device, dtype=like.dtype)


def prepare_slices(source: PreparedSource, count: int, generator: torch.Generator | None = None) -> None:
    """Fix directions for a source and sort its projections once; later calls reuse them."""
    directions = draw_directions(source.shape[1], count, generator, source.points)
    source.cache[_KEY] = Slices(directions, torch.sort(source.points @ directions, dim=0).values)


def sliced(
    x: Points,
    y: Tensor,
    *,
    projections: int | Tensor | None = None,
    generator: torch.Generator | None = None,
    p: float = 2,
) -> Result:
    """Mean over directions of ``W_p^p`` between the projected clouds (uniform weights), 0-d, (feature unit)^p.

    x: (n, d) or a prepared source; y: (m, d), n and m may differ. projections: how many directions to draw from
    ``generator`` (default 128), or the directions themselves (d, P), or None for those of ``prepare(source,
    projections=...)``. Gradients to y and to x. In one dimension the optimal plan sorts both sides, so each
    direction is exact; the mean over directions is a Monte-Carlo estimate of the sliced distance, and for p = 2
    a lower bound on ``W_2^2 / d`` in expectation. Memory: directions are taken in blocks.
    """
    if not p >= 1:
        raise UsageError(f"p is {p}, expected at least 1")
    dtype = check_pair(x, y)
    points, moved = raw_points(x).to(dtype), y.to(dtype)
    ready = x.cache.get(_KEY) if isinstance(x, PreparedSource) else None
    if isinstance(projections, Tensor):
        directions, ready = projections.to(points), None
        if directions.ndim != 2 or directions.shape[0] != points.shape[1]:
            raise DataError(f"projections have shape {tuple(directions.shape)}, expected ({points.shape[1]}, P)")
    elif ready is not None and projections is None and generator is None and ready.directions.dtype == dtype:
        directions = ready.directions
    else:
        directions, ready = draw_directions(points.shape[1], projections or 128, generator, points), None
    rows, cols, width = _quantile_pairs(points.shape[0], moved.shape[0], points.device)
    count = directions.shape[1]
    step = max(1, BLOCK_BYTES // (8 * dtype.itemsize * (points.shape[0] + moved.shape[0])))
    parts = []
    for start in range(0, count, step):
        part = slice(start, start + step)
        mine = torch.sort(points @ directions[:, part], dim=0).values if ready is None else ready.ordered[:, part]
        theirs = torch.sort(moved @ directions[:, part], dim=0).values
        apart = (mine[rows] - theirs[cols]).abs()
        parts.append((width.to(dtype) @ (apart.square() if p == 2 else apart**p)).sum())
    value = torch.stack(parts).sum() / count
    return Result(value=value, solver=f"{count} sorted projections ({y.device.type})", details={"projections": count})


def _quantile_pairs(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The monotone plan of two uniform laws on n and m sorted points: (rows, cols, width), n + m - gcd(n, m) arcs.

    Levels are integers in units of 1 / (n m), so nothing is lost to rounding.
    """
    levels = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    width = torch.diff(levels, prepend=torch.zeros(1, dtype=levels.dtype)).double() / (n * m)
    middle = levels - 1  # any level inside the interval that ends at ``levels``
    return (middle // m).to(device), (middle // n).to(device), width.to(device)
