"""Maximum mean discrepancy (Gretton et al. 2012) and the energy distance (Szekely & Rizzo 2013), by blocks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from crosstune.errors import UsageError
from crosstune.ot.geometry import (
    BLOCK_BYTES,
    TINY,
    Points,
    PreparedSource,
    as_prepared,
    check_pair,
    cost_matrix,
    prepare_like,
    row_blocks,
)
from crosstune.ot.gradient import attach, pull, wants_gradient
from crosstune.ot.results import Result

KERNELS = ("energy", "gaussian", "laplacian")
# distance, bandwidth -> (k(d), k'(d) / d): all a value and its gradient need
Profile = Callable[[Tensor, float], tuple[Tensor, Tensor]]


def _energy(distance: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
    inverse = torch.where(distance > 0, -1.0 / distance.clamp_min(TINY), torch.zeros_like(distance))
    return -distance, inverse


def _gaussian(distance: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
    value = torch.exp(-0.5 * (distance / bandwidth).square())
    return value, -value / bandwidth**2


def _laplacian(distance: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
    value = torch.exp(-distance / bandwidth)
    slope = torch.where(distance > 0, -value / (bandwidth * distance.clamp_min(TINY)), torch.zeros_like(value))
    return value, slope


_PROFILES: dict[str, Profile] = {"energy": _energy, "gaussian": _gaussian, "laplacian": _laplacian}


def mmd(x: Points, y: Tensor, *, kernel: str = "energy", bandwidth: float | None = None) -> Result:
    """Squared MMD ``E k(x, x') + E k(y, y') - 2 E k(x, y)``, 0-d, as a V-statistic: zero at x = y, never negative.

    kernel: "energy" (``k = -|x - y|``: the energy distance ``2 E|x - y| - E|x - x'| - E|y - y'|``, feature units),
    "gaussian" (``exp(-d^2 / 2 h^2)``) or "laplacian" (``exp(-d / h)``), both without unit. bandwidth h: the median
    distance between (at most 512 points of) the clouds by default, held fixed in the gradient.
    x: (n, d) or a prepared source, whose own term is computed once per kernel and bandwidth; y: (m, d). Gradients
    to both. Memory: blocks of rows.
    """
    if kernel not in KERNELS:
        raise UsageError(f"unknown kernel {kernel!r}", fix=f"use one of {', '.join(KERNELS)}")
    if bandwidth is not None and not bandwidth > 0:
        raise UsageError(f"bandwidth is {bandwidth}, expected a positive number in feature units")
    dtype = check_pair(x, y)
    source = _euclidean(x, dtype)
    points = source.points if isinstance(x, PreparedSource) else x.to(source.points.dtype)
    moved = y.to(source.points.dtype)
    target = prepare_like(source, moved.detach())
    width = 1.0 if kernel == "energy" else bandwidth or _median_distance(source, target)
    want_x, want_y = wants_gradient(points, moved)
    with torch.no_grad():
        cross, to_y = _mean_kernel(source, target, kernel, width, want_y)
        own_y, own_to_y = _mean_kernel(target, target, kernel, width, want_y)
        own_x, own_to_x = _own_term(source, kernel, width, want_x)
        value = own_x + own_y - 2.0 * cross
        gradient_y = None if to_y is None or own_to_y is None else 2.0 * own_to_y - 2.0 * to_y
        gradient_x = None
        if own_to_x is not None:
            from_y = _mean_kernel(target, source, kernel, width, True)[1]
            assert from_y is not None
            gradient_x = 2.0 * own_to_x - 2.0 * from_y
    # Rounding may leave -1e-9 where the exact value is zero; a distance must not be negative.
    result = attach(points, moved, value.clamp_min(0.0), gradient_x, gradient_y)
    return Result(value=result, solver=f"{kernel} kernel ({y.device.type})", details={"bandwidth": width})


def _euclidean(x: Points, dtype: torch.dtype) -> PreparedSource:
    """The source prepared for distances, whatever cost it was prepared for."""
    if not isinstance(x, PreparedSource):
        return as_prepared(x, "euclidean", dtype)
    if x.cost == "euclidean" and x.points.dtype == dtype:
        return x
    if ("euclidean", dtype) not in x.cache:
        x.cache[("euclidean", dtype)] = as_prepared(x.points, "euclidean", dtype)
    return x.cache[("euclidean", dtype)]


def _mean_kernel(
    x: PreparedSource, y: PreparedSource, kernel: str, width: float, want: bool
) -> tuple[Tensor, Tensor | None]:
    """``mean_ij k(x_i, y_j)`` in float64 and its gradient to y with x held fixed, (m, d)."""
    n, m = x.shape[0], y.shape[0]
    total = torch.zeros((), dtype=torch.float64, device=y.points.device)
    gradient = torch.zeros_like(y.shifted) if want else None
    for rows in row_blocks(n, m * x.shifted.element_size(), BLOCK_BYTES // 4):
        value, slope = _PROFILES[kernel](cost_matrix(x, y.points, rows=rows), width)
        total += value.sum(dtype=torch.float64)
        if gradient is not None:
            gradient += pull(slope, x.shifted[rows], y.shifted)
    return total / (n * m), None if gradient is None else gradient / (n * m)


def _own_term(source: PreparedSource, kernel: str, width: float, want: bool) -> tuple[Tensor, Tensor | None]:
    key = ("mmd", kernel, width)
    if want:
        return _mean_kernel(source, source, kernel, width, True)
    if key not in source.cache:
        source.cache[key] = _mean_kernel(source, source, kernel, width, False)[0]
    return source.cache[key], None


def _median_distance(x: PreparedSource, y: PreparedSource) -> float:
    """Median distance from (a stride of) x to (a stride of) y; the source alone would ignore the target's scale."""
    step_x, step_y = max(1, x.shape[0] // 512), max(1, y.shape[0] // 512)
    median = float(cost_matrix(x, y.points[::step_y], rows=slice(0, None, step_x)).median())
    return median if median > 0 else 1.0
