"""Flows: a front, a gradient or stripes stirred by vortices, with the vortices' own blobs: scalars in a fluid.

A vortex turns the plane around its centre by an angle that falls off with distance: an exact, area-preserving map, as
blinking vortices are (Aref, J. Fluid Mech. 143, 1984). What is drawn is a simple scalar at the places where points came
from.
"""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Parameters, check_size, generator, rows
from crosstune.data.formulas.plane import Field, cosine, finished, per_row, placed, uniform
from crosstune.data.proxies.drawing.canvas import sine

VORTICES = 3


class Flows:
    """The formula ``flows``. Parameters: centre (K, 3, 2) and core (K, 3) of vortices in units of half the shorter
    side, turn (K, 3) in turns at the centre, blob (K, 3) heights of bells on the vortices, front (K, 4): height,
    sharpness, place and direction (turns), stripes (K, 3): height, cycles per unit, direction."""

    name = "flows"
    kind = "grid"
    summary = "fronts and stripes stirred by vortices"
    reference = "Aref, Journal of Fluid Mechanics 143, 1984"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, "flows", "parameters")
        there = rng.random((classes, VORTICES)) < [0.9, 0.6, 0.4]
        sign = np.where(rng.random((classes, VORTICES)) < 0.5, -1.0, 1.0)
        drawn = rng.choice(4, classes, p=[0.35, 0.25, 0.2, 0.2])  # front, stripes, blobs, all of them
        has = lambda kind: ((drawn == kind) | (drawn == 3)).astype(float)  # noqa: E731
        front = np.stack([
            has(0) * rng.uniform(0.7, 1.5, classes), 2.0 * 15.0 ** rng.random(classes),
            rng.uniform(-0.4, 0.4, classes), rng.random(classes),
        ], axis=1)  # fmt: skip
        stripes = np.stack([has(1) * rng.uniform(0.5, 1.0, classes), rng.uniform(0.5, 2.5, classes),
                            rng.random(classes)], axis=1)  # fmt: skip
        return {
            "centre": rng.uniform(-0.8, 0.8, (classes, VORTICES, 2)),
            "core": rng.uniform(0.25, 0.7, (classes, VORTICES)),
            "turn": there * sign * rng.uniform(0.1, 0.9, (classes, VORTICES)),
            "blob": has(2)[:, None] * there * sign * rng.uniform(0.4, 1.5, (classes, VORTICES)) + 0.0,
            "front": front,
            "stripes": stripes,
        }

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)  # type: ignore[arg-type]
        n, rng = len(labels), generator(seed, "flows")
        own = rows(parameters, labels)
        own["centre"] = own["centre"] + uniform(rng, -0.12, 0.12, n, VORTICES, 2)
        own["turn"] = own["turn"] * uniform(rng, 0.7, 1.2, n, VORTICES)
        x, y = placed(rng, n, (int(size[0]), int(size[1])), turn=1 / 12, shift=0.2, zoom=(0.8, 1.25))
        return finished(rng, flow(own, x, y, uniform(rng, -0.15, 0.15, n)))


def stirred(own: Parameters, x: Field, y: Field) -> tuple[Field, Field, list[Field]]:
    """Where the points (x, y) came from, and the bell (1 + r^2 / core^2)^-2 of every vortex on the way."""
    bells = []
    for k in range(VORTICES):
        cx, cy = per_row(own["centre"][:, k, 0]), per_row(own["centre"][:, k, 1])
        dx, dy = x - cx, y - cy
        near = 1 / (1 + (np.square(dx) + np.square(dy)) / np.square(per_row(own["core"][:, k])))
        bell = np.square(near)
        angle = per_row(own["turn"][:, k]) * bell
        cos, sin = cosine(angle), sine(angle)
        x, y = cx + dx * cos - dy * sin, cy + dx * sin + dy * cos
        bells.append(bell)
    return x, y, bells


def flow(own: Parameters, x: Field, y: Field, moved: np.ndarray) -> Field:
    """The scalar at points (x, y), (n, H, W). moved (n,): how far front and stripes have gone."""
    x, y, bells = stirred(own, x, y)
    height, sharp, place, direction = (per_row(own["front"][:, j]) for j in range(4))
    gap = (x * cosine(direction) + y * sine(direction) - place - per_row(moved)) * sharp
    out = height * gap / np.sqrt(1 + np.square(gap))
    tall, cycles, direction = (per_row(own["stripes"][:, j]) for j in range(3))
    out += tall * sine((x * cosine(direction) + y * sine(direction) + per_row(moved)) * cycles)
    for k, bell in enumerate(bells):
        out += per_row(own["blob"][:, k]) * bell
    return out


FORMULA = Flows()
