"""Events in time: pulse trains, heart-beat-like rhythms, templates at random places, steps and broken trends."""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Kind, Parameters, check_size, generator, rows
from crosstune.data.formulas.varying import between, choose, finished, log_between, noise_level

BUMPS = 5  # of a template: as many waves as a heart beat has (P, Q, R, S, T)
MOST = 24  # events of a record
PIECES = 6  # of a broken trend
RHYTHMS = ("regular", "poisson", "bursts", "single", "pair")


class Events:
    """A template repeated by a rhythm, over a broken trend.

    A template is a sum of Gaussians (for heart beats: McSharry et al., IEEE Trans. Biomed. Eng. 50, 2003), or these
    with one side cut off, which gives steps and decays. Class: template, rhythm, trend. Instance: moments, sizes, where
    the trend breaks.
    """

    name = "events"
    kind: Kind = "sequence"
    summary = "pulse trains, heart-beat-like rhythms, templates at random places, broken trends"
    reference = "sum of Gaussians per beat: McSharry et al., IEEE Trans. Biomed. Eng. 50 (2003)"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, self.name)
        width = log_between(rng, classes, 0.02, 0.25)  # of a template, of the record
        return {
            "rhythm": rng.choice(len(RHYTHMS), classes, p=(0.35, 0.15, 0.15, 0.2, 0.15)),
            "rate": log_between(rng, classes, 2.0, 16.0),
            "jitter": between(rng, classes, 0.0, 0.15),
            "gap": between(rng, classes, 0.1, 0.5),
            "width": width,
            "centre": np.sort(between(rng, classes, -0.5, 0.5, BUMPS), 1),
            "spread": log_between(rng, classes, 0.02, 0.25, BUMPS),
            "height": rng.standard_normal((classes, BUMPS)) * (rng.random((classes, BUMPS)) < 0.7) + 0.3,
            "cut": choose(rng, classes, 4, BUMPS),  # 1: the right side alone, 2: the left, else both
            "alternate": np.where(rng.random(classes) < 0.25, between(rng, classes, -1.0, 0.5), 1.0),
            "trend": np.where(rng.random(classes) < 0.5, log_between(rng, classes, 0.2, 2.0), 0.0),
            "slopes": rng.standard_normal((classes, PIECES)),
            "steps": rng.standard_normal((classes, PIECES)) * (rng.random((classes, 1)) < 0.5),
            "pieces": rng.integers(1, PIECES + 1, classes),
            "noise": noise_level(rng, classes),
        }

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)
        n, length = len(labels), size[0]
        rng = generator(seed, self.name)
        own = rows(parameters, labels)
        t = (np.arange(length) + 0.5) / length
        moments, sizes = _moments(rng, own, n)
        x = np.zeros((n, length))
        table = _templates(own, 65)
        # an event touches a few samples only: add its template there, event by event
        width = own["width"][:, None]
        for k in range(MOST):
            place = (t - moments[:, k, None]) / width + 0.5  # in [0, 1] within the template
            inside = (place >= 0) & (place < 1) & (sizes[:, k, None] != 0)
            row, column = np.nonzero(inside)
            position = place[row, column] * 64
            left = position.astype(np.int64)
            share = position - left
            value = table[row, left] * (1 - share) + table[row, left + 1] * share
            x[row, column] += sizes[row, k] * value
        x = x / np.maximum(x.std(1, keepdims=True), 1e-9)
        return finished(x + own["trend"][:, None] * _broken(rng, own, t), own, rng)


def _templates(own: Parameters, points: int) -> np.ndarray:
    """(n, points): the template from its left to its right end, zero at both."""
    u = np.linspace(-0.5, 0.5, points)[None, None]
    offset = u - 0.8 * own["centre"][:, :, None]
    bumps = np.exp(-((offset / own["spread"][:, :, None]) ** 2) / 2)
    cut = own["cut"][:, :, None]
    bumps *= np.where(cut == 1, offset >= 0, np.where(cut == 2, offset <= 0, True))
    taper = np.minimum(1.0, 8 * (0.5 - np.abs(u[0])))
    return (own["height"][:, :, None] * bumps).sum(1) * taper


def _moments(rng: np.random.Generator, own: Parameters, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Moments (n, MOST) in record lengths and sizes (n, MOST), zero where there is no event."""
    rate = np.minimum(own["rate"] * np.exp(0.05 * rng.standard_normal(n)), MOST - 4)[:, None]
    k = np.arange(MOST)[None]
    shake = own["jitter"][:, None] * rng.standard_normal((n, MOST))
    regular = (k + rng.random((n, 1)) - 1 + shake) / rate
    poisson = np.cumsum(rng.standard_exponential((n, MOST)), 1) / rate - 1 / rate
    group = k // 4  # four events close together, then a pause
    bursts = (4 * group + 0.25 * 4 * own["gap"][:, None] * (k % 4) + 4 * rng.random((n, 1)) - 2 + shake) / rate
    single = np.where(k == 0, rng.uniform(0.15, 0.85, (n, 1)), -9.0)
    first = rng.uniform(0.05, 0.85 - own["gap"][:, None])
    pair = np.where(k == 0, first, np.where(k == 1, first + own["gap"][:, None], -9.0))
    moments = np.select([own["rhythm"][:, None] == code for code in range(5)],
                        [regular, poisson, bursts, single, pair])  # fmt: skip
    sizes = 1 + 0.1 * rng.standard_normal((n, MOST))
    return moments, sizes * np.where(k % 2 == 1, own["alternate"][:, None], 1.0) * (np.abs(moments) < 2)


def _broken(rng: np.random.Generator, own: Parameters, t: np.ndarray) -> np.ndarray:
    """(n, L) of spread one: slopes and steps of the class, breaks near their even places."""
    n = len(own["slopes"])
    k = np.arange(PIECES)
    count = own["pieces"][:, None]
    breaks = (k + np.where(k > 0, 0.25 * rng.standard_normal((n, PIECES)), 0.0)) / count
    out = np.zeros((n, len(t)))
    before = np.zeros(n)
    for j in range(PIECES):
        real = (j < count[:, 0])[:, None]
        after = np.maximum(t - breaks[:, j, None], 0)
        change = own["slopes"][:, j] - before  # the slope of this piece replaces the one before
        out += real * (3 * change[:, None] * after + own["steps"][:, j, None] * (t >= breaks[:, j, None]))
        before = np.where(real[:, 0], own["slopes"][:, j], before)
    return (out - out.mean(1, keepdims=True)) / np.maximum(out.std(1, keepdims=True), 1e-9)


FORMULA = Events()
