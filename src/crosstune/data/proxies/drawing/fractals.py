"""Fractals: flames and gaskets of iterated maps, filled Julia sets. Values in [0, 1], (n, H, W)."""

from __future__ import annotations

import numpy as np

from crosstune.data.proxies.drawing.canvas import Canvas, Field, sine


def _attractor(c: Canvas, maps: int, levels: int, shrink: tuple[float, float], *, fold: bool) -> Field:
    """Points of an iterated function system, every word of ``levels`` maps once (Barnsley 1988), counted per pixel.

    fold: some maps are followed by a spherical inversion (Draves & Reckase, The Fractal Flame Algorithm, 2003).
    """
    n = c.rows
    scale = np.float32(shrink[0]) + np.float32(shrink[1] - shrink[0]) * c.random(maps)
    angle = c.random(maps)
    cos, sin = sine(angle + np.float32(0.25)) * scale, sine(angle) * scale
    squeeze = np.float32(0.6) + np.float32(0.4) * c.random(maps)
    dx, dy = 2 * c.random(maps) - 1, 2 * c.random(maps) - 1
    mixed = np.float32(0.8) * c.random(maps) * (1.0 if fold else 0.0)
    x = np.zeros((n, 1), np.float32)
    y = np.zeros((n, 1), np.float32)
    for _ in range(levels):
        ax = cos[..., None] * x[:, None] - sin[..., None] * y[:, None] + dx[..., None]
        ay = (sin[..., None] * x[:, None] + cos[..., None] * y[:, None]) * squeeze[..., None] + dy[..., None]
        if fold:
            pull = 1 - mixed[..., None] + mixed[..., None] / (np.float32(0.4) + ax * ax + ay * ay)
            ax, ay = ax * pull, ay * pull
        x, y = ax.reshape(n, -1), ay.reshape(n, -1)
    return counted(x, y, c.size)


def counted(x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> Field:
    """Points (n, m) fitted into pictures of a size and counted; the root of the count over its largest."""
    height, width = size
    rows = len(x)
    at = []
    for values, pixels in ((x, width), (y, height)):
        low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
        share = (values - low) / np.maximum(high - low, np.float32(1e-6))
        at.append(np.minimum((share * np.float32(pixels)).astype(np.int64), pixels - 1))
    flat = (np.arange(rows)[:, None] * height + at[1]) * width + at[0]
    counts = np.bincount(flat.ravel(), minlength=rows * height * width).reshape(rows, height, width)
    density = np.sqrt(counts.astype(np.float32))
    # few pixels hold most points: the brightest tenth is clipped, so that the rest is seen
    top = np.maximum(density.max(axis=(1, 2), keepdims=True) * np.float32(0.35), 1)
    return np.minimum(density / top, 1)


def _levels(c: Canvas, maps: int) -> int:
    """As many as give each pixel about two points."""
    levels, points = 1, maps
    while points < 2 * c.size[0] * c.size[1] and points * maps <= 2**19:
        levels, points = levels + 1, points * maps
    return levels


def flame(c: Canvas) -> Field:
    return _attractor(c, 4, _levels(c, 4), (0.45, 0.75), fold=True)


def fern(c: Canvas) -> Field:
    return _attractor(c, 3, _levels(c, 3), (0.5, 0.7), fold=False)


def dust(c: Canvas) -> Field:
    return _attractor(c, 5, _levels(c, 5), (0.2, 0.36), fold=False)


def julia(c: Canvas) -> Field:
    """Escape times of z^2 + c for c just outside of the main cardioid of the Mandelbrot set."""
    angle, out = c.random(1, 1), c.between(1.02, 1.15)
    quarter = np.float32(0.25)
    cx = out * (sine(angle + quarter) / 2 - sine(2 * angle + quarter) / 4)
    cy = out * (sine(angle) / 2 - sine(2 * angle) / 4)
    x, y = c.turned(0.0, 0.0)
    zoom = c.between(0.9, 1.4)
    x, y = np.broadcast_arrays(x * zoom, y * zoom)
    count: Field = np.zeros((1, 1, 1), np.float32)
    for _ in range(20):
        xx, yy = x * x, y * y
        count = count + (xx + yy < 4)
        x, y = np.clip(xx - yy + cx, -4, 4), np.clip(2 * x * y + cy, -4, 4)
    return np.sqrt(count / np.float32(20))


FRACTALS = (flame, fern, dust, julia)
