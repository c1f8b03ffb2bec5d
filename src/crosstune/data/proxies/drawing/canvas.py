"""Coordinates, random numbers and the elementary functions of drawing. Fields are float32 (n, H, W)."""

from __future__ import annotations

import math

import numpy as np

from crosstune.seeding import derive_seed

BLOCK = 16  # pictures drawn at a time: their fields stay in the processor's cache
_STEPS = 4096
_SINE = np.array([math.sin(2 * math.pi * i / _STEPS) for i in range(_STEPS)], np.float32)
Field = np.ndarray


def sine(turns: Field) -> Field:
    """sin(2 pi turns) from a table of 4,096 entries (error at most 0.0016): library sines differ in the last bit
    between processors, and so would the pictures."""
    return _SINE[(turns * _STEPS + 2**20).astype(np.int32) & (_STEPS - 1)]


def saw(u: Field) -> Field:
    """The fractional part, in [0, 1)."""
    return u - np.floor(u)


def tri(u: Field) -> Field:
    """Triangle wave of period 1 in [0, 1], 1 at whole numbers."""
    return np.abs(2 * saw(u) - 1)


def turns(y: Field, x: Field) -> Field:
    """The angle of (x, y) in turns, [0, 1), with an error below 3e-4: the quadratic approximation of the arc tangent
    of Rajan et al., IEEE Signal Processing Magazine 23(3), 2006."""
    ax, ay = np.abs(x), np.abs(y)
    t = np.minimum(ax, ay) / np.maximum(np.maximum(ax, ay), np.float32(1e-9))
    angle = t / 8 - t * (t - 1) * (np.float32(0.038945) + np.float32(0.010552) * t)
    angle = np.where(ay > ax, np.float32(0.25) - angle, angle)
    angle = np.where(x < 0, np.float32(0.5) - angle, angle)
    return saw(np.where(y < 0, -angle, angle))


def smooth(t: Field) -> Field:
    """3 t^2 - 2 t^3."""
    return t * t * (3 - 2 * t)


class Canvas:
    """A block of pictures of one class: up to ``BLOCK`` rows, whatever is drawn for it comes from its own generator.

    Coordinates run from -1 to 1 over the shorter side. Random numbers are always drawn for a full block, so that a
    picture does not depend on how many are wanted; nothing but ``pixel`` depends on the size, so that another size
    shows the same picture.
    """

    def __init__(self, name: str, seed: int, block: int, rows: int, size: tuple[int, int]) -> None:
        self.rng = np.random.Generator(np.random.PCG64(derive_seed(seed, name, block)))
        self.rows, self.size = rows, size
        height, width = size
        self.pixel = np.float32(2.0 / min(size))
        self.X = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) * self.pixel)[None, None, :].astype(np.float32)
        self.Y = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) * self.pixel)[None, :, None].astype(
            np.float32
        )

    def random(self, *shape: int) -> np.ndarray:
        """float32 (rows, *shape) in [0, 1)."""
        return self.rng.random((BLOCK, *shape))[: self.rows].astype(np.float32)

    def between(self, low: float, high: float) -> Field:
        """One number per picture, (rows, 1, 1)."""
        return np.float32(low) + np.float32(high - low) * self.random(1, 1)

    def whole(self, low: int, high: int) -> Field:
        """One whole number per picture from low to high, both included, (rows, 1, 1) float32."""
        return np.floor(self.between(low, high + 1))

    def either(self) -> Field:
        """-1 or 1 per picture."""
        return np.where(self.random(1, 1) < 0.5, np.float32(-1), np.float32(1))

    def plane(self, *, shift: float = 1.0, turn: bool = True) -> tuple[Field, Field]:
        """Coordinates (x, y), moved by up to ``shift`` and turned by any angle, each picture on its own."""
        dx, dy = self.between(-shift, shift), self.between(-shift, shift)
        if not turn:
            return np.broadcast_arrays(self.X - dx, self.Y - dy)  # type: ignore[return-value]
        return self.turned(dx, dy)

    def turned(self, dx: Field | float, dy: Field | float) -> tuple[Field, Field]:
        """Coordinates around (dx, dy), turned by any angle."""
        angle = self.random(1, 1)
        cos, sin = sine(angle + np.float32(0.25)), sine(angle)
        x, y = self.X - dx, self.Y - dy
        return x * cos + y * sin, y * cos - x * sin

    def inside(self, distance: Field) -> Field:
        """Coverage of a pixel by a region: 1 inside, 0 outside, a ramp of one pixel at the edge. distance: to the
        edge in coordinates, positive inside."""
        return np.clip(distance / self.pixel + np.float32(0.5), 0, 1)

    def stripe(self, u: Field, share: Field | float, cycle: Field | float) -> Field:
        """Stripes of period 1 in ``u`` that cover ``share`` of it; cycle: length of a period in coordinates."""
        return self.inside((share / 2 - np.abs(saw(u) - np.float32(0.5))) * cycle)

    def lattice(self, cells: tuple[int, int], *, hard: bool = False) -> Field:
        """Value noise in [0, 1): random numbers on a lattice of ``cells`` (rows, columns) over the picture with
        smooth transitions, or none if ``hard``. Perlin, SIGGRAPH 1985."""
        values = self.random(cells[0] + 2, cells[1] + 2)
        offsets = self.rng.random(2).astype(np.float32)
        out = values
        for axis, (count, coordinate) in enumerate(zip(cells, (self.Y[0, :, 0], self.X[0, 0, :])), start=1):
            span = np.abs(coordinate).max() + self.pixel / 2
            at = (coordinate / span + 1) * np.float32(count / 2) + offsets[axis - 1]
            at = np.minimum(at, np.float32(count + 0.999))
            low = np.floor(at)
            index = low.astype(np.int64)
            part = smooth(at - low).reshape((1, -1, 1) if axis == 1 else (1, 1, -1))
            left = out.take(index, axis=axis)
            out = left if hard else left + (out.take(index + 1, axis=axis) - left) * part
        return out

    def noise(self, cells: int, octaves: int, keep: float, *, folded: bool = False) -> Field:
        """Octaves of value noise, each finer by two and weaker by ``keep``; in [0, 1]. folded: turbulence, the sum of
        absolute values."""
        total: Field = np.zeros((1, 1, 1), np.float32)
        weight, sum_of_weights = 1.0, 0.0
        for octave in range(octaves):
            layer = self.lattice((min(128, cells << octave),) * 2)
            total = total + np.float32(weight) * (np.abs(2 * layer - 1) if folded else layer)
            sum_of_weights += weight
            weight *= keep
        return total / np.float32(sum_of_weights)

    def points(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """``count`` random places per picture: x and y, (rows, count), a little beyond the edges."""
        at = self.random(2, count)
        reach = np.float32(1.1)
        wide = np.abs(self.X).max() * reach, np.abs(self.Y).max() * reach
        return (2 * at[:, 0] - 1) * wide[0], (2 * at[:, 1] - 1) * wide[1]
