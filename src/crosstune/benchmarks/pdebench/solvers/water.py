"""Shallow water over a flat bottom, (h, hu, hv) with g = 1 on (-2.5, 2.5)^2: a column of water that collapses.

Finite volumes: minmod slopes of (h, hu, hv), HLL fluxes in both directions at once, Heun's method; zero-gradient
outflow. The scheme treats the two axes and the two directions alike, so symmetric states stay symmetric to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crosstune.benchmarks.pdebench.initial import stream
from crosstune.benchmarks.pdebench.solvers.stepping import advance

FRAMES, DT = 101, 0.01
START, LENGTH = -2.5, 5.0
COURANT = 0.4


def solve(samples: Sequence[int], resolution: int, seed: int, options: Mapping[str, Any]) -> np.ndarray:
    """(n, 101, 1, R, R) heights; options: varied, whether height and centre of the column are random too."""
    states = np.stack([column(sample, resolution, seed, options["varied"]) for sample in samples])
    return run(states, LENGTH / resolution, FRAMES, DT)[:, :, :1]


def column(sample: int, resolution: int, seed: int, varied: bool) -> np.ndarray:
    """(3, R, R) initial state: height 2 (varied: uniform in (1.5, 2.5)) within a radius uniform in (0.3, 0.7) of the
    centre (varied: of a point uniform in (-1, 1)^2), 1 outside, at rest."""
    rng = stream(seed, sample)
    radius = rng.uniform(0.3, 0.7)
    height, centre = 2.0, np.zeros(2)
    if varied:
        height, centre = rng.uniform(1.5, 2.5), rng.uniform(-1.0, 1.0, 2)
    x = START + LENGTH * (np.arange(resolution) + 0.5) / resolution
    inside = (x[:, None] - centre[0]) ** 2 + (x[None] - centre[1]) ** 2 <= radius**2
    state = np.zeros((3, resolution, resolution))
    state[0] = np.where(inside, height, 1.0)
    return state


def first_equal(n: int, resolution: int, seed: int, options: Mapping[str, Any]) -> np.ndarray:
    """(n,) for each sample the first one with the same initial state: of the published kind there are few distinct."""
    if options["varied"]:
        return np.arange(n)
    seen: dict[bytes, int] = {}
    states = (column(sample, resolution, seed, False)[0].tobytes() for sample in range(n))
    return np.array([seen.setdefault(state, sample) for sample, state in enumerate(states)])


def run(states: np.ndarray, dx: float, frames: int, interval: float) -> np.ndarray:
    """(n, frames, 3, X, Y) from (n, 3, X, Y)."""
    out = np.empty((len(states), frames, *states.shape[1:]))
    out[:, 0] = states
    for frame in range(1, frames):
        states = advance(states, interval, lambda s: COURANT * dx / fastest(s), lambda s, dt: heun(s, dt, dx))
        out[:, frame] = states
    return out


def fastest(state: np.ndarray) -> np.ndarray:
    """(n,) largest signal speeds |velocity| + sqrt(h) of (n, 3, X, Y) along an axis."""
    speed = np.maximum(np.abs(state[:, 1]), np.abs(state[:, 2])) / state[:, 0] + np.sqrt(state[:, 0])
    return speed.reshape(len(state), -1).max(axis=1)


def heun(state: np.ndarray, dt: np.ndarray, dx: float) -> np.ndarray:
    """One step of Heun's method (the two-stage strong-stability-preserving Runge-Kutta method)."""
    scale = (dt / dx)[:, None, None, None]
    first = state + scale * change(state)
    return 0.5 * (state + first + scale * change(first))


def change(state: np.ndarray) -> np.ndarray:
    """Minus the differences of the fluxes, (n, 3, X, Y)."""
    across = _differences(state)
    turned = state[:, [0, 2, 1]].swapaxes(2, 3)  # the same scheme along the other axis
    along = _differences(turned).swapaxes(2, 3)[:, [0, 2, 1]]
    return -(across + along)


def _differences(state: np.ndarray) -> np.ndarray:
    wide = np.pad(state, ((0, 0), (0, 0), (2, 2), (0, 0)), mode="edge")
    slopes = np.diff(wide, axis=2)
    slope = minmod(slopes[:, :, :-1], slopes[:, :, 1:])
    inner = wide[:, :, 1:-1]
    flux = hll((inner + 0.5 * slope)[:, :, :-1], (inner - 0.5 * slope)[:, :, 1:])
    return np.diff(flux, axis=2)


def minmod(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smaller of two slopes of one sign, else 0."""
    return np.where(a * b > 0, np.where(np.abs(a) < np.abs(b), a, b), 0.0)


def hll(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Fluxes (n, 3, F, Y) along the first axis of space by Harten, Lax and van Leer."""
    (f_left, u_left, c_left), (f_right, u_right, c_right) = physical(left), physical(right)
    low = np.minimum(0.0, np.minimum(u_left - c_left, u_right - c_right))[:, None]
    high = np.maximum(0.0, np.maximum(u_left + c_left, u_right + c_right))[:, None]
    return ((high * f_left - low * f_right) + (low * high) * (right - left)) / (high - low)


def physical(state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flux along the first axis, velocity along it, and the speed of long waves."""
    h, hu, hv = state[:, 0], state[:, 1], state[:, 2]
    u = hu / h
    return np.stack([hu, hu * u + 0.5 * h * h, hv * u], axis=1), u, np.sqrt(h)
