"""Initial states and frames of the two compressible tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crosstune.benchmarks.pdebench.initial import draw, stream
from crosstune.benchmarks.pdebench.solvers.compressible import GAMMA, conserved, run

LINE = {"frames": 101, "dt": 0.01, "length": 2.0}
SQUARE = {"frames": 21, "dt": 0.05, "length": 1.0}


def solve_line(samples: Sequence[int], resolution: int, seed: int, options: Mapping[str, Any]) -> np.ndarray:
    """(n, 101, 3, R) of density, pressure, velocity on (-1, 1); options: eta, zeta."""
    states = np.concatenate([line_state(sample, resolution, seed) for sample in samples])
    found = run(states, LINE["length"] / resolution, int(LINE["frames"]), LINE["dt"], options["eta"], options["zeta"])
    return found[:, :, [0, 2, 1]]


def line_state(sample: int, resolution: int, seed: int) -> np.ndarray:
    """(1, 3, R): three independent random fields with three modes and a window half of the time. One is the velocity;
    the others are scaled to [0, 1] and become density b + m f with b, m log-uniform in (1, 10), and pressure likewise
    in (10, 100)."""
    rng = stream(seed, sample)
    x = (np.arange(resolution) + 0.5) / resolution
    fields = draw([rng] * 3, modes=3, cells=resolution, window=0.5)(x)
    base, span = np.exp(rng.uniform(0.0, np.log(10.0), (2, 2)))
    low = fields.min(axis=1, keepdims=True)
    unit = (fields - low) / np.maximum(fields.max(axis=1, keepdims=True) - low, 1e-12)
    density = base[0] + span[0] * unit[1]
    pressure = 10.0 * (base[1] + span[1] * unit[2])
    return conserved(density[None], fields[:1][None], pressure[None])


def solve_square(samples: Sequence[int], resolution: int, seed: int, options: Mapping[str, Any]) -> np.ndarray:
    """(n, 21, 4, R, R) of density, pressure and both velocities on (0, 1)^2; options: eta, zeta, mach."""
    states = np.concatenate([square_state(sample, resolution, seed, options["mach"]) for sample in samples])
    dx = SQUARE["length"] / resolution
    found = run(states, dx, int(SQUARE["frames"]), SQUARE["dt"], options["eta"], options["zeta"])
    return found[:, :, [0, 3, 1, 2]]


def square_state(sample: int, resolution: int, seed: int, mach: float) -> np.ndarray:
    """(1, 4, R, R): random waves up to the fourth; density d (1 + delta f), pressure d T (1 + delta f'), velocities of
    mean speed M sqrt(gamma T); half of the time all of it within a box only, outside of which the gas rests."""
    rng = stream(seed, sample)
    d, temperature = rng.uniform(0.1, 10.0, 2)
    delta = rng.uniform(0.01, 0.2, 2)
    waves = np.stack([random_waves(rng, resolution) for _ in range(4)])
    boxed, edges = rng.random() < 0.5, rng.uniform([0.1, 0.1, 0.55, 0.55], [0.45, 0.45, 0.9, 0.9])
    scaled = waves[:2] / np.abs(waves[:2]).max(axis=(1, 2), keepdims=True)
    speed = np.sqrt((waves[2:] ** 2).sum(axis=0)).mean()
    velocity = waves[2:] / speed * mach * np.sqrt(GAMMA * temperature)
    x = (np.arange(resolution) + 0.5) / resolution
    inside = ((x > edges[0]) & (x < edges[2]))[:, None] & ((x > edges[1]) & (x < edges[3]))[None]
    mask = np.where(boxed, inside, True)
    density = d * (1 + delta[0] * scaled[0] * mask)
    pressure = d * temperature * (1 + delta[1] * scaled[1] * mask)
    return conserved(density[None], (velocity * mask)[None], pressure[None])


def random_waves(rng: np.random.Generator, resolution: int, highest: int = 4) -> np.ndarray:
    """(R, R) sum of sin(2 pi (i x + j y) + phase) over 1 <= |i|, |j| <= 4 with weights |k|^(-1/2)."""
    x = (np.arange(resolution) + 0.5) / resolution
    total = np.zeros((resolution, resolution))
    for i in range(-highest, highest + 1):
        for j in range(-highest, highest + 1):
            weight, phase = rng.random(), 2 * np.pi * rng.random()
            if i * j:
                angle = 2 * np.pi * (i * x[:, None] + j * x[None]) + phase
                total += weight * (i * i + j * j) ** -0.25 * np.sin(angle)
    return total
