"""Contours: closed curves ``r(t) = 1 + sum_j a_j sin(n_j t + p_j)``, bent towards polygons; filled, or nested."""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Parameters, check_size, generator, rows
from crosstune.data.formulas.plane import QUARTER, Field, cosine, finished, per_row, placed, uniform
from crosstune.data.proxies.drawing.canvas import saw, sine, turns

TERMS, REACH = 3, 0.6  # of the sum; largest sum of amplitudes, so that radii stay between 0.4 and 1.6


class Contours:
    """The formula ``contours``. Parameters: order (K, 3) whole waves around the curve, amplitude (K, 3) with a sum of
    at most 0.6, phase (K, 3) in turns; corners (K,), 3 to 9, and polygon (K,) in [0, 1], how far the circle is bent
    towards the polygon; nested (K,) number of curves inside one another, 0 for a filled shape; flat (K,) ratio of
    axes; thick (K,) width of lines in radii."""

    name = "contours"
    kind = "grid"
    summary = "sinusoidal and polygonal contours, filled or nested"
    reference = "Kataoka et al., CVPR 2022 (arXiv 2206.09132); Takashima et al., CVPR 2023 (arXiv 2303.01112)"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, "contours", "parameters")
        order = np.argsort(rng.random((classes, 10)), axis=1)[:, :TERMS] + 1
        share = rng.random((classes, TERMS)) / np.sqrt(order)
        reach = rng.uniform(0.1, REACH, (classes, 1))
        return {
            "order": order.astype(np.int64),
            "amplitude": reach * share / share.sum(1, keepdims=True),
            "phase": rng.random((classes, TERMS)),
            "corners": rng.integers(3, 10, classes),
            "polygon": np.where(rng.random(classes) < 0.5, rng.uniform(0.4, 1.0, classes), 0.0),
            "nested": rng.choice(6, classes, p=[0.35, 0.2, 0.15, 0.1, 0.1, 0.1]),
            "flat": np.where(rng.random(classes) < 0.5, rng.uniform(0.5, 1.0, classes), 1.0),
            "thick": rng.uniform(0.08, 0.2, classes),
        }

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)  # type: ignore[arg-type]
        n, rng = len(labels), generator(seed, "contours")
        own = rows(parameters, labels)
        own["amplitude"] = own["amplitude"] * uniform(rng, 0.8, 1.0, n, TERMS)
        own["phase"] = own["phase"] + uniform(rng, -0.02, 0.02, n, TERMS)
        zoom = (0.45, 0.8)
        x, y = placed(rng, n, (int(size[0]), int(size[1])), turn=0.5, shift=0.2, zoom=zoom)
        y = y / per_row(own["flat"])
        distance = np.sqrt(np.square(x) + np.square(y))
        limit = radius(own, turns(y, x))
        pixel = np.float32(2.0 / min(size) / sum(zoom) * 2)
        inside = (limit - distance) / pixel
        nested = per_row(own["nested"])
        # lines at equal shares of the radius: how far a point is from the nearest, in pixels
        many = np.maximum(nested, 1)
        share = distance / limit * many
        off = np.abs(saw(share + np.float32(0.5)) - np.float32(0.5)) * limit / many / pixel
        off += np.where(share > many + np.float32(0.5), np.float32(99), np.where(share < 0.5, np.float32(99), 0))
        wide = per_row(own["thick"]) * uniform(rng, 0.8, 1.3, n, 1, 1) / pixel / np.sqrt(many)
        field = np.where(nested > 0, wide / 2 - off, inside)
        return finished(rng, np.clip(field + np.float32(0.5), 0, 1), flip=0.5)


def radius(own: Parameters, angle: Field) -> Field:
    """Radii of the curves at angles (n, H, W) in turns: between ``0.4 cos(pi / corners)`` and 1.6."""
    out = np.ones_like(angle)
    for j in range(TERMS):
        order, phase = per_row(own["order"][:, j]), per_row(own["phase"][:, j])
        out += per_row(own["amplitude"][:, j]) * sine(order * angle + phase)
    corners, bent = per_row(own["corners"]), per_row(own["polygon"])
    half = np.float32(0.5) / corners  # half a side, in turns
    side = saw(angle * corners) * 2 * half - half
    polygon = cosine(half) / sine(side + QUARTER)
    return out * (1 + bent * (polygon - 1))


FORMULA = Contours()
