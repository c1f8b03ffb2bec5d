"""The random initial fields that Advection, Burgers, Diffusion-Reaction 1D and CFD 1D share.

``u0(x) = sum_n a_n sin(k_n x + phi_n)`` with ``k_n = 2 pi n m_n / P``: two of the mode numbers 1..K are drawn with
replacement and ``m_n`` counts how often n was drawn. A mode that was not drawn therefore leaves the constant
``a_n sin phi_n`` (a random mean), and one drawn twice has twice the wave number. The period P is one cell short of the
domain, so that the first and the last cell of the published grid hold the same value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELLS = 1024  # of the published grid, which fixes the period of the fields
EDGE = 0.01  # width of the smooth window's flanks


def stream(seed: int, index: int) -> np.random.Generator:
    """The random numbers of one sample: the same whatever else is generated."""
    return np.random.Generator(np.random.PCG64(seed + index))


@dataclass(frozen=True)
class Fields:
    """n random fields on the unit interval. amplitude, wave, phase: (n, K), wave in radians per unit length;
    absolute: (n,) take the modulus; sign: (n,) of -1 or 1; window: (n, 2) edges, or NaN for none."""

    amplitude: np.ndarray
    wave: np.ndarray
    phase: np.ndarray
    absolute: np.ndarray
    sign: np.ndarray
    window: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Values (n, X) at positions (X,) or (n, X) in [0, 1)."""
        x = np.broadcast_to(x, (len(self.amplitude), np.shape(x)[-1]))
        total = np.zeros(x.shape)
        for a, k, phi in zip(self.amplitude.T, self.wave.T, self.phase.T):
            total += a[:, None] * np.sin(k[:, None] * x + phi[:, None])
        total = np.where(self.absolute[:, None], np.abs(total), total) * self.sign[:, None]
        windowed = ~np.isnan(self.window[:, 0])
        left, right = np.nan_to_num(self.window).T[:, :, None]
        inside = 0.5 * (np.tanh((x - left) / EDGE) - np.tanh((x - right) / EDGE))
        return np.where(windowed[:, None], total * inside, total)


def draw(
    generators: list[np.random.Generator], *, modes: int = 4, cells: int = CELLS, window: float = 0.1
) -> Fields:  # fmt: skip
    """One field per generator. modes: K; cells: of the grid that fixes the period; window: probability of a window.

    Every number is drawn whether it is used or not: a field depends on its generator alone.
    """
    period = 1.0 - 1.0 / cells
    parts: list[tuple[np.ndarray, ...]] = []
    for rng in generators:
        drawn = np.bincount(rng.integers(0, modes, size=2), minlength=modes)
        amplitude, phase = rng.random(modes), 2 * np.pi * rng.random(modes)
        absolute, sign = rng.random() < 0.1, 1.0 if rng.random() < 0.5 else -1.0
        windowed, edges = rng.random() < window, np.array([rng.uniform(0.1, 0.45), rng.uniform(0.55, 0.9)])
        wave = 2 * np.pi * np.arange(1, modes + 1) * drawn / period
        edges = edges if windowed else np.full(2, np.nan)
        parts.append((amplitude, wave, phase, np.array(absolute), np.array(sign), edges))
    return Fields(*(np.stack(column) for column in zip(*parts)))


def published_grid(resolution: int) -> np.ndarray:
    """(resolution,) every so many of the 1024 published cell centres of (0, 1), from the first: what a reader of the
    published file gets who thins it."""
    return ((np.arange(CELLS) + 0.5) / CELLS)[:: CELLS // resolution]
