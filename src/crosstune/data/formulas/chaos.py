"""Deterministic chaos: maps, flows with polynomial right-hand sides, and the Mackey-Glass delay equation."""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.chaotic_flows import FLOWS, flow_paths
from crosstune.data.formulas.contract import Kind, Parameters, check_size, generator, rows
from crosstune.data.formulas.varying import between, finished, log_between, noise_level

MAPS = ("logistic", "henon", "sine", "ricker", "circle", "tent", "gauss", "delayed logistic")
BURN = 64  # steps before anything is kept


def iterate(code: int, a: np.ndarray, b: np.ndarray, start: np.ndarray, steps: int) -> np.ndarray:
    """A map's orbit (n, steps) after ``BURN`` steps. a, b: (n,) in [0, 1], scaled to each map's interesting range;
    start (n,) in [0, 1].

    logistic x' = r x (1 - x), r in [3.5, 4]; Henon x' = 1 - 1.4 x^2 + y, y' = b x around a = 1.4, b = 0.3; sine
    x' = r sin(pi x); Ricker x' = x exp(r (1 - x)); circle theta' = theta + W - K / (2 pi) sin(2 pi theta) mod 1; tent
    x' = m min(x, 1 - x); Gauss x' = exp(-c x^2) + d; delayed logistic x' = r x (1 - x_before).
    """
    out = np.empty((len(a), steps))
    x, y = start.copy(), start.copy()
    if code == 1:
        x, y = 0.2 * start - 0.1, 0.1 * start
    for k in range(-BURN, steps):
        if code == 0:
            x = (3.5 + 0.5 * a) * x * (1 - x)
        elif code == 1:
            x, y = 1 - (1.1 + 0.3 * a) * x * x + y, (0.2 + 0.1 * b) * x
        elif code == 2:
            x = (0.85 + 0.15 * a) * np.sin(np.pi * x)
        elif code == 3:
            x = x * np.exp((2.0 + 1.5 * a) * (1 - x))
        elif code == 4:
            x = (x + 0.25 + 0.5 * b - (0.6 + 0.8 * a) / (2 * np.pi) * np.sin(2 * np.pi * x)) % 1.0
        elif code == 5:
            x = (1.4 + 0.59 * a) * np.minimum(x, 1 - x)
        elif code == 6:
            x = np.exp(-(5.5 + 2.0 * a) * x * x) - 0.4 - 0.3 * b
        else:
            x, y = (2.03 + 0.24 * a) * x * (1 - y), x
        if k >= 0:
            out[:, k] = x
    return out


def mackey_glass(delay: np.ndarray, gain: np.ndarray, start: np.ndarray, steps: int, stride: np.ndarray) -> np.ndarray:
    """x' = gain x(t - delay) / (1 + x(t - delay)^10) - 0.1 x, Euler steps of 1, every ``stride``-th (n,) kept;
    (n, steps). delay (n,) integers up to 60. Mackey & Glass, Science 197 (1977)."""
    n, most = len(delay), int(delay.max()) if len(delay) else 1
    total = 300 + steps * (int(stride.max()) if len(stride) else 1)
    past = np.empty((total + most + 1, n))
    past[: most + 1] = 0.9 + 0.4 * start[None] * np.sin(np.arange(most + 1)[:, None] * (0.1 + 0.2 * start[None]))
    row = np.arange(n)
    for k in range(most, total + most):
        late = past[k - delay, row]
        past[k + 1] = 0.9 * past[k] + gain * late / (1 + late**10)
    when = most + 300 + np.arange(steps)[None] * stride[:, None]
    return past[when, row[:, None]]


class Chaos:
    """Class: the system, its parameters, how fast it is sampled, which coordinate is seen and through which link.
    Instance: initial conditions and observation noise."""

    name = "chaos"
    kind: Kind = "sequence"
    summary = "logistic, Henon and other maps; Lorenz, Roessler and other flows; Mackey-Glass"
    reference = "Sprott, Chaos and Time-Series Analysis (2003); Mackey & Glass, Science 197 (1977)"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, self.name)
        return {
            "kind": rng.choice(3, classes, p=(0.25, 0.6, 0.15)),  # map, flow, delay
            "map": rng.integers(0, len(MAPS), classes),
            "a": rng.random(classes),
            "b": rng.random(classes),
            "flow": rng.integers(0, len(FLOWS), classes),
            "vary": rng.uniform(-1, 1, (classes, 3)),
            "speed": log_between(rng, classes, 0.35, 2.2),
            "seen": rng.integers(0, 3, classes),
            "hold": rng.choice((1, 2, 4), classes),  # samples for which a map's value is held
            "delay": rng.integers(14, 51, classes),
            "gain": between(rng, classes, 0.18, 0.24),
            "stride": rng.integers(2, 7, classes),
            "noise": 0.5 * noise_level(rng, classes),
        }

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)
        n, length = len(labels), size[0]
        rng = generator(seed, self.name)
        own = rows(parameters, labels)
        start = rng.random((n, 3))
        x = np.zeros((n, length))
        for code in range(len(MAPS)):
            which = np.flatnonzero((own["kind"] == 0) & (own["map"] == code))
            if len(which):
                orbit = iterate(code, own["a"][which], own["b"][which], 0.05 + 0.9 * start[which, 0], length)
                held = np.arange(length)[None] // own["hold"][which, None]
                x[which] = np.take_along_axis(orbit, held, 1)
        which = np.flatnonzero(own["kind"] == 1)
        if len(which):
            paths = flow_paths(own["flow"][which], own["vary"][which], start[which], own["speed"][which], length)
            x[which] = paths[np.arange(len(which)), :, own["seen"][which]]
        which = np.flatnonzero(own["kind"] == 2)
        if len(which):
            x[which] = mackey_glass(own["delay"][which], own["gain"][which], start[which, 0], length,
                                    own["stride"][which])  # fmt: skip
        return finished(np.nan_to_num(x, posinf=0.0, neginf=0.0), own, rng)


FORMULA = Chaos()
