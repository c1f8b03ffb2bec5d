"""Time, random numbers, oscillators, envelopes and noises. Waves are float64 (n, L).

Library sines and transforms differ in the last bit between processors; the finished waves are rounded to 16 bits
(``Studio.record``), so that such differences, some 1e-15, vanish.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crosstune.seeding import derive_seed

BLOCK = 16
Wave = np.ndarray


class Studio:
    """A block of waves of one class: up to ``BLOCK`` rows, drawn from the class's own generator.

    Random numbers are always drawn for a full block, so that a wave does not depend on how many are wanted.
    rate: samples per second in Hz; samples: length L.
    """

    def __init__(self, name: str, seed: int, block: int, rows: int, rate: int, samples: int) -> None:
        self.rng = np.random.Generator(np.random.PCG64(derive_seed(seed, name, block)))
        self.rows, self.rate, self.samples = rows, rate, samples
        self.seconds = samples / rate
        self.t = (np.arange(samples) / rate)[None, :]
        self.highest = 0.45 * rate

    # -- numbers -----------------------------------------------------------------------------------------------
    def random(self, *shape: int) -> np.ndarray:
        """(rows, *shape) in [0, 1)."""
        return self.rng.random((BLOCK, *shape))[: self.rows]

    def between(self, low: float, high: float) -> np.ndarray:
        """One number per wave, (rows, 1)."""
        return low + (high - low) * self.random(1)

    def pitch(self, low: float = 110.0, high: float = 880.0) -> np.ndarray:
        """A frequency in Hz per wave, uniform in octaves, (rows, 1)."""
        return low * (high / low) ** self.random(1)

    # -- sources -----------------------------------------------------------------------------------------------
    def tone(self, frequency: np.ndarray | float) -> Wave:
        """A sine of constant frequency in Hz and random phase; silent above ``highest``."""
        audible = np.asarray(frequency) < self.highest
        return audible * np.sin(2 * np.pi * (frequency * self.t + self.random(1)))

    def sweep(self, frequency: Wave) -> Wave:
        """A sine whose frequency in Hz is given for every sample, (n, L)."""
        phase = np.cumsum(np.broadcast_to(frequency, (self.rows, self.samples)), axis=1) / self.rate
        return np.sin(2 * np.pi * (phase + self.random(1)))

    def partials(self, pitch: np.ndarray, ratios: Sequence[float], weights: Sequence[float]) -> Wave:
        """A sum of sines at multiples of the pitch."""
        total: Wave = np.zeros((self.rows, self.samples))
        for ratio, weight in zip(ratios, weights):
            total += weight * self.tone(pitch * ratio)
        return total

    def white(self) -> Wave:
        """Uniform noise in [-1, 1)."""
        return 2 * self.random(self.samples) - 1

    def coloured(self, slope: float, *, lowest: float = 20.0) -> Wave:
        """Noise whose power falls as f^-slope above ``lowest`` Hz."""
        spectrum = np.fft.rfft(self.white(), axis=1)
        frequency = np.fft.rfftfreq(self.samples, 1 / self.rate)
        return np.fft.irfft(spectrum * np.maximum(frequency, lowest) ** (-slope / 2), self.samples, axis=1)

    def band(self, centre: np.ndarray, width: np.ndarray | float) -> Wave:
        """Noise around a frequency: a resonance of the given centre and width in Hz, (rows, 1)."""
        spectrum = np.fft.rfft(self.white(), axis=1)
        frequency = np.fft.rfftfreq(self.samples, 1 / self.rate)[None]
        return np.fft.irfft(spectrum / (1 + ((frequency - centre) / width) ** 2), self.samples, axis=1)

    def clicks(self, times: np.ndarray, sharpness: float = 2000.0) -> Wave:
        """Short decaying ticks that begin at ``times`` in seconds, (rows, k); those beyond the end are not heard."""
        impulses = np.zeros((self.rows, self.samples))
        at = np.floor(times * self.rate).astype(np.int64)
        for k in range(at.shape[1]):
            heard = (at[:, k] >= 0) & (at[:, k] < self.samples)
            impulses[np.flatnonzero(heard), at[heard, k]] = 1.0
        ring = np.exp(-np.arange(256) * sharpness / self.rate) * np.cos(np.arange(256) * 1.3)
        length = 1 << (self.samples + 256).bit_length()
        spectrum = np.fft.rfft(impulses, length, axis=1) * np.fft.rfft(ring, length)
        return np.fft.irfft(spectrum, length, axis=1)[:, : self.samples]

    # -- envelopes ---------------------------------------------------------------------------------------------
    def onset(self, latest: float = 0.4) -> np.ndarray:
        """A beginning in seconds, within the first ``latest`` of the wave, (rows, 1)."""
        return self.random(1) * latest * self.seconds

    def decay(self, start: np.ndarray, time: np.ndarray | float) -> Wave:
        """Silence, then 1 falling to 1/e in ``time`` seconds, with an attack of 3 ms."""
        since = self.t - start
        return (since > 0) * np.exp(-np.maximum(since, 0) / time) * np.minimum(np.maximum(since, 0) / 0.003, 1)

    def gate(self, period: np.ndarray, share: float = 0.5) -> Wave:
        """On and off with a period in seconds, with soft edges."""
        place = (self.t / period + self.random(1)) % 1
        edge = np.minimum(place, np.abs(share - place)) * period / 0.004
        return (place < share) * np.minimum(edge, 1)

    # -- the end -----------------------------------------------------------------------------------------------
    def record(self, wave: Wave) -> np.ndarray:
        """float32 (n, L): without mean, at a random level, over faint hiss, as 16 bits would hold it."""
        wave = wave - wave.mean(axis=1, keepdims=True)
        peak = np.maximum(np.abs(wave).max(axis=1, keepdims=True), 1e-9)
        level = self.between(0.2, 0.9)
        hiss = 10 ** self.between(-4, -2) * self.white()
        return (np.round(np.clip(wave / peak * level + hiss, -1, 1) * 32767) / 32768).astype(np.float32)
