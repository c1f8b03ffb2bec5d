"""Stochastic processes: ARMA and long memory driven by quiet or wild innovations, bursts of volatility, random walks
with jumps."""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Kind, Parameters, check_size, generator, rows
from crosstune.data.formulas.varying import between, choose, finished, log_between

INNOVATIONS = ("normal", "laplace", "student", "sparse", "exponential")


def response(poles: np.ndarray, zeros: np.ndarray, memory: np.ndarray, points: int) -> np.ndarray:
    """Transfer function of ARFIMA filters at the frequencies of ``rfft`` of a record of ``points`` samples.

    H = prod_j (1 - z_j e^{-iw}) / prod_j (1 - p_j e^{-iw}) * (1 - e^{-iw})^{-d}. poles (n, P) and zeros (n, Q) complex,
    in the unit disc, conjugates given; memory (n,) is d, below 1/2. Complex (n, points // 2 + 1). At w = 0 the last
    factor is that of the lowest other frequency, and the poles' is what it is. (Hosking, Biometrika 68, 1981.)
    """
    w = 2 * np.pi * np.arange(points // 2 + 1) / points
    shift = np.exp(-1j * w)
    h = np.ones((len(poles), len(w)), complex)
    for j in range(zeros.shape[1]):
        h *= 1 - zeros[:, j, None] * shift
    for j in range(poles.shape[1]):
        h /= 1 - poles[:, j, None] * shift
    base = 1 - shift
    base[0] = base[1]
    return h * np.exp(-memory[:, None] * np.log(base))


class Stochastic:
    """Innovations through a causal filter, as a circular convolution over twice the record; half of it is kept.

    Class: poles (a real one and two pairs), zeros, order of fractional integration, law of the innovations, bursts of
    volatility, jumps, and whether the process is summed to a random walk. Instance: the innovations.
    """

    name = "stochastic"
    kind: Kind = "sequence"
    summary = "ARMA, long memory, random walks with jumps, volatility"
    reference = "Box & Jenkins 1970; fractional differences: Hosking, Biometrika 68 (1981)"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, self.name)
        some = lambda share: rng.random(classes) < share  # noqa: E731
        real = np.where(some(0.7), between(rng, classes, -0.95, 0.98), 0.0)
        radius = np.where(rng.random((classes, 2)) < (0.7, 0.4), between(rng, classes, 0.6, 0.985, 2), 0.0)
        angle = 2 * np.pi * log_between(rng, classes, 0.01, 0.4, 2)
        pairs = radius * np.exp(1j * angle)
        zero = between(rng, classes, 0.0, 0.98) * np.exp(1j * between(rng, classes, 0.0, np.pi))
        zero = np.where(some(0.5), zero, 0.0)
        return {
            "poles": np.concatenate([real[:, None].astype(complex), pairs, pairs.conj()], 1),
            "zeros": np.stack([zero, zero.conj()], 1),
            "memory": np.where(some(0.4), between(rng, classes, -0.4, 0.45), 0.0),
            "law": choose(rng, classes, len(INNOVATIONS)),
            "rate": log_between(rng, classes, 0.01, 0.15),  # of sparse innovations, per sample
            "volatility": np.where(some(0.35), between(rng, classes, 0.5, 1.5), 0.0),
            "burst": log_between(rng, classes, 0.02, 0.3),  # length of bursts, of the record
            "jumps": np.where(some(0.3), log_between(rng, classes, 1.0, 8.0), 0.0),  # per record
            "jump_size": between(rng, classes, 0.5, 3.0) * rng.choice((-1.0, 1.0), classes),
            "jump_sign": (rng.random(classes) < 0.5).astype(float),  # 1: always the same way
            "walk": some(0.25),
        }

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)
        n, length = len(labels), size[0]
        rng = generator(seed, self.name)
        own = rows(parameters, labels)
        e = _innovations(rng, own["law"], own["rate"], n, 2 * length)
        e *= _bursts(rng, own["volatility"], own["burst"], n, 2 * length)
        h = response(own["poles"], own["zeros"], own["memory"], 2 * length)
        x = np.fft.irfft(np.fft.rfft(e, axis=1) * h, 2 * length, axis=1)[:, :length]
        x = x / np.maximum(x.std(1, keepdims=True), 1e-9)
        summed = np.cumsum(x - x.mean(1, keepdims=True) * rng.random((n, 1)), 1)
        x = np.where(own["walk"][:, None], summed / np.maximum(summed.std(1, keepdims=True), 1e-9), x)
        strike = rng.random((n, length)) < own["jumps"][:, None] / length
        either = np.where(rng.random((n, length)) < 0.5, 1.0, -1.0)
        way = np.where(own["jump_sign"][:, None] > 0, 1.0, either)
        x = x + own["jump_size"][:, None] * np.cumsum(strike * way, 1)
        return finished(x, {}, rng)


def _innovations(rng: np.random.Generator, law: np.ndarray, rate: np.ndarray, n: int, points: int) -> np.ndarray:
    """Unit-variance, zero-mean noise by law (n,), except that sparse ones keep their mean."""
    out = rng.standard_normal((n, points))
    for code, draw in ((1, lambda k: rng.laplace(size=(k, points)) / np.sqrt(2)),
                       (2, lambda k: rng.standard_t(3, (k, points)) / np.sqrt(3)),
                       (4, lambda k: rng.standard_exponential((k, points)) - 1)):  # fmt: skip
        where = np.flatnonzero(law == code)
        out[where] = draw(len(where))
    where = np.flatnonzero(law == 3)
    strike = rng.random((len(where), points)) < rate[where, None]
    out[where] = strike * (1 + 0.3 * out[where]) + 0.02 * out[where]
    return out


def _bursts(rng: np.random.Generator, strength: np.ndarray, extent: np.ndarray, n: int, points: int) -> np.ndarray:
    """exp of slow noise: log-spread ``strength`` (n,), correlated over ``extent`` (n,) of half the points."""
    f = np.arange(points // 2 + 1)
    quiet = np.exp(-((f * extent[:, None] / 2) ** 2))
    slow = np.fft.irfft(np.fft.rfft(rng.standard_normal((n, points)), axis=1) * quiet, points, axis=1)
    return np.exp(strength[:, None] * slow / np.maximum(slow.std(1, keepdims=True), 1e-9))


FORMULA = Stochastic()
