"""Diffusion-sorption 1D, u_t = (D / R(u)) u_xx on (0, 1): a dissolved substance that the ground holds back.

R(u) = 1 + (1 - phi) / phi rho_s k_f n_f (u + 1e-6)^(n_f - 1). Finite volumes as published: the boundary values are
those of ghost cells, 1 on the left and D times the slope of the last two cells (about 0) on the right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crosstune.benchmarks.pdebench.initial import draw, stream
from crosstune.errors import DataError

FRAMES, DT = 101, 5.0
DIFFUSIVITY, POROSITY, DENSITY, FREUNDLICH, EXPONENT = 5e-4, 0.29, 2880.0, 3.5e-4, 0.874
HIGHEST = 0.2  # of initial concentrations


def solve(samples: Sequence[int], resolution: int, seed: int, options: Mapping[str, Any]) -> np.ndarray:
    """(n, 101, 1, resolution); options: profiles, whether the initial state varies along x or is one number."""
    out = np.empty((len(samples), FRAMES, 1, resolution))
    for place, sample in enumerate(samples):
        start = profile(sample, resolution, seed) if options["profiles"] else level(sample, resolution, seed)
        out[place, :, 0] = integrate(start, DT * np.arange(FRAMES))
    return out


def level(sample: int, resolution: int, seed: int) -> np.ndarray:
    """(R,) of one concentration, uniform in (0, 0.2)."""
    return np.full(resolution, stream(seed, sample).uniform(0.0, HIGHEST))


def profile(sample: int, resolution: int, seed: int) -> np.ndarray:
    """(R,) a random field of the suite, scaled to [0, 1]: as high as the concentration at the left wall."""
    field = draw([stream(seed, sample)])((np.arange(resolution) + 0.5) / resolution)[0]
    return (field - field.min()) / (field.max() - field.min())


def retardation(u: np.ndarray, exponent: float = EXPONENT) -> np.ndarray:
    """R(u); ``exponent`` 1 makes it a constant and the equation linear."""
    factor = (1 - POROSITY) / POROSITY * DENSITY * FREUNDLICH * exponent
    return 1.0 + factor * (np.maximum(u, 0.0) + 1e-6) ** (exponent - 1.0)


def integrate(
    start: np.ndarray, times: np.ndarray, exponent: float = EXPONENT, rtol: float = 1e-6, atol: float = 1e-9
) -> np.ndarray:
    """(T, R) by LSODA with a tridiagonal Jacobian. ``DataError`` where it gives up."""
    from scipy.integrate import odeint

    points = len(start)
    scale = DIFFUSIVITY * points**2
    wide = np.empty(points + 2)
    wide[0] = 1.0

    def change(t: float, u: np.ndarray) -> np.ndarray:
        wide[1:-1] = u
        wide[-1] = DIFFUSIVITY * points * (u[-2] - u[-1])
        return scale * (wide[:-2] - 2.0 * u + wide[2:]) / retardation(u, exponent)

    found, report = odeint(
        change, start, times, tfirst=True, ml=1, mu=1, rtol=rtol, atol=atol, mxstep=100_000, full_output=True
    )
    if report["message"] != "Integration successful.":
        raise DataError(f"diffusion-sorption on {points} points: {report['message']}")
    return found
