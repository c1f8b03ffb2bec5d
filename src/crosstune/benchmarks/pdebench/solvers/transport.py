"""Advection u_t + beta u_x = 0 on the periodic unit interval, exactly: the initial formula at (x - beta t) mod 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crosstune.benchmarks.pdebench.initial import draw, published_grid, stream

FRAMES, DT = 201, 0.01


def translated(fields: Any, x: np.ndarray, t: np.ndarray, beta: float) -> np.ndarray:
    """(n, T, X) exact solutions at positions x (X,) and times t (T,) from ``initial.Fields``."""
    return np.stack([fields(np.mod(x - beta * time, 1.0)) for time in t], axis=1)


def solve(samples: Sequence[int], resolution: int, seed: int, options: Mapping[str, Any]) -> np.ndarray:
    """(n, 201, 1, resolution) fields; options: beta, the speed."""
    fields = draw([stream(seed, i) for i in samples])
    times = DT * np.arange(FRAMES)
    return translated(fields, published_grid(resolution), times, options["beta"])[:, :, None]
