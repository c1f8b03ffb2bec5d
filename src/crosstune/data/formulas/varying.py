"""What makes instances of a class differ: time warps, level, amplitude, noise. Shared by the sequence families."""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Parameters

Signals = np.ndarray  # (n, L)


def choose(rng: np.random.Generator, classes: int, options: int, count: int | None = None) -> np.ndarray:
    """Codes below ``options`` for every class, (K,) or (K, count), as int64."""
    return rng.integers(0, options, classes if count is None else (classes, count))


def between(rng: np.random.Generator, classes: int, low: float, high: float, count: int | None = None) -> np.ndarray:
    """Numbers uniform in [low, high], (K,) or (K, count)."""
    return rng.uniform(low, high, classes if count is None else (classes, count))


def log_between(
    rng: np.random.Generator, classes: int, low: float, high: float, count: int | None = None
) -> np.ndarray:
    """Numbers uniform in their logarithm."""
    return np.exp(between(rng, classes, np.log(low), np.log(high), count))


def standardised(x: Signals) -> Signals:
    """Zero mean and unit spread per signal; a constant signal becomes zero."""
    x = x - x.mean(1, keepdims=True)
    spread = x.std(1, keepdims=True)
    return x / np.where(spread > 1e-9, spread, 1.0)


def warped_time(rng: np.random.Generator, n: int, length: int, strength: float = 0.1) -> np.ndarray:
    """(n, L) increasing times in [0, 1]: the identity plus three slow sines whose slopes sum to at most ``strength``
    (below 1, so time never runs backwards)."""
    t = (np.arange(length) + 0.5) / length
    waves = np.arange(1, 4) * np.pi
    share = rng.random((n, 3))
    weights = rng.uniform(-strength, strength, (n, 3)) * share / share.sum(1, keepdims=True) / waves
    return t + weights @ np.sin(waves[:, None] * t)


def read_at(curves: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Linear interpolation: curves (n, M) at positions (n, L) in samples; the ends are repeated outside."""
    most = curves.shape[1] - 1
    position = np.clip(position, 0, most)
    left = np.minimum(position.astype(np.int64), max(most - 1, 0))
    share = position - left
    low = np.take_along_axis(curves, left, 1)
    return low + share * (np.take_along_axis(curves, np.minimum(left + 1, most), 1) - low)


def noise_level(rng: np.random.Generator, classes: int) -> np.ndarray:
    """Spread of white noise relative to the signal's, per class: three in four below 0.2."""
    return 0.3 * rng.random(classes) ** 2


def finished(x: Signals, own: Parameters, rng: np.random.Generator) -> np.ndarray:
    """A batch as the contract wants it: standardised, noise of the class's level ``noise`` (n,), then an amplitude and
    a level of the instance's own. (n, L) -> float32 (n, 1, L)."""
    n, length = x.shape
    x = standardised(x)
    if "noise" in own:
        x = x + own["noise"][:, None] * rng.standard_normal((n, length), dtype=np.float32)
    amplitude = np.exp(0.2 * rng.standard_normal((n, 1)))
    level = 0.2 * rng.standard_normal((n, 1))
    return (amplitude * x + level).astype(np.float32)[:, None]
