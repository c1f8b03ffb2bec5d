"""Prototypes: one smooth or cornered curve per class, seen warped, shifted and bent; closed curves start anywhere."""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Kind, Parameters, check_size, generator, rows
from crosstune.data.formulas.varying import between, finished, log_between, noise_level, read_at, warped_time

POINTS = 128  # of a prototype
WAVES = 24


class Prototypes:
    """x(t) = p(t + shift) + bend: p is a random Fourier series whose power falls with frequency, made cornered by a
    class's own clipping and rectifying. Profiles of outlines, spectra and gestures look like this.

    Class: the curve, whether it is closed. Instance: warp, start of closed curves, shift of open ones, slow bend.
    """

    name = "prototypes"
    kind: Kind = "sequence"
    summary = "one curve per class, seen warped, shifted and bent"
    reference = "Fourier descriptors: Zahn & Roskies, IEEE Trans. Computers 21 (1972)"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, self.name)
        k = np.arange(1, WAVES + 1)
        fall = between(rng, classes, 0.5, 2.0)[:, None]
        c = (rng.standard_normal((classes, WAVES)) + 1j * rng.standard_normal((classes, WAVES))) / k**fall
        t = np.arange(2 * POINTS) / (2 * POINTS)
        curve = (c @ np.exp(2j * np.pi * np.outer(k, t))).real
        curve /= curve.std(1, keepdims=True)
        clip = between(rng, classes, 0.3, 3.0)[:, None]
        fold = (rng.random(classes) < 0.3)[:, None]
        curve = np.where(fold, np.abs(curve), curve)
        closed = rng.random(classes) < 0.4
        curve = np.clip(curve, -clip, clip)
        # open curves are a half of a closed one, so that their ends do not meet; closed ones are the whole
        half = curve[:, :POINTS]
        return {
            "curve": np.where(closed[:, None], curve[:, ::2], half).astype(np.float32),
            "closed": closed,
            "warp": between(rng, classes, 0.05, 0.5),
            "shift": np.where(rng.random(classes) < 0.5, between(rng, classes, 0.0, 0.15), 0.0),
            "bend": log_between(rng, classes, 0.02, 0.4),
            "noise": noise_level(rng, classes),
        }

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)
        n, length = len(labels), size[0]
        rng = generator(seed, self.name)
        own = rows(parameters, labels)
        even = (np.arange(length) + 0.5) / length
        t = even + (warped_time(rng, n, length, 1.0) - even) * own["warp"][:, None]
        closed = own["closed"][:, None]
        start = np.where(closed, rng.random((n, 1)), own["shift"][:, None] * rng.uniform(-1, 1, (n, 1)))
        place = t + start
        place = np.where(closed, place % 1.0, place)
        curve = np.concatenate([own["curve"], np.where(closed, own["curve"][:, :1], own["curve"][:, -1:])], 1)
        x = read_at(curve, place * POINTS)
        waves = np.arange(1, 4) * np.pi
        bend = (rng.standard_normal((n, 3)) / np.arange(1, 4)) @ np.cos(waves[:, None] * even)
        return finished(x + own["bend"][:, None] * bend, own, rng)


FORMULA = Prototypes()
