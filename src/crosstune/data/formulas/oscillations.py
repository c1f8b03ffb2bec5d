"""Oscillations: harmonics, waveforms, chirps, amplitude and frequency modulation, damping."""

from __future__ import annotations

import numpy as np

from crosstune.data.formulas.contract import Kind, Parameters, check_size, generator, rows
from crosstune.data.formulas.varying import between, choose, finished, log_between, noise_level, warped_time

HARMONICS = 8
# amplitude and phase of harmonic k: sine, saw tooth, square, triangle, pulses, free
WAVEFORMS = ("sine", "saw", "square", "triangle", "pulses", "free")


def waveform(code: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Fourier coefficients of the sines, (K, HARMONICS), of waveforms by code (K,); free: those of the last kind."""
    k = np.arange(1, HARMONICS + 1)
    odd = k % 2
    sine = (k == 1).astype(float)
    table = np.stack([sine, 1 / k, odd / k, odd * (-1.0) ** ((k - 1) // 2) / k**2, np.ones(HARMONICS) / HARMONICS**0.5])
    known = table[np.minimum(code, len(table) - 1)]
    return np.where((code == WAVEFORMS.index("free"))[:, None], free, known)


class Oscillations:
    """x(t) = a(t) sum_k c_k sin(k theta(t) + p_k), theta' = 2 pi (f + chirp t + depth sin(2 pi g t)), plus a second
    tone.

    The instance draws the phase, a slight detuning, a time warp and the moment of damping. Frequencies are in cycles
    per record; harmonics above 0.45 of the sampling rate are left out.
    """

    name = "oscillations"
    kind: Kind = "sequence"
    summary = "harmonics, waveforms, chirps, AM, FM, damped tones"
    reference = "Fourier series of the waveforms; FM: Chowning, J. Audio Eng. Soc. 21 (1973)"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, self.name)
        k = np.arange(1, HARMONICS + 1)
        free = rng.standard_normal((classes, HARMONICS)) / k ** between(rng, classes, 0.0, 2.0)[:, None]
        code = choose(rng, classes, len(WAVEFORMS))
        some = lambda share: rng.random(classes) < share  # noqa: E731
        return {
            "waveform": code,
            "coefficients": waveform(code, free),
            "phases": np.where((code == WAVEFORMS.index("free"))[:, None],
                               rng.uniform(0, 2 * np.pi, (classes, HARMONICS)), 0.0),
            "frequency": log_between(rng, classes, 1.0, 32.0),
            "chirp": np.where(some(0.35), between(rng, classes, -0.8, 0.8), 0.0),  # of the frequency, over the record
            "fm_rate": log_between(rng, classes, 0.5, 8.0),
            "fm_depth": np.where(some(0.35), between(rng, classes, 0.1, 0.7), 0.0),
            "am_rate": log_between(rng, classes, 0.5, 8.0),
            "am_depth": np.where(some(0.4), between(rng, classes, 0.3, 1.0), 0.0),
            "decay": np.where(some(0.3), log_between(rng, classes, 1.0, 12.0), 0.0),  # per record
            "second": np.where(some(0.4), between(rng, classes, 0.2, 1.0), 0.0),
            "ratio": log_between(rng, classes, 1.1, 7.0),
            "noise": noise_level(rng, classes),
        }  # fmt: skip

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)
        n, length = len(labels), size[0]
        rng = generator(seed, self.name)
        own = rows(parameters, labels)
        column = {name: values[:, None] for name, values in own.items() if values.ndim == 1}
        t = warped_time(rng, n, length)
        tone = column["frequency"] * np.exp(0.03 * rng.standard_normal((n, 1)))
        start = rng.random((n, 4, 1))
        bend = -np.cos(2 * np.pi * (column["fm_rate"] * t + start[:, 1])) / (2 * np.pi * column["fm_rate"])
        cycles = tone * (t + 0.5 * column["chirp"] * t**2 + column["fm_depth"] * bend)
        theta = 2 * np.pi * (cycles + start[:, 0])
        x = _harmonics(theta, own["coefficients"], own["phases"], tone[:, 0], length)
        x = x + column["second"] * np.sin(2 * np.pi * (np.minimum(tone * column["ratio"], 0.45 * length) * t
                                                       + start[:, 2]))  # fmt: skip
        swell = np.sin(2 * np.pi * (column["am_rate"] * t + start[:, 3]))
        x = x * (1 + column["am_depth"] * (swell - 1) / 2)
        onset = 0.4 * rng.random((n, 1))
        damped = np.exp(-column["decay"] * np.maximum(t - onset, 0)) * (t >= onset)
        x = np.where(column["decay"] > 0, x * damped, x)
        return finished(x, own, rng)


def _harmonics(theta: np.ndarray, c: np.ndarray, p: np.ndarray, tone: np.ndarray, length: int) -> np.ndarray:
    """sum_k c_k sin(k theta + p_k), powers of e^{i theta} by multiplication."""
    turn = np.exp(1j * theta)
    power = turn.copy()
    total = np.zeros(theta.shape)
    for k in range(HARMONICS):
        audible = ((k + 1) * tone < 0.45 * length) | (k == 0)
        factor = (audible * c[:, k] * np.exp(1j * p[:, k]))[:, None]
        total += factor.real * power.imag + factor.imag * power.real
        power *= turn
    return total


FORMULA = Oscillations()
