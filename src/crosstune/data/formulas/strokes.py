"""Strokes: signs of one to three quadratic Bezier curves, like letters of scripts that nobody has written."""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Parameters, check_size, generator
from crosstune.data.formulas.plane import axes, cosine, finished, uniform
from crosstune.data.proxies.drawing.canvas import sine

MOST, POINTS = 3, 12  # strokes of a sign; points along each
_T = ((np.arange(POINTS) + 0.5) / POINTS).astype(np.float32)
BASIS = np.stack([(1 - _T) ** 2, 2 * _T * (1 - _T), _T**2])  # (3, POINTS), Bernstein polynomials


class Strokes:
    """The formula ``strokes``. Parameters: control (K, 3, 3, 2), control points of every stroke in [-1, 1]; signs of
    fewer strokes repeat their last one."""

    name = "strokes"
    kind = "grid"
    summary = "signs of a few curved strokes"
    reference = "Lake, Salakhutdinov & Tenenbaum, Science 350, 2015 (signs as programs of strokes)"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, "strokes", "parameters")
        control = rng.uniform(-1, 1, (classes, MOST, 3, 2)).astype(np.float32)
        count = rng.integers(1, MOST + 1, classes)
        joined = rng.random((classes, MOST)) < 0.5
        straight = rng.random((classes, MOST)) < 0.3
        for k in range(MOST):
            if k:
                on = joined[:, k] & (k < count)
                control[on, k, 0] = control[on, k - 1, 2]
                control[:, k] = np.where((k < count)[:, None, None], control[:, k], control[:, k - 1])
            middle = (control[:, k, 0] + control[:, k, 2]) / 2
            control[:, k, 1] = np.where(straight[:, k, None] & (k < count)[:, None], middle, control[:, k, 1])
        return {"control": control}

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)  # type: ignore[arg-type]
        n, rng = len(labels), generator(seed, "strokes")
        control = parameters["control"][labels]
        control = control + uniform(rng, -0.12, 0.12, *control.shape)
        x, y = curves(control)
        # slant, aspect and size are a hand's, not the sign's
        angle, slant = uniform(rng, -1 / 24, 1 / 24, n, 1), uniform(rng, -0.25, 0.25, n, 1)
        wide, high = uniform(rng, 0.5, 0.9, n, 1), uniform(rng, 0.5, 0.9, n, 1)
        x, y = (x + slant * y) * wide, y * high
        cos, sin = cosine(angle), sine(angle)
        x, y = x * cos - y * sin, x * sin + y * cos
        x, y = x + uniform(rng, -0.15, 0.15, n, 1), y + uniform(rng, -0.15, 0.15, n, 1)
        square = _nearest(x, y, (int(size[0]), int(size[1])))
        thick, soft = uniform(rng, 0.07, 0.18, n, 1, 1), uniform(rng, 0.06, 0.16, n, 1, 1)
        field = np.clip((thick - np.sqrt(square)) / soft + np.float32(0.5), 0, 1)
        return finished(rng, field, flip=0.5)


def curves(control: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points along the strokes, x and y (n, 3 * POINTS): sums over three control points in a fixed order."""
    points = sum(control[:, :, k, None, :] * BASIS[k][None, None, :, None] for k in range(3))
    flat = np.asarray(points, np.float32).reshape(len(control), -1, 2)
    return flat[..., 0], flat[..., 1]


def _nearest(x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Squared distance of every pixel to the nearest point, (n, H, W)."""
    across, down = axes(size)
    best = np.full((len(x), *size), 99, np.float32)
    work = np.empty_like(best)
    for k in range(x.shape[1]):
        dx, dy = np.square(across - x[:, k, None, None]), np.square(down - y[:, k, None, None])
        np.add(dx, dy, out=work)
        np.minimum(best, work, out=best)
    return best


FORMULA = Strokes()
