"""Wave files and arrays of waves to float32 (N, L) at one rate."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np

from crosstune.data.proxies.reading.refusal import BadFile
from crosstune.errors import DataError

ENDINGS = (".wav",)
FOREIGN = (".mp3", ".flac", ".ogg", ".m4a", ".aac", ".opus", ".wma", ".aiff")
MOST_BYTES = 1 << 28


def read_recording(path: Path, rate: int, samples: int) -> tuple[np.ndarray, int, int]:
    """A .wav file as float32 (samples,) at ``rate`` Hz, with its own rate and length in samples.

    Channels are averaged; another rate is resampled (polyphase, anti-aliased); the middle is cut out of what is
    longer, zeros follow what is shorter. Raises BadFile for files that are no whole recordings.
    """
    from scipy.io import wavfile

    size = path.stat().st_size
    if size == 0:
        raise BadFile("empty (0 bytes)")
    if size > MOST_BYTES:
        raise BadFile(f"{size / 2**20:.0f} MiB, more than {MOST_BYTES >> 20} MiB")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*EOF.*")  # a truncated file is a bad one
            warnings.filterwarnings("ignore", message=".*not understood.*")  # unknown chunks are ordinary
            own, data = wavfile.read(path)
    except Exception as problem:  # the reader raises ValueError, struct.error, ZeroDivisionError and others
        raise BadFile(f"not a whole .wav recording ({str(problem) or type(problem).__name__})") from None
    if not 1 <= own <= 1_000_000:
        raise BadFile(f"a rate of {own} Hz")
    if data.size == 0:
        raise BadFile("no samples")
    wave = as_float(data)
    if not np.isfinite(wave).all():
        raise BadFile("samples that are not finite")
    if wave.ndim == 2:
        wave = wave.mean(axis=1)
    length = len(wave)
    return fitted(wave[None], own, rate, samples)[0], own, length


def as_float(data: np.ndarray) -> np.ndarray:
    """Integer samples to [-1, 1] by their type; floating-point ones as they are. float64."""
    if data.dtype.kind == "u":
        half = float(np.iinfo(data.dtype).max // 2 + 1)
        return (data.astype(np.float64) - half) / half
    if data.dtype.kind == "i":
        return data.astype(np.float64) / -float(np.iinfo(data.dtype).min)
    return data.astype(np.float64)


def fitted(waves: np.ndarray, own: int, rate: int, samples: int) -> np.ndarray:
    """Waves (N, L) at ``own`` Hz to float32 (N, samples) at ``rate``."""
    if own != rate:
        from scipy.signal import resample_poly

        shared = math.gcd(own, rate)
        need = math.ceil(samples * own / rate) + 64  # resample what is kept, not an hour
        waves = _middle(waves, need) if waves.shape[1] > need else waves
        waves = resample_poly(waves, rate // shared, own // shared, axis=1)
    if waves.shape[1] > samples:
        waves = _middle(waves, samples)
    out = np.zeros((len(waves), samples), np.float32)
    out[:, : waves.shape[1]] = np.clip(waves, -1, 1)
    return out


def _middle(waves: np.ndarray, samples: int) -> np.ndarray:
    start = (waves.shape[1] - samples) // 2
    return waves[:, start : start + samples]


def said(rates: list[int], lengths: list[int], rate: int, samples: int) -> tuple[str, ...]:
    """Notes on resampling, cutting and padding."""
    notes = []
    other = sorted({r for r in rates if r != rate})
    if other:
        shown = ", ".join(map(str, other[:4])) + (" and others" if len(other) > 4 else "")
        notes.append(f"recordings at {shown} Hz were resampled to {rate} Hz")
    seconds = samples / rate
    long = sum(length / r > seconds + 1e-9 for r, length in zip(rates, lengths))
    short = sum(length / r < seconds - 1e-9 for r, length in zip(rates, lengths))
    if long:
        notes.append(f"the middle {seconds:g} s were cut out of {long} longer recordings")
    if short:
        notes.append(f"{short} recordings shorter than {seconds:g} s are followed by silence")
    return tuple(notes)


def from_array(
    x: np.ndarray, own: int | None, rate: int, samples: int, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Waves in an array, (N, L) or (N, 1, L), to float32 (N, samples) at ``rate`` Hz, with notes.

    own: the rate of the array, None when it is not known. Raises DataError for values that are no waves.
    """
    notes: list[str] = []
    x = x[:, 0] if x.ndim == 3 else x
    if x.dtype.kind not in "iuf" or x.size == 0:
        raise DataError(f"{name} of {x.dtype} {x.shape} holds no waves", fix="give numbers (N, L)")
    waves = as_float(x)
    peak = float(np.abs(waves).max())
    if not np.isfinite(peak):
        raise DataError(f"{name} holds values that are not finite", fix="cut such recordings out")
    if peak > 1:
        waves = waves / peak
        notes.append(f"{name} reaches {peak:.4g}: all waves were divided by it")
    if own is None:
        notes.append(f"the archive has no key 'rate': {name} was taken to be at {rate} Hz")
        own = rate
    lengths = [waves.shape[1]] * len(waves)
    return fitted(waves, own, rate, samples), (*notes, *said([own] * len(waves), lengths, rate, samples))
