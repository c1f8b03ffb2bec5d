"""Where the windows of a signal go: the geometry shared by the embedder (signal -> tokens) and the dense head
(tokens -> field). Pure arithmetic, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from crosstune.errors import TaskError

MOST_VALUES = 4096  # of a window, channels included: the embedder's weights per token width


@dataclass(frozen=True)
class PatchPlan:
    """Windows of ``window`` samples every ``stride`` samples along each spatial axis.

    ``size`` is the signal's extent the plan was made for; the last windows may reach behind it (zero padded). Long
    windows of many channels are read at a coarser step: ``pool`` samples along each axis are averaged first (window and
    stride are multiples of it), so that a token's features stay few.
    """

    size: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    pool: int = 1

    def grid_for(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Number of windows per axis that cover a signal of this extent."""
        return tuple(
            max(1, math.ceil((n - w) / s) + 1) if n > w else 1 for n, w, s in zip(size, self.window, self.stride)
        )

    @property
    def grid(self) -> tuple[int, ...]:
        return self.grid_for(self.size)

    @property
    def tokens(self) -> int:
        return math.prod(self.grid)

    def padded_for(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Extent after right-padding so that the windows fit exactly."""
        grid = self.grid_for(size)
        return tuple((g - 1) * s + w for g, s, w in zip(grid, self.stride, self.window))


def plan_patches(
    size: tuple[int, ...], *, tokens: int, limit: int, overlap: bool = True, channels: int = 1
) -> PatchPlan:
    """Choose windows so that about ``tokens`` of them (never more than ``limit``) cover a signal of extent ``size``.

    Every axis is cut into the same number of strides, the largest whose windows fit the budget; short axes use less of
    it. Windows span two strides (``overlap``), so that an event on a border is whole in one of them and a token sees
    differences, not only a level; this costs one window per axis. Raises TaskError when the signal is empty.
    """
    if any(n < 1 for n in size):
        raise TaskError(f"signal of extent {size} has an empty axis", fix="check the shape: arrays are channel-first")
    budget = max(1, min(tokens, limit))
    # one stride for all axes: a window covers the same extent in every direction
    lowest = 3 if overlap and len(size) > 1 else 1
    for step in range(1, max(size) + 1):
        stride = tuple(min(n, step) for n in size)
        window = tuple(min(n, max(lowest, 2 * s)) if overlap else s for n, s in zip(size, stride))
        plan = PatchPlan(tuple(size), window, stride)
        if plan.tokens <= budget:
            return _pooled(plan, channels, budget)
    return _pooled(PatchPlan(tuple(size), tuple(size), tuple(size)), channels, budget)


def _pooled(plan: PatchPlan, channels: int, budget: int) -> PatchPlan:
    """The plan with the smallest pooling that keeps a window's values below ``MOST_VALUES``."""
    for pool in range(1, max(plan.window) + 1):
        window = tuple(math.ceil(w / pool) * pool for w in plan.window)
        if channels * math.prod(w // pool for w in window) <= MOST_VALUES:
            break
    if pool == 1:
        return plan
    finer = PatchPlan(plan.size, window, tuple(max(1, s // pool) * pool for s in plan.stride), pool)
    coarser = PatchPlan(plan.size, window, tuple(math.ceil(s / pool) * pool for s in plan.stride), pool)
    return finer if finer.tokens <= budget else coarser
