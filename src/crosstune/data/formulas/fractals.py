"""Fractals: the attractors of random iterated function systems, one system per class.

A system is two to six affine maps ``x -> A_i x + b_i`` of the plane whose singular values are below one: it then has
one compact attractor F with ``F = union of A_i F + b_i`` (Hutchinson 1981). Systems are drawn by the singular values of
their maps, whose sum decides how much of the plane an attractor fills (Anderson & Farrell).
"""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Parameters, check_size, generator, rows
from crosstune.data.formulas.plane import cosine, finished, uniform
from crosstune.data.proxies.drawing.canvas import sine
from crosstune.data.proxies.drawing.fractals import counted

MOST_MAPS, LARGEST = 6, 0.95  # largest singular value of a map
WALKERS, BURN_IN, STEPS = 64, 4, 18  # for 32 x 32 pixels: about one point per pixel
CHOICES = 64  # entries of the table by which a walker draws its next map


class Fractals:
    """The formula ``fractals``. Parameters: linear (K, 6, 2, 2), shift (K, 6, 2), and choice (K, 64), numbers of maps
    in proportion to their determinants, so that points cover the attractor evenly."""

    name = "fractals"
    kind = "grid"
    summary = "attractors of iterated function systems"
    reference = "Kataoka et al., ACCV 2020 (arXiv 2101.08515); Anderson & Farrell, WACV 2022 (arXiv 2110.03091)"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, "fractals", "parameters")
        maps = rng.integers(2, MOST_MAPS + 1, classes)
        values = np.stack([_singular_values(rng, int(n)) for n in maps])
        angles = rng.random((classes, MOST_MAPS, 2)).astype(np.float32)
        signs = np.where(rng.random((classes, MOST_MAPS)) < 0.5, -1, 1).astype(np.float32)
        linear = _composed(angles[..., 0], values, angles[..., 1], signs)
        shift = (2 * rng.random((classes, MOST_MAPS, 2)) - 1).astype(np.float32)
        choice = np.stack([_choices(v[:n]) for v, n in zip(values, maps)])
        return {"linear": linear.astype(np.float32), "shift": shift, "choice": choice}

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)  # type: ignore[arg-type]
        n, rng = len(labels), generator(seed, "fractals")
        own = rows(parameters, labels)
        # one number per map that keeps it a contraction, and a small move of its centre
        own["linear"] = own["linear"] * uniform(rng, 0.85, 1.05, n, MOST_MAPS, 1, 1)
        own["shift"] = own["shift"] + uniform(rng, -0.08, 0.08, n, MOST_MAPS, 2)
        many = max(1, size[0] * size[1] // 1024)
        points = attractor(own, rng, WALKERS * many, STEPS)
        angle = uniform(rng, -1 / 12, 1 / 12, n, 1)
        cos, sin = cosine(angle), sine(angle)
        x, y = points[..., 0] * cos - points[..., 1] * sin, points[..., 0] * sin + points[..., 1] * cos
        field = counted(x, y, (int(size[0]), int(size[1])))
        return finished(rng, _patched(rng, field), flip=0.5)


def attractor(own: Parameters, rng: np.random.Generator, walkers: int, steps: int) -> np.ndarray:
    """Points of the attractors by the chaos game (Barnsley 1988), (n, walkers * steps, 2) float32.

    own: parameters of n instances. Walkers start at the fixed point of the first map, which belongs to the attractor,
    so that every point does.
    """
    linear, shift, choice = own["linear"], own["shift"], own["choice"]
    n, maps = linear.shape[:2]
    rest = np.eye(2, dtype=np.float32) - linear[:, 0]
    determinant = rest[:, 0, 0] * rest[:, 1, 1] - rest[:, 0, 1] * rest[:, 1, 0]
    bx, by = shift[:, 0, 0], shift[:, 0, 1]
    x = np.repeat(((rest[:, 1, 1] * bx - rest[:, 0, 1] * by) / determinant)[:, None], walkers, axis=1)
    y = np.repeat(((rest[:, 0, 0] * by - rest[:, 1, 0] * bx) / determinant)[:, None], walkers, axis=1)
    numbers = np.concatenate([linear.reshape(n * maps, 4), shift.reshape(n * maps, 2)], axis=1)
    start = (np.arange(n) * maps)[:, None]
    table = (choice + start).ravel()
    first = (np.arange(n) * CHOICES)[:, None]
    out = np.empty((n, steps, walkers, 2), np.float32)
    for step in range(BURN_IN + steps):
        drawn = table[first + rng.integers(0, CHOICES, (n, walkers), dtype=np.uint8)]
        a, b, c, d, e, f = np.moveaxis(numbers[drawn], -1, 0)
        x, y = a * x + b * y + e, c * x + d * y + f
        if step >= BURN_IN:
            out[:, step - BURN_IN, :, 0], out[:, step - BURN_IN, :, 1] = x, y
    return out.reshape(n, steps * walkers, 2)


def _composed(first: np.ndarray, values: np.ndarray, second: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Matrices (..., 2, 2): a turn, stretches by the singular values (..., 2), another turn, perhaps a reflection.
    Written out, since a library's products may round differently elsewhere."""
    ca, sa, cb, sb = cosine(first), sine(first), cosine(second), sine(second)
    s1, s2 = values[..., 0], values[..., 1]
    top = np.stack([ca * s1 * cb - sa * s2 * sb, (-ca * s1 * sb - sa * s2 * cb) * signs], -1)
    low = np.stack([sa * s1 * cb + ca * s2 * sb, (-sa * s1 * sb + ca * s2 * cb) * signs], -1)
    return np.stack([top, low], -2)


def _singular_values(rng: np.random.Generator, maps: int) -> np.ndarray:
    """Pairs s1 >= s2 of all maps, (6, 2) with zeros behind the last map, such that the sum of s1 + 2 s2 lies between
    (5 + maps) / 2 and (6 + maps) / 2."""
    while True:
        s1 = LARGEST * np.sqrt(rng.random((256, maps)))
        s2 = s1 * rng.random((256, maps))
        total = (s1 + 2 * s2).sum(1)
        found = np.flatnonzero((total >= 0.5 * (5 + maps)) & (total <= 0.5 * (6 + maps)))
        if len(found):
            out = np.zeros((MOST_MAPS, 2))
            out[:maps] = np.stack([s1[found[0]], s2[found[0]]], -1)
            return out


def _choices(values: np.ndarray) -> np.ndarray:
    """Numbers of maps, (64,), each as often as its determinant asks, at least once."""
    share = values.prod(1) + 1e-3
    edges = np.cumsum(share / share.sum())
    drawn = np.searchsorted(edges, (np.arange(CHOICES) + 0.5) / CHOICES).clip(0, len(values) - 1)
    drawn[: len(values)] = np.arange(len(values))
    return drawn.astype(np.int64)


def _patched(rng: np.random.Generator, field: np.ndarray) -> np.ndarray:
    """Every point becomes a random 3 x 3 pattern of its picture, FractalDB's way of rendering."""
    n, height, width = field.shape
    pattern = (rng.random((n, 3, 3)) < 0.35).astype(np.float32)
    pattern[:, 1, 1] = 1
    wide = np.pad(field, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros_like(field)
    for i in range(3):
        for j in range(3):
            np.maximum(out, wide[:, i : i + height, j : j + width] * pattern[:, i, j, None, None], out=out)
    return out


FORMULA = Fractals()
