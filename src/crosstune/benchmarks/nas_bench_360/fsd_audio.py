"""From a second of sound to a mel spectrogram in decibels, and the draws of the public recipe on it. NumPy and SciPy.

n_fft 1920, Hann window of 661 samples, hop 220, centred with reflection: 101 frames of a second; 96 triangular filters
on the mel scale m = 2595 log10(1 + f / 700), peaks of height one; power, in dB at most 80 below the loudest.
"""

from __future__ import annotations

import wave
from functools import lru_cache
from pathlib import Path

import numpy as np

from crosstune.errors import DataError

RATE = 22_050
SECOND = 22_050  # samples
TRANSFORM, WINDOW, HOP, MELS, FRAMES = 1920, 661, 220, 96, 101
FLOOR, RANGE, OFFSET = 1e-10, 80.0, 75.0
MOST_MELS, MOST_FRAMES, MOST_NOISE = 0.15, 0.20, 0.5


def read_wav(file: Path, start: int = 0, count: int | None = None) -> np.ndarray:
    """(samples,) float32 in -1..1 of a mono file of 16 bits at 22,050 Hz; DataError for others, and for cut files."""
    try:
        with wave.open(str(file), "rb") as sound:
            form = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
            if form != (1, 2, RATE):
                raise DataError(
                    f"{file} has {form[0]} channels of {8 * form[1]} bits at {form[2]} Hz; expected 1, 16 and {RATE}",
                    cause="the original recordings in place of the resampled chunks",
                )
            wanted = sound.getnframes() - start if count is None else count
            sound.setpos(start)
            raw = sound.readframes(wanted)
    except FileNotFoundError:
        raise DataError(f"{file} is not there", cause="audio.zip was unpacked in part", fix="unpack it again") from None
    except (wave.Error, EOFError) as error:
        raise DataError(
            f"{file} is not a readable .wav file ({error or 'it ends early'})", cause="a damaged file"
        ) from None
    if len(raw) != 2 * wanted:
        raise DataError(f"{file} holds {len(raw) // 2:,} of {wanted:,} samples", cause="a copy that was cut off")
    return np.frombuffer(raw, "<i2").astype(np.float32) / 32768


def wav_samples(file: Path) -> int:
    """Number of samples, by the header."""
    try:
        with wave.open(str(file), "rb") as sound:
            return sound.getnframes()
    except (wave.Error, EOFError, FileNotFoundError) as error:
        raise DataError(f"{file} is not a readable .wav file ({error})", cause="a damaged file") from None


@lru_cache(maxsize=1)
def mel_filters() -> np.ndarray:
    """(96, 961) float32: triangles whose corners are equally spaced on the mel scale from 0 Hz to half the rate."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), MELS + 2)
    corner = 700 * (10 ** (mel / 2595) - 1)
    frequency = np.linspace(0, RATE / 2, TRANSFORM // 2 + 1)
    rise = (frequency - corner[:-2, None]) / np.diff(corner)[:-1, None]
    fall = (corner[2:, None] - frequency) / np.diff(corner)[1:, None]
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


@lru_cache(maxsize=1)
def window() -> np.ndarray:
    """(1920,) float32: a periodic Hann window of 661 samples in the middle."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    out = np.zeros(TRANSFORM, np.float32)
    left = (TRANSFORM - WINDOW) // 2
    out[left : left + WINDOW] = hann
    return out


def power_spectrogram(sound: np.ndarray) -> np.ndarray:
    """(961, frames) of a sound of at least 961 samples."""
    from scipy.fft import rfft

    padded = np.pad(sound, TRANSFORM // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, TRANSFORM)[::HOP]
    return (np.abs(rfft(frames * window(), axis=1)) ** 2).T


def mel_decibels(sound: np.ndarray) -> np.ndarray:
    """(96, frames) float32: mel spectrogram in dB plus 75, less its own mean."""
    mel = mel_filters() @ power_spectrogram(sound)
    decibels = 10 * np.log10(np.maximum(mel, FLOOR))
    decibels = np.maximum(decibels, decibels.max() - RANGE) + OFFSET
    return (decibels - decibels.mean()).astype(np.float32)


def masked(feature: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """SpecAugment with probability one half: one or two bands of at most 15 % of the mels and as many spans of at most
    20 % of the frames, filled with the minimum."""
    if rng.random() < 0.5:
        return feature
    out, lowest = feature.copy(), feature.min()
    for _ in range(int(rng.integers(1, 3))):
        height = int(rng.integers(0, int(MOST_MELS * out.shape[0]) + 1))
        width = int(rng.integers(0, int(MOST_FRAMES * out.shape[1]) + 1))
        top, left = int(rng.integers(0, out.shape[0] - height + 1)), int(rng.integers(0, out.shape[1] - width + 1))
        out[top : top + height] = lowest
        out[:, left : left + width] = lowest
    return out


def with_noise(feature: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The feature mixed with that of a noise, whose weight is U(0, 0.5)."""
    weight = np.float32(rng.uniform(0, MOST_NOISE))
    return (1 - weight) * feature + weight * noise
