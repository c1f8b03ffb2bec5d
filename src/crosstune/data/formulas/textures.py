"""Textures: Gaussian random fields of class-specific spectra, seen through a class-specific nonlinearity.

The spectrum is the sum of a power law behind a knee (von Karman: clouds, rough surfaces, turbulence) and a ring (the
band of wave numbers that a Turing instability amplifies), both stretched along a direction. Seen through a threshold, a
ring gives the spots and labyrinths of reaction and diffusion; seen through an absolute value, a power law gives ridges.
"""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Parameters, check_size, generator, rows
from crosstune.data.formulas.plane import Field, cosine, finished, per_row, standardised, uniform
from crosstune.data.proxies.drawing.canvas import sine

LINEAR, THRESHOLD, FOLDED, LINES = range(4)


class Textures:
    """The formula ``textures``. Parameters (K,): slope of the power spectrum over its wave number, knee and ring in
    cycles per shorter side, width of the ring relative to it, ring_share in [0, 1], stretch >= 1 along angle (turns),
    seen (0 linear, 1 threshold, 2 folded, 3 contour lines), level in spreads."""

    name = "textures"
    kind = "grid"
    summary = "Gaussian fields of random spectra, thresholded, folded or plain"
    reference = "Baradad et al., NeurIPS 2021 (arXiv 2106.05963); Turing, Phil. Trans. B 237, 1952"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, "textures", "parameters")
        ringed = rng.random(classes) < 0.6
        return {
            "slope": rng.uniform(1.0, 5.0, classes),
            "knee": 4.0 ** rng.uniform(-0.5, 1.0, classes),
            "ring": 2.5 * 4.5 ** rng.random(classes),
            "width": rng.uniform(0.05, 0.3, classes),
            "ring_share": np.where(ringed, rng.uniform(0.5, 1.0, classes), 0.0),
            "stretch": np.where(rng.random(classes) < 0.6, 5.0 ** rng.random(classes), 1.0),
            "angle": rng.uniform(0.0, 0.5, classes),
            "seen": rng.choice(4, classes, p=[0.4, 0.25, 0.15, 0.2]),
            "level": rng.uniform(-0.7, 0.7, classes),
        }

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)  # type: ignore[arg-type]
        n, rng = len(labels), generator(seed, "textures")
        own = {name: per_row(values) for name, values in rows(parameters, labels).items()}
        own["angle"] = own["angle"] + uniform(rng, -1 / 24, 1 / 24, n, 1, 1)
        zoom = uniform(rng, 0.85, 1.2, n, 1, 1)
        field = standardised(gaussian(own, rng, (int(size[0]), int(size[1])), zoom))
        return finished(rng, _seen(field, own["seen"], own["level"]), flip=0.2)


def spectrum(own: Parameters, size: tuple[int, int], zoom: np.ndarray | float = 1.0) -> Field:
    """Power at the wave numbers of ``numpy.fft.rfft2``, (n, H, W // 2 + 1): of the power law and of the ring, each with
    unit power in total, mixed by ``ring_share``. own: parameters as (n, 1, 1). zoom: of the wave numbers."""
    height, width = size
    short = min(size)
    ky = (np.fft.fftfreq(height) * short).astype(np.float32)[None, :, None]
    kx = (np.fft.rfftfreq(width) * short).astype(np.float32)[None, None, :]
    cos, sin = cosine(own["angle"]), sine(own["angle"])
    along, across = (kx * cos + ky * sin) * zoom, (ky * cos - kx * sin) * zoom
    squared = np.square(along) * own["stretch"] + np.square(across) / own["stretch"]
    law = np.power(1 + squared / np.square(own["knee"]), -own["slope"] / 2)
    law[:, 0, 0] = 0  # the level of a picture tells nothing
    gap = (np.sqrt(squared) / own["ring"] - 1) / own["width"]
    ring = np.exp(np.float32(-0.5) * np.square(gap)) + np.float32(1e-12)
    ring[:, 0, 0] = 0
    total = np.full(width // 2 + 1, 2, np.float32)  # of a real field most columns stand for two wave numbers
    total[0] = 1
    total[-1] = 1 if width % 2 == 0 else 2
    for part in (law, ring):
        part /= (part * total).sum((1, 2), keepdims=True)
    return (1 - own["ring_share"]) * law + own["ring_share"] * ring


def gaussian(own: Parameters, rng: np.random.Generator, size: tuple[int, int], zoom: np.ndarray | float = 1.0) -> Field:
    """Periodic Gaussian fields of these spectra and unit variance on average."""
    height, width = size
    noise = rng.standard_normal((len(own["slope"]), height, width), dtype=np.float32)
    amplitude = np.sqrt(spectrum(own, size, zoom) * np.float32(height * width))
    return np.fft.irfft2(np.fft.rfft2(noise) * amplitude, s=size).astype(np.float32, copy=False)


def _seen(field: Field, seen: np.ndarray, level: np.ndarray) -> Field:
    """The field through the nonlinearity of its class."""
    at = seen[:, 0, 0]
    out = field
    steep = at == THRESHOLD
    if steep.any():
        x = (field[steep] - level[steep]) * 8
        out[steep] = x / np.sqrt(1 + np.square(x))
    folded = at == FOLDED
    if folded.any():
        out[folded] = np.abs(field[folded] - level[folded])
    lines = at == LINES
    if lines.any():
        out[lines] = 1 / (1 + np.square((field[lines] - level[lines]) * 3))
    return out


FORMULA = Textures()
