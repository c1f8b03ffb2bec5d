"""Shapes: each function gives the coverage of every pixel in [0, 1], (n, H, W)."""

from __future__ import annotations

import math

import numpy as np

from crosstune.data.proxies.drawing.canvas import Canvas, Field, saw, sine, turns


def _place(c: Canvas, *, small: float = 0.35, large: float = 0.8) -> tuple[Field, Field, Field]:
    """Coordinates of a shape of its own size, place and turn: x and y in units of its radius, and the radius."""
    radius = c.between(small, large)
    free = 1.05 - radius
    dx, dy = (2 * c.random(1, 1) - 1) * free, (2 * c.random(1, 1) - 1) * free
    x, y = c.turned(dx, dy)
    return x / radius, y / radius, radius


def _box(x: Field, y: Field, wide: Field | float, high: Field | float) -> Field:
    return np.minimum(wide - np.abs(x), high - np.abs(y))


def _disc(x: Field, y: Field, radius: Field | float = 1.0) -> Field:
    return radius - np.sqrt(x * x + y * y)


def _sides(x: Field, y: Field, count: int) -> list[Field]:
    """Signed distances to the sides of a regular polygon with corners at distance 1."""
    inner = math.cos(math.pi / count)
    out = []
    for k in range(count):
        angle = 2 * math.pi * (k + 0.5) / count
        out.append(np.float32(inner) - x * np.float32(math.cos(angle)) - y * np.float32(math.sin(angle)))
    return out


def _polygon(c: Canvas, count: int) -> Field:
    x, y, radius = _place(c)
    distance = _sides(x, y, count)
    least = distance[0]
    for other in distance[1:]:
        least = np.minimum(least, other)
    return c.inside(least * radius)


def _star(c: Canvas, count: int) -> Field:
    """The star {count/2}: the points that lie outside of at most one side of the inner polygon. With corners at
    distance 1, its sides are at cos(2 pi / count)."""
    x, y, radius = _place(c, small=0.45, large=0.95)
    shift = np.float32(math.cos(2 * math.pi / count) - math.cos(math.pi / count))
    first: Field = np.full((1, 1, 1), 9, np.float32)
    second = first
    for side in _sides(x, y, count):
        side = side + shift
        second = np.minimum(second, np.maximum(first, side))
        first = np.minimum(first, side)
    return c.inside(second * radius)


def disc(c: Canvas) -> Field:
    x, y, radius = _place(c)
    return c.inside(_disc(x, y) * radius)


def ellipse(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.45)
    flat = c.between(2.0, 3.2)
    return c.inside(_disc(x, y * flat) * radius / flat)


def ring(c: Canvas) -> Field:
    x, y, radius = _place(c)
    thick = c.between(0.12, 0.3)
    return c.inside((thick - np.abs(np.sqrt(x * x + y * y) - np.float32(0.8))) * radius)


def triangle(c: Canvas) -> Field:
    return _polygon(c, 3)


def square(c: Canvas) -> Field:
    return _polygon(c, 4)


def pentagon(c: Canvas) -> Field:
    return _polygon(c, 5)


def hexagon(c: Canvas) -> Field:
    return _polygon(c, 6)


def star_of_five(c: Canvas) -> Field:
    return _star(c, 5)


def star_of_six(c: Canvas) -> Field:
    return _star(c, 6)


def star_of_eight(c: Canvas) -> Field:
    return _star(c, 8)


def bar(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.5, large=0.95)
    return c.inside(_box(x, y, 1.0, c.between(0.1, 0.22)) * radius)


def three_bars(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.5, large=0.9)
    gap = np.float32(0.6)
    row = np.abs(y) - np.where(np.abs(y) > gap / 2, gap, np.float32(0))
    return c.inside(_box(x, row, 0.9, c.between(0.12, 0.2)) * radius)


def frame(c: Canvas) -> Field:
    x, y, radius = _place(c)
    box, thick = _box(x, y, 0.8, 0.8), c.between(0.15, 0.3)
    return c.inside(np.minimum(box, thick - box) * radius)


def cross(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.45, large=0.9)
    arm = c.between(0.14, 0.32)
    return c.inside(np.maximum(_box(x, y, 1.0, arm), _box(x, y, arm, 1.0)) * radius)


def letter_l(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.45, large=0.85)
    x = x * c.either()
    arm = c.between(0.18, 0.28)
    upright, foot = _box(x + np.float32(0.5), y, arm, 0.9), _box(x, y - np.float32(0.9) + arm, 0.5 + arm, arm)
    return c.inside(np.maximum(upright, foot) * radius)


def letter_t(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.45, large=0.85)
    arm = c.between(0.16, 0.26)
    return c.inside(np.maximum(_box(x, y, arm, 0.9), _box(x, y + np.float32(0.9) - arm, 0.8, arm)) * radius)


def arrow(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.5, large=0.9)
    shaft = _box(x + np.float32(0.3), y, 0.65, c.between(0.1, 0.18))
    head = np.minimum((np.float32(0.9) - x - np.abs(y)) * np.float32(0.7071), x - np.float32(0.25))
    return c.inside(np.maximum(shaft, head) * radius)


def crescent(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.45)
    bite = _disc(x - c.between(0.35, 0.6), y, 0.85)
    return c.inside(np.minimum(_disc(x, y), -bite) * radius)


def half_disc(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.45)
    return c.inside(np.minimum(_disc(x, y), y) * radius)


def sector(c: Canvas) -> Field:
    """A disc with a wedge cut out."""
    x, y, radius = _place(c, small=0.45)
    wedge = c.between(0.3, 1.0)
    return c.inside(np.minimum(_disc(x, y), np.abs(y) - x * wedge) * radius)


def heart(c: Canvas) -> Field:
    """Two discs over a square on its tip."""
    x, y, radius = _place(c, small=0.45)
    lobe = _disc(np.abs(x) - np.float32(0.45), y + np.float32(0.3), 0.52)
    tip = np.float32(0.72) - (np.abs(x) + np.abs(y + np.float32(0.02))) * np.float32(0.8)
    return c.inside(np.maximum(lobe, np.where(y > -0.3, tip, np.float32(-9))) * radius)


def drop(c: Canvas) -> Field:
    """A disc that narrows to a point."""
    x, y, radius = _place(c, small=0.45)
    wide = np.float32(0.55) * np.clip((y + 1) / np.float32(1.35), 0, 1)
    low = _disc(x, y - np.float32(0.4), 0.58)
    tip = np.where(y < 0.4, wide - np.abs(x), np.float32(-9))
    return c.inside(np.maximum(low, tip) * radius)


def arc(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.5, large=0.9)
    distance = np.float32(0.1) - np.abs(np.sqrt(x * x + y * y) - np.float32(0.85))
    return c.inside(np.minimum(distance, y - c.between(-0.3, 0.3)) * radius)


def wave(c: Canvas) -> Field:
    """A thick sinusoid; the slope makes it a little thinner at its zeros."""
    x, y, radius = _place(c, small=0.6, large=0.95)
    height = y - c.between(0.2, 0.4) * sine(x * c.between(0.8, 1.6))
    return c.inside(np.minimum(np.float32(0.16) - np.abs(height), 1 - np.abs(x)) * radius * np.float32(0.6))


def loop(c: Canvas) -> Field:
    """A Lissajous curve of frequencies 1 and 2: the least distance to 72 of its points."""
    x, y, radius = _place(c, small=0.55, large=0.9)
    phase = c.random(1, 1)
    least: Field = np.full((1, 1, 1), 9, np.float32)
    for k in range(72):
        t = np.full((1, 1, 1), k / 72, np.float32)
        px, py = sine(t) * np.float32(0.9), sine(2 * t + phase) * np.float32(0.7)
        least = np.minimum(least, (x - px) ** 2 + (y - py) ** 2)
    return c.inside((np.float32(0.13) - np.sqrt(least)) * radius)


def curl(c: Canvas) -> Field:
    """One and a half turns of a spiral."""
    x, y, radius = _place(c, small=0.6, large=0.95)
    r = np.sqrt(x * x + y * y)
    u = r * np.float32(1.5) - turns(y, x * c.either())
    on_line = np.float32(0.14) - np.abs(saw(u) - np.float32(0.5)) * np.float32(0.66)
    return c.inside(np.minimum(np.minimum(on_line, np.float32(0.95) - r), r - np.float32(0.1)) * radius)


def two_discs(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.5, large=0.9)
    return c.inside(_disc(np.abs(x) - np.float32(0.55), y, c.between(0.3, 0.42)) * radius)


def three_discs(c: Canvas) -> Field:
    x, y, radius = _place(c, small=0.55, large=0.9)
    size = c.between(0.25, 0.38)
    most: Field = np.full((1, 1, 1), -9, np.float32)
    for k in range(3):
        angle = 2 * math.pi * k / 3
        px, py = np.float32(0.55 * math.cos(angle)), np.float32(0.55 * math.sin(angle))
        most = np.maximum(most, _disc(x - px, y - py, size))
    return c.inside(most * radius)


SHAPES = (
    disc, ellipse, ring, triangle, square, pentagon, hexagon, star_of_five, star_of_six, star_of_eight, bar,
    three_bars, frame, cross, letter_l, letter_t, arrow, crescent, half_disc, sector, heart, drop, arc, wave, loop,
    curl, two_discs, three_discs,
)  # fmt: skip
