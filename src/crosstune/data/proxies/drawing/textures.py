"""Textures that fill a picture: each function gives values in [0, 1] for a block, (n, H, W)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crosstune.data.proxies.drawing.canvas import Canvas, Field, saw, sine, tri, turns

Draw = Callable[[Canvas], Field]


def sine_grating(c: Canvas) -> Field:
    x, _ = c.plane()
    return 0.5 + 0.5 * sine(x * c.between(1.5, 8))


def square_grating(c: Canvas) -> Field:
    x, _ = c.plane()
    f = c.between(1.5, 7)
    return c.stripe(x * f, 0.5, 1 / f)


def sawtooth_grating(c: Canvas) -> Field:
    x, _ = c.plane()
    return saw(x * c.between(1.5, 6))


def thin_lines(c: Canvas) -> Field:
    x, _ = c.plane()
    f = c.between(2, 7)
    return c.stripe(x * f, c.between(0.1, 0.2), 1 / f)


def double_lines(c: Canvas) -> Field:
    x, _ = c.plane()
    f = c.between(1.2, 4)
    u = x * f
    return np.maximum(c.stripe(u, 0.16, 1 / f), c.stripe(u + np.float32(0.3), 0.16, 1 / f))


def wavy_stripes(c: Canvas) -> Field:
    x, y = c.plane()
    f = c.between(2, 6)
    bent = x + c.between(0.08, 0.25) * sine(y * c.between(0.7, 2))
    return c.stripe(bent * f, 0.5, 1 / f)


def zigzag(c: Canvas) -> Field:
    x, y = c.plane()
    f = c.between(2, 6)
    bent = x + c.between(0.2, 0.5) * tri(y * c.between(1, 2.5))
    return c.stripe(bent * f, 0.5, 0.7 / f)


def plaid(c: Canvas) -> Field:
    x, y = c.plane()
    f, g, share = c.between(1.5, 5), c.between(1.5, 5), c.between(0.25, 0.5)
    return 0.5 * c.stripe(x * f, share, 1 / f) + 0.5 * c.stripe(y * g, share, 1 / g)


def checkers(c: Canvas) -> Field:
    x, y = c.plane()
    f = c.between(1.2, 5)
    a, b = c.stripe(x * f, 0.5, 1 / f), c.stripe(y * f, 0.5, 1 / f)
    return a + b - 2 * a * b


def bricks(c: Canvas) -> Field:
    x, y = c.plane()
    f = c.between(1.5, 4)
    row = np.floor(y * f)
    u = x * f * np.float32(0.5) + np.float32(0.5) * (row - 2 * np.floor(row / 2))
    flat = c.stripe(y * f, 0.82, 1 / f)
    return flat * c.stripe(u, 0.91, 2 / f)


def honeycomb(c: Canvas) -> Field:
    """Distance to the nearest edge of hexagonal cells: two staggered rectangular lattices, the nearer centre wins."""
    x, y = c.plane()
    f = c.between(1.5, 4.5)
    u, v = x * f, y * f
    root = np.float32(1.7320508)
    au, av = saw(u) - np.float32(0.5), (saw(v / root) - np.float32(0.5)) * root
    bu, bv = saw(u + np.float32(0.5)) - np.float32(0.5), (saw(v / root + np.float32(0.5)) - np.float32(0.5)) * root
    nearer = au * au + av * av < bu * bu + bv * bv
    u, v = np.abs(np.where(nearer, au, bu)), np.abs(np.where(nearer, av, bv))
    edge = np.float32(0.5) - np.maximum(u, np.float32(0.5) * u + np.float32(0.8660254) * v)
    return c.inside((edge - c.between(0.04, 0.1)) / f)


def triangles(c: Canvas) -> Field:
    x, y = c.plane()
    f = c.between(1, 3.5)
    h = np.float32(0.8660254)
    a, b, d = np.floor(y * f / h), x * f, y * f * np.float32(0.5) / h
    odd = a + np.floor(b - d) + np.floor(b + d)
    return odd - 2 * np.floor(odd / 2)


def dots_in_rows(c: Canvas) -> Field:
    x, y = c.plane()
    f = c.between(1.5, 5)
    u, v = saw(x * f) - np.float32(0.5), saw(y * f) - np.float32(0.5)
    return c.inside((c.between(0.15, 0.38) - np.sqrt(u * u + v * v)) / f)


def dots_scattered(c: Canvas) -> Field:
    px, py = c.points(14)
    radius = np.float32(0.08) + np.float32(0.2) * c.random(14)
    best: Field = np.full((1, 1, 1), -9, np.float32)
    for k in range(14):
        dx, dy = c.X - px[:, k, None, None], c.Y - py[:, k, None, None]
        best = np.maximum(best, radius[:, k, None, None] - np.sqrt(dx * dx + dy * dy))
    return c.inside(best)


def scratches(c: Canvas) -> Field:
    px, py = c.points(10)
    angle, length = c.random(10), np.float32(0.2) + np.float32(0.7) * c.random(10)
    best: Field = np.full((1, 1, 1), -9, np.float32)
    for k in range(10):
        cos, sin = sine(angle[:, k] + np.float32(0.25))[:, None, None], sine(angle[:, k])[:, None, None]
        dx, dy = c.X - px[:, k, None, None], c.Y - py[:, k, None, None]
        along, across = np.abs(dx * cos + dy * sin), np.abs(dy * cos - dx * sin)
        best = np.maximum(best, np.minimum(np.float32(0.035) - across, length[:, k, None, None] - along))
    return c.inside(best)


def rings(c: Canvas) -> Field:
    x, y = c.plane(shift=0.5)
    f = c.between(2, 6)
    return c.stripe(np.sqrt(x * x + y * y) * f, 0.5, 1 / f)


def spokes(c: Canvas) -> Field:
    x, y = c.plane(shift=0.5)
    return tri(turns(y, x) * c.whole(4, 16))


def spiral(c: Canvas) -> Field:
    x, y = c.plane(shift=0.4)
    f = c.between(1.5, 4)
    return c.stripe(np.sqrt(x * x + y * y) * f + c.either() * turns(y, x) * c.whole(1, 3), 0.5, 1 / f)


def zone_plate(c: Canvas) -> Field:
    x, y = c.plane(shift=0.4)
    return 0.5 + 0.5 * sine((x * x + y * y) * c.between(2, 6))


def moire(c: Canvas) -> Field:
    x, y = c.plane()
    f = c.between(4, 7)
    first = 0.5 + 0.5 * sine(x * f)
    return first * (0.5 + 0.5 * sine((x + c.between(-0.3, 0.3) * y) * f * c.between(0.8, 1.2)))


def gabor(c: Canvas) -> Field:
    """A grating under a bell, (1 + r^2 / s)^-2."""
    x, y = c.plane(shift=0.5)
    bell = 1 / (1 + (x * x + y * y) * c.between(3, 12))
    return 0.5 + 0.5 * sine(x * c.between(2, 6)) * bell * bell


def _cells(c: Canvas, count: int) -> tuple[Field, Field, Field]:
    """Distance to the nearest and to the second of ``count`` random places, and a random number of the nearest.

    Worley, SIGGRAPH 1996."""
    px, py = c.points(count)
    own = c.random(count)
    first: Field = np.full((c.rows, *c.size), 99, np.float32)
    second, value = first, first
    for k in range(count):
        dx, dy = c.X - px[:, k, None, None], c.Y - py[:, k, None, None]
        squared = dx * dx + dy * dy
        nearer = squared < first
        second = np.minimum(second, np.where(nearer, first, squared))
        first = np.where(nearer, squared, first)
        value = np.where(nearer, own[:, k, None, None], value)
    return np.sqrt(first), np.sqrt(second), value


def voronoi_tiles(c: Canvas) -> Field:
    return _cells(c, 18)[2]


def voronoi_edges(c: Canvas) -> Field:
    first, second, _ = _cells(c, 16)
    return 1 - c.inside(second - first - c.between(0.03, 0.08))


def voronoi_cones(c: Canvas) -> Field:
    return np.minimum(_cells(c, 16)[0] * 2, 1)


def grain(c: Canvas) -> Field:
    return c.lattice((64, 64), hard=True)


def mosaic(c: Canvas) -> Field:
    return c.lattice((7, 7), hard=True)


def blobs(c: Canvas) -> Field:
    return c.lattice((6, 6))


def clouds(c: Canvas) -> Field:
    return np.clip(c.noise(2, 5, 0.5) * 2 - 0.5, 0, 1)


def pink_noise(c: Canvas) -> Field:
    return np.clip(c.noise(4, 5, 0.9) * 2 - 0.5, 0, 1)


def turbulence(c: Canvas) -> Field:
    return np.clip(c.noise(3, 4, 0.6, folded=True) * 1.6 - 0.2, 0, 1)


def ridges(c: Canvas) -> Field:
    sharp = 1 - np.abs(2 * c.noise(2, 4, 0.5) - 1) * 2
    return np.clip(sharp, 0, 1) ** 2


def marble(c: Canvas) -> Field:
    x, _ = c.plane()
    return 0.5 + 0.5 * sine(x * c.between(1, 3) + c.between(0.6, 1.4) * c.noise(2, 5, 0.55, folded=True))


def wood(c: Canvas) -> Field:
    x, y = c.plane(shift=1.5)
    y = y * np.float32(0.25)
    return saw(np.sqrt(x * x + y * y) * c.between(3, 6) + c.noise(2, 3, 0.5))


def contours(c: Canvas) -> Field:
    return c.stripe(c.noise(2, 2, 0.4) * c.between(6, 10), 0.3, 0.25)


def camouflage(c: Canvas) -> Field:
    field = c.noise(3, 3, 0.5)
    return (np.floor(field * 4 + c.between(0, 1)) * np.float32(0.37)) % 1


def streaks(c: Canvas) -> Field:
    a, b = c.lattice((64, 4)), c.lattice((4, 64))
    return np.where(c.random(1, 1) < 0.5, a, b)


def scales(c: Canvas) -> Field:
    """Overlapping discs in staggered rows: the distance to the centre of the uppermost."""
    x, y = c.plane()
    f = c.between(1.5, 4)
    u, v = x * f, y * f
    row = np.floor(v)
    best: Field = np.zeros((1, 1, 1), np.float32)
    for back in (1, 0):
        line = row - back
        du = saw(u + np.float32(0.5) * (line - 2 * np.floor(line / 2))) - np.float32(0.5)
        dv = (v - line) * np.float32(0.6)
        distance = np.sqrt(du * du + dv * dv) * np.float32(1.7)
        best = np.where(distance < 1, distance, best)
    return best


def weave(c: Canvas) -> Field:
    x, y = c.plane()
    f = c.between(1.5, 4)
    u, v = x * f, y * f
    odd = np.floor(u) + np.floor(v)
    over = odd - 2 * np.floor(odd / 2) > 0
    along = np.where(over, v, u)
    return 1 - np.abs(2 * saw(along) - 1) ** 2


def gradient(c: Canvas) -> Field:
    x, _ = c.plane(shift=0.3)
    return np.clip(0.5 + x * c.between(0.3, 0.6), 0, 1)


def glow(c: Canvas) -> Field:
    x, y = c.plane(shift=0.5)
    return 1 / (1 + (x * x + y * y) * c.between(1, 5))


TEXTURES: tuple[Draw, ...] = (
    sine_grating, square_grating, sawtooth_grating, thin_lines, double_lines, wavy_stripes, zigzag, plaid, checkers,
    bricks, honeycomb, triangles, dots_in_rows, dots_scattered, scratches, rings, spokes, spiral, zone_plate, moire,
    gabor, voronoi_tiles, voronoi_edges, voronoi_cones, grain, mosaic, blobs, clouds, pink_noise, turbulence, ridges,
    marble, wood, contours, camouflage, streaks, scales, weave, gradient, glow,
)  # fmt: skip
