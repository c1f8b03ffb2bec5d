"""Waves: sums of plane, circular and mixed waves, from smooth ones to ones steepened into shocks."""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Parameters, check_size, generator, rows
from crosstune.data.formulas.plane import Field, axes, finished, per_row, standardised, uniform
from crosstune.data.proxies.drawing.canvas import saw, sine

MODES = 3
HALF = np.float32(0.5)


class Waves:
    """The formula ``waves``. Parameters: wave (K, 3, 2) whole cycles per shorter side along x and y, circular (K, 3)
    cycles per shorter side along the distance from centre (K, 3, 2), amplitude (K, 3), steep (K,) in [0, 1]: 0 a sine,
    1 a sawtooth, the limit of an inviscid Burgers wave."""

    name = "waves"
    kind = "grid"
    summary = "modes, interference of sources, and steepened waves"
    reference = "Whitham, Linear and Nonlinear Waves, 1974"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, "waves", "parameters")
        wave = np.round(rng.normal(0, 2.2, (classes, MODES, 2))).clip(-6, 6)
        still = (wave == 0).all(-1)
        wave[still] = (1.0, 0.0)
        circular = rng.random((classes, MODES)) < 0.3
        spiral = rng.random((classes, MODES)) < 0.3
        amplitude = rng.uniform(0.3, 1.0, (classes, MODES)) * (rng.random((classes, MODES)) < [1.0, 0.7, 0.5])
        return {
            "wave": np.where((circular & ~spiral)[..., None], 0.0, wave).astype(np.float32),
            "circular": np.where(circular, rng.uniform(1.0, 5.0, (classes, MODES)), 0.0),
            "centre": rng.uniform(-1.0, 1.0, (classes, MODES, 2)),
            "amplitude": amplitude,
            "steep": np.where(rng.random(classes) < 0.4, rng.uniform(0.3, 1.0, classes), 0.0),
        }

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)  # type: ignore[arg-type]
        n, rng = len(labels), generator(seed, "waves")
        own = rows(parameters, labels)
        own["centre"] = own["centre"] + uniform(rng, -0.15, 0.15, n, MODES, 2)
        own["amplitude"] = own["amplitude"] * uniform(rng, 0.8, 1.2, n, MODES)
        field = waves(own, rng.random((n, MODES), dtype=np.float32), (int(size[0]), int(size[1])))
        return finished(rng, standardised(field))


def waves(own: Parameters, phase: np.ndarray, size: tuple[int, int]) -> Field:
    """The fields of n instances at phases (n, 3) in turns."""
    x, y = axes(size)
    steep = per_row(own["steep"])
    total = np.zeros((len(phase), *size), np.float32)
    for j in range(MODES):
        centre = own["centre"][:, j]
        dx, dy = x - per_row(centre[:, 0]), y - per_row(centre[:, 1])
        u = np.sqrt(np.square(dx) + np.square(dy)) * (per_row(own["circular"][:, j]) * HALF)
        u += per_row(own["wave"][:, j, 0]) * HALF * x + per_row(own["wave"][:, j, 1]) * HALF * y
        u += per_row(phase[:, j])
        shape = sine(u)
        shape += steep * (1 - 2 * saw(u) - shape)
        total += per_row(own["amplitude"][:, j]) * shape
    return total


FORMULA = Waves()
