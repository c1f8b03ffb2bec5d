"""Diffusion-reaction 1D, u_t = nu u_xx + rho u (1 - u) on the periodic unit interval.

Strang splitting of two exact steps: logistic growth point by point, diffusion in Fourier space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crosstune.benchmarks.pdebench.initial import CELLS, draw, published_grid, stream

FRAMES, DT = 101, 0.01
SUBSTEPS = 5  # between two frames; the splitting error is then 3e-6


def solve(samples: Sequence[int], resolution: int, seed: int, options: Mapping[str, Any]) -> np.ndarray:
    """(n, 101, 1, resolution), solved on the published 1024 cells; options: nu, rho."""
    start = scaled(draw([stream(seed, i) for i in samples])(published_grid(CELLS)))
    substeps = SUBSTEPS if options["rho"] else 1  # diffusion alone is exact
    found = strang(start, FRAMES, DT / substeps, substeps, options["nu"], options["rho"])
    return found[:, :, None, :: CELLS // resolution]


def scaled(fields: np.ndarray) -> np.ndarray:
    """Each row (n, X) brought to [0, 1]: both ends occur."""
    low = fields.min(axis=1, keepdims=True)
    high = fields.max(axis=1, keepdims=True)
    return (fields - low) / (high - low)


def grown(u: np.ndarray, amount: float) -> np.ndarray:
    """The logistic equation u' = u (1 - u) after time ``amount``, in a form that is exact at 0 and 1."""
    return u / (u + (1.0 - u) * np.exp(-amount))


def strang(start: np.ndarray, frames: int, step: float, substeps: int, nu: float, rho: float) -> np.ndarray:
    """(n, frames, N) from (n, N): a frame every ``substeps`` steps. Half a reaction, diffusion, half a reaction; two
    half reactions that meet are one."""
    points = start.shape[1]
    decay = np.exp(-nu * (2 * np.pi * np.fft.rfftfreq(points, 1 / points)) ** 2 * step)
    out = np.empty((len(start), frames, points))
    out[:, 0] = u = start
    for frame in range(1, frames):
        u = grown(u, 0.5 * rho * step)
        for sub in range(substeps):
            u = np.fft.irfft(np.fft.rfft(u) * decay, points)
            u = grown(u, rho * step * (1.0 if sub < substeps - 1 else 0.5))
        out[:, frame] = u
    return out
