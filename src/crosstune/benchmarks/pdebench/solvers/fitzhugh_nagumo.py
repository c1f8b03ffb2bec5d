"""Diffusion-reaction 2D (FitzHugh-Nagumo) on (-1, 1)^2 without flow through the walls:

u_t = D_u laplace u + u - u^3 - k - v,  v_t = D_v laplace v + u - v,  D_u = 1e-3, D_v = 5e-3, k = 5e-3.

The five-point operator of the published data, which cosines diagonalise; Strang splitting of exact diffusion and of the
reaction by the classical Runge-Kutta method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crosstune.benchmarks.pdebench.initial import stream

FRAMES, DT = 101, 0.05
LENGTH = 2.0
DIFFUSIVITIES, THRESHOLD = (1e-3, 5e-3), 5e-3
SUBSTEPS = 2  # between two frames


def solve(samples: Sequence[int], resolution: int, seed: int, options: Mapping[str, Any]) -> np.ndarray:
    """(n, 101, 2, R, R) of u and v; the initial values are independent standard normal numbers, cell by cell."""
    start = np.stack([noise(sample, resolution, seed) for sample in samples])
    return strang(start, FRAMES, DT / SUBSTEPS, SUBSTEPS)


def noise(sample: int, resolution: int, seed: int) -> np.ndarray:
    """(2, R, R): u first, then v."""
    rng = stream(seed, sample)
    return np.stack([rng.standard_normal((resolution, resolution)) for _ in range(2)])


def decay(resolution: int, diffusivity: float, step: float, length: float = LENGTH) -> np.ndarray:
    """(R, R) factors of the cosine modes in a step of the five-point operator with mirrored walls."""
    rates = (2.0 - 2.0 * np.cos(np.pi * np.arange(resolution) / resolution)) * (resolution / length) ** 2
    return np.exp(-diffusivity * step * (rates[:, None] + rates[None]))


def reaction(state: np.ndarray) -> np.ndarray:
    """Rates (n, 2, ...) of (n, 2, ...)."""
    u, v = state[:, 0], state[:, 1]
    return np.stack([u - u * u * u - THRESHOLD - v, u - v], axis=1)


def react(state: np.ndarray, step: float) -> np.ndarray:
    """One classical Runge-Kutta step of the reaction alone."""
    a = reaction(state)
    b = reaction(state + 0.5 * step * a)
    c = reaction(state + 0.5 * step * b)
    d = reaction(state + step * c)
    return state + step / 6.0 * (a + 2.0 * (b + c) + d)


def strang(
    start: np.ndarray, frames: int, step: float, substeps: int, diffusivities: tuple[float, float] = DIFFUSIVITIES
) -> np.ndarray:
    """(n, frames, 2, R, R) from (n, 2, R, R): half a diffusion, the reaction, half a diffusion."""
    from scipy.fft import dctn, idctn

    half = np.stack([decay(start.shape[-1], d, 0.5 * step) for d in diffusivities])
    out = np.empty((len(start), frames, *start.shape[1:]))
    out[:, 0] = start
    modes = dctn(start, axes=(2, 3))
    for frame in range(1, frames):
        for _ in range(substeps):
            state = react(idctn(modes * half, axes=(2, 3)), step)
            modes = dctn(state, axes=(2, 3)) * half
        out[:, frame] = idctn(modes, axes=(2, 3))
    return out
