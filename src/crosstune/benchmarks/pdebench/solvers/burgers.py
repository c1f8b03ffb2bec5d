"""Burgers u_t + (u^2 / 2)_x = D u_xx on the periodic unit interval; the file's Nu is pi D.

Both solvers work on the published 1024 cells in Fourier space and in the frame that moves with the mean of u, where the
mean is zero; afterwards the field is moved on by the mean times t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from crosstune.benchmarks.pdebench.initial import CELLS, draw, published_grid, stream

FRAMES, DT = 201, 0.01
SMALLEST = 0.02  # diffusivity below which exp(-integral of u / 2 D) leaves the range where double precision is safe
COURANT = 1.0  # step * largest wave number * largest speed; the scheme is stable to 2.8


def solve(samples: Sequence[int], resolution: int, seed: int, options: Mapping[str, Any]) -> np.ndarray:
    """(n, 201, 1, resolution); options: nu, the diffusivity times pi."""
    start = draw([stream(seed, i) for i in samples])(published_grid(CELLS))
    diffusivity = options["nu"] / np.pi
    times = DT * np.arange(FRAMES)
    solver = cole_hopf if diffusivity >= SMALLEST else exponential
    return solver(start, times, diffusivity)[:, :, None, :: CELLS // resolution]


def cole_hopf(start: np.ndarray, times: np.ndarray, diffusivity: float) -> np.ndarray:
    """(n, T, N) exact solutions from (n, N): with w = u - mean and theta = exp(-integral of w / 2 D), theta obeys the
    heat equation and w = -2 D theta_x / theta."""
    n, points = start.shape
    k = 2 * np.pi * np.fft.rfftfreq(points, 1 / points)
    mean = start.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(start - mean)
    potential = np.fft.irfft(np.divide(spectrum, 1j * k, out=np.zeros_like(spectrum), where=k > 0), points)
    potential -= potential.min(axis=1, keepdims=True)  # theta <= 1
    theta = np.fft.rfft(np.exp(-potential / (2 * diffusivity)))
    out = np.empty((n, len(times), points))
    for place, t in enumerate(times):
        if t == 0:
            out[:, place] = start
            continue
        now = theta * np.exp(-diffusivity * k**2 * t - 1j * k * mean * t)
        out[:, place] = mean - 2 * diffusivity * np.fft.irfft(1j * k * now, points) / np.fft.irfft(now, points)
    return out


def exponential(start: np.ndarray, times: np.ndarray, diffusivity: float, courant: float = COURANT) -> np.ndarray:
    """(n, T, N) by ETDRK4 (Cox & Matthews 2002, coefficients by contour integrals as in Kassam & Trefethen 2005): the
    diffusion exactly, the transport by four stages, products free of aliasing by the two-thirds rule.

    Between two times every sample takes 1, 2, 4, ... steps, as many as its own largest speed asks for. times: from 0,
    evenly spaced.
    """
    n, points = start.shape
    wave = np.fft.rfftfreq(points, 1 / points)
    k = 2 * np.pi * wave
    keep = wave < points / 3
    mean = start.mean(axis=1, keepdims=True)
    state = np.fft.rfft(start - mean) * keep
    out = np.empty((n, len(times), points))
    out[:, 0] = start
    interval = times[1] - times[0]
    speed = np.abs(start - mean).max(axis=1)
    for place in range(1, len(times)):
        wanted = interval * k[keep].max() * speed / courant
        steps = 2 ** np.ceil(np.log2(np.maximum(wanted, 1.0))).astype(int)
        for count in np.unique(steps):
            rows = steps == count
            state[rows] = _advance(state[rows], points, diffusivity, interval / count, int(count), keep)
        w = np.fft.irfft(state, points)
        speed = np.abs(w).max(axis=1)
        out[:, place] = np.fft.irfft(state * np.exp(-1j * k * mean * times[place]), points) + mean
    return out


def _advance(v: np.ndarray, points: int, diffusivity: float, step: float, count: int, keep: np.ndarray) -> np.ndarray:
    half, whole, q, f1, f2, f3 = _coefficients(points, diffusivity, step)
    flux = -0.5j * 2 * np.pi * np.fft.rfftfreq(points, 1 / points) * keep

    def nonlinear(s: np.ndarray) -> np.ndarray:
        return flux * np.fft.rfft(np.fft.irfft(s, points) ** 2)

    for _ in range(count):
        n0 = nonlinear(v)
        a = half * v + q * n0
        n1 = nonlinear(a)
        n2 = nonlinear(half * v + q * n1)
        n3 = nonlinear(half * a + q * (2 * n2 - n0))
        v = whole * v + f1 * n0 + f2 * (n1 + n2) + f3 * n3
    return v


@lru_cache(maxsize=32)
def _coefficients(points: int, diffusivity: float, step: float) -> tuple[np.ndarray, ...]:
    """exp(L h / 2), exp(L h) and the four quadrature coefficients, as means over a circle around L h."""
    k = 2 * np.pi * np.fft.rfftfreq(points, 1 / points)
    linear = -diffusivity * k**2 * step
    circle = np.exp(1j * np.pi * (np.arange(32) + 0.5) / 32)
    z = linear[:, None] + circle
    ez = np.exp(z)
    q = step * ((np.exp(z / 2) - 1) / z).mean(axis=1).real
    f1 = step * ((-4 - z + ez * (4 - 3 * z + z**2)) / z**3).mean(axis=1).real
    f2 = 2 * step * ((2 + z + ez * (z - 2)) / z**3).mean(axis=1).real
    f3 = step * ((-4 - 3 * z - z**2 + ez * (4 - z)) / z**3).mean(axis=1).real
    return np.exp(linear / 2), np.exp(linear), q, f1, f2, f3
