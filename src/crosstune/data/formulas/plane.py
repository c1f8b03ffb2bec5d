"""What the formulas of pictures share: coordinates of every instance, and the level and scale a picture ends with.

Fields are float32 (n, H, W). Sines come from the table of ``proxies.drawing.canvas``, whose bits do not depend on the
processor.
"""

from __future__ import annotations

import numpy as np

from crosstune.data.proxies.drawing.canvas import sine

Field = np.ndarray
QUARTER = np.float32(0.25)


def uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> np.ndarray:
    """float32 in [low, high)."""
    return np.float32(low) + np.float32(high - low) * rng.random(shape, dtype=np.float32)


def cosine(turns: np.ndarray) -> np.ndarray:
    """cos(2 pi turns)."""
    return sine(turns + QUARTER)


def axes(size: tuple[int, int]) -> tuple[Field, Field]:
    """Centres of pixels, x (1, 1, W) and y (1, H, 1): -1 to 1 over the shorter side."""
    height, width = size
    pixel = 2.0 / min(size)
    x = ((np.arange(width) + 0.5 - width / 2) * pixel).astype(np.float32)
    y = ((np.arange(height) + 0.5 - height / 2) * pixel).astype(np.float32)
    return x[None, None, :], y[None, :, None]


def placed(
    rng: np.random.Generator, rows: int, size: tuple[int, int], *, turn: float, shift: float, zoom: tuple[float, float]
) -> tuple[Field, Field]:
    """Coordinates of ``rows`` pictures, (rows, H, W) each: moved by up to ``shift``, turned by up to ``turn`` turns
    either way, and scaled so that a shape of radius 1 has a radius between the two numbers of ``zoom``."""
    x, y = axes(size)
    angle = uniform(rng, -turn, turn, rows, 1, 1)
    scale = 1 / uniform(rng, *zoom, rows, 1, 1)
    dx, dy = uniform(rng, -shift, shift, rows, 1, 1), uniform(rng, -shift, shift, rows, 1, 1)
    cos, sin = cosine(angle) * scale, sine(angle) * scale
    x, y = x - dx, y - dy
    return x * cos + y * sin, y * cos - x * sin


def per_row(values: np.ndarray) -> np.ndarray:
    """(n,) numbers as (n, 1, 1)."""
    return values.astype(np.float32, copy=False)[:, None, None]


def standardised(field: Field) -> Field:
    """Zero mean and unit spread per picture; a picture without contrast becomes zero. In place."""
    field -= field.mean((1, 2), keepdims=True)
    spread = np.sqrt(np.square(field).mean((1, 2), keepdims=True))
    field /= np.maximum(spread, np.float32(1e-6))
    return field


def finished(rng: np.random.Generator, field: Field, *, flip: float = 0.0, grain: float = 0.1) -> np.ndarray:
    """A picture (n, 1, H, W) of spread about one: standardised, its sign turned with probability ``flip``, its
    contrast, level and grain drawn anew. None of these tells a class, so a body has to look through them."""
    rows = len(field)
    out = standardised(field)
    gain = uniform(rng, 0.7, 1.3, rows, 1, 1)
    if flip:
        gain *= np.where(rng.random((rows, 1, 1)) < flip, np.float32(-1), np.float32(1))
    out *= gain
    out += uniform(rng, -0.3, 0.3, rows, 1, 1)
    out += uniform(rng, 0, grain, rows, 1, 1) * rng.standard_normal(out.shape, dtype=np.float32)
    return out[:, None]
