"""Darcy flow -div(nu grad u) = beta on the unit square: five-point finite volumes, steady and as published.

Cells are centred; the value in the ghost cells around is zero, so the wall where u vanishes lies half a cell outside;
nu is copied outwards and averaged arithmetically at faces. The published solution is not the steady one but a late
moment (t = 1.75) of the heat equation u_t = div(nu grad u) + beta that started from a random field: what is left of
that field is no function of nu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from crosstune.benchmarks.pdebench.initial import stream

BATCH = 200  # samples whose mean is the threshold of the coefficient
BUMPS = 5
STORED_AT = 1.75  # time of the stored frame
STEPS = 32  # of the transient; the error is 1e-3 of what is left of the initial field
GAMMA = 1.0 - 0.5**0.5  # L-stable two-stage diagonally implicit Runge-Kutta of order two
LEVELS = (0.1, 10.0)  # between which the mean level of the initial field is uniform
TEXTURE = 0.2  # relative size of the initial field's deviations from its mean


def solve(samples: Sequence[int], resolution: int, seed: int, options: Mapping[str, Any]) -> np.ndarray:
    """(n, 2, 1, R, R): the coefficient and the stored solution; options: beta, steady (True or False)."""
    out = np.empty((len(samples), 2, 1, resolution, resolution))
    for place, sample in enumerate(samples):
        nu = coefficient(sample, resolution, seed)
        out[place, 0, 0] = nu
        if options["steady"]:
            out[place, 1, 0] = steady(nu, np.full(nu.shape, options["beta"]))
        else:
            start = initial_state(sample, resolution, seed)
            out[place, 1, 0] = transient(nu, options["beta"], start, STORED_AT, STEPS)
    return out


def coefficient(sample: int, resolution: int, seed: int) -> np.ndarray:
    """(R, R) of 0.1 and 1: whether the sum of five bumps exceeds the mean over the batch of 200 samples."""
    batch = sample // BATCH
    sums = _bump_sums(batch, resolution, seed)
    return np.where(sums[sample - BATCH * batch] > sums.mean(), 1.0, 0.1)


@lru_cache(maxsize=2)
def _bump_sums(batch: int, resolution: int, seed: int) -> np.ndarray:
    """(200, R, R) sums of exp(-|x - c|^2 / s), c uniform in the square, s uniform in (0, 0.5)."""
    x = (np.arange(resolution) + 0.5) / resolution
    sums = np.empty((BATCH, resolution, resolution))
    for place in range(BATCH):
        rng = stream(seed, BATCH * batch + place)
        centres, widths = rng.random((BUMPS, 2)), 0.5 * (1.0 - rng.random(BUMPS))
        along = np.exp(-((x[None] - centres[:, :1]) ** 2) / widths[:, None])
        across = np.exp(-((x[None] - centres[:, 1:]) ** 2) / widths[:, None])
        sums[place] = along.T @ across
    return sums


def initial_state(sample: int, resolution: int, seed: int) -> np.ndarray:
    """(R, R) of the transient: a mean level uniform in (0.1, 10) and sixteen random waves of a fifth of it."""
    rng = stream(seed, sample)
    rng.random(3 * BUMPS)  # those of the coefficient
    level, weights, phases = rng.uniform(*LEVELS), rng.standard_normal((4, 4)), 2 * np.pi * rng.random((4, 4))
    x = (np.arange(resolution) + 0.5) / resolution
    texture = np.zeros((resolution, resolution))
    for i in range(4):
        for j in range(4):
            angle = 2 * np.pi * ((i + 1) * x[:, None] + (j + 1) * x[None]) + phases[i, j]
            texture += weights[i, j] * np.sin(angle) * 2**0.5 / 4
    return level * (1.0 + TEXTURE * texture)


def operator(nu: np.ndarray) -> Any:
    """The sparse matrix (R R, R R) of -div(nu grad .), symmetric and positive definite."""
    from scipy.sparse import coo_matrix

    points = nu.shape[0]
    padded = np.pad(nu, 1, mode="edge")
    number = np.arange(points * points).reshape(points, points)
    inner = padded[1:-1, 1:-1]
    diagonal = np.zeros_like(nu)
    rows, columns, values = [], [], []
    for di, dj in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        face = 0.5 * (inner + padded[1 + di : 1 + di + points, 1 + dj : 1 + dj + points]) * points**2
        diagonal += face
        here = (slice(max(0, -di), points - max(0, di)), slice(max(0, -dj), points - max(0, dj)))
        there = (slice(max(0, di), points + min(0, di)), slice(max(0, dj), points + min(0, dj)))
        rows.append(number[here].ravel())
        columns.append(number[there].ravel())
        values.append(-face[here].ravel())
    rows.append(number.ravel())
    columns.append(number.ravel())
    values.append(diagonal.ravel())
    triple = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return coo_matrix(triple, shape=(points**2, points**2)).tocsc()


def steady(nu: np.ndarray, force: np.ndarray) -> np.ndarray:
    """(R, R) solution of -div(nu grad u) = force."""
    return _factorised(operator(nu)).solve(force.ravel()).reshape(nu.shape)


def transient(nu: np.ndarray, beta: float, start: np.ndarray, time: float, steps: int) -> np.ndarray:
    """(R, R) solution at ``time`` of u_t = div(nu grad u) + beta from ``start``.

    The distance from the steady state obeys the homogeneous equation; both stages of a step share one factorisation.
    """
    from scipy.sparse import identity

    matrix = operator(nu)
    still = _factorised(matrix).solve(np.full(nu.size, beta))
    dt = time / steps
    stage = _factorised((identity(nu.size, format="csc") + GAMMA * dt * matrix).tocsc())
    w = start.ravel() - still
    for _ in range(steps):
        first = stage.solve(-(matrix @ w))
        second = stage.solve(-(matrix @ (w + (1.0 - GAMMA) * dt * first)))
        w = w + dt * ((1.0 - GAMMA) * first + GAMMA * second)
    return (still + w).reshape(nu.shape)


def _factorised(matrix: Any) -> Any:
    from scipy.sparse.linalg import splu

    return splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}, diag_pivot_thresh=0.0)
