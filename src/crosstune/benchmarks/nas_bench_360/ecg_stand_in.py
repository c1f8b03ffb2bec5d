"""A synthetic ``challenge2017.pkl``: heartbeats drawn from Gaussian waves, rhythm and noise by class."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from crosstune.benchmarks.nas_bench_360.common import check_count, mark, prepare_folder

_RATE = 300.0  # Hz
_SHORTEST, _LONGEST = 2_700, 18_000
# centre and width in seconds relative to the R peak, height in units of 300
_WAVES = {"P": (-0.17, 0.022, 0.25), "Q": (-0.03, 0.010, -0.25), "R": (0.0, 0.012, 2.0), "S": (0.03, 0.011, -0.5),
          "T": (0.26, 0.050, 0.5)}  # fmt: skip
_SHARES = "NNNNNNAAOOO~"  # of twelve recordings


def generate(
    task: str, name: str, recording_parts: Callable[[int], Mapping[str, np.ndarray]], out: Path, *,
    n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: recordings (160) of 2,700 to 18,000 samples; every class is in every part; one recording has exactly 1,000
    samples and so no window."""
    out = prepare_folder(task, Path(out), resolution)
    n = 160 if n is None else n
    check_count(task, n, 40)
    rng = np.random.default_rng([seed, 360, 8])
    letters = np.full(n, "N", dtype="<U1")
    parts = recording_parts(n)
    for members in parts.values():
        order = ["N", "A", "O", "~"] + [_SHARES[k] for k in rng.integers(0, len(_SHARES), len(members))]
        letters[members] = order[: len(members)]
    lengths = rng.integers(_SHORTEST, _LONGEST + 1, n)
    normal = [m for m in parts["train"] if letters[m] == "N"]
    lengths[normal[-1]] = 1_000
    data = np.empty(n, dtype=object)
    for number in range(n):
        data[number] = _recording(letters[number], int(lengths[number]), rng)
        if on_share is not None:
            on_share((number + 1) / n)
    with open(out / name, "wb") as file:
        pickle.dump({"data": data, "label": letters}, file, protocol=4)
    return out / name, mark(out, task, n=n, seed=seed)


def _recording(letter: str, length: int, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(length) / _RATE
    signal = 0.12 * rng.normal() * np.sin(2 * np.pi * 0.3 * time + rng.uniform(0, 6)) + rng.normal(0, 0.03, length)
    if letter == "~":
        drift = np.cumsum(rng.normal(0, 0.04, length))
        bursts = np.repeat(rng.gamma(1.0, 0.5, length // 150 + 1), 150)[:length]
        return _stored(signal + drift - drift.mean() + bursts * rng.normal(0, 1.0, length))
    interval = rng.uniform(0.65, 1.0)
    at = rng.uniform(0.2, 0.8)
    while at < time[-1]:
        early = letter == "O" and rng.random() < 0.25
        _beat(signal, at - 0.3 * interval * early, wide=early, atrial=letter != "A")
        spread = 0.22 if letter == "A" else 0.03
        at += interval * max(0.45, 1 + spread * rng.normal())
    if letter == "A":
        signal += 0.10 * np.sin(2 * np.pi * rng.uniform(5, 8) * time + 0.6 * np.sin(2 * np.pi * 0.5 * time))
    return _stored(signal)


def _beat(signal: np.ndarray, at: float, *, wide: bool, atrial: bool) -> None:
    start, stop = max(0, int((at - 0.4) * _RATE)), min(len(signal), int((at + 0.6) * _RATE))
    if start >= stop:
        return
    time = np.arange(start, stop) / _RATE - at
    for wave, (centre, width, height) in _WAVES.items():
        if wave == "P" and (not atrial or wide):
            continue
        broad = 3.0 if wide and wave in "QRS" else 1.0
        signal[start:stop] += height * np.exp(-0.5 * ((time - centre * broad) / (width * broad)) ** 2)


def _stored(signal: np.ndarray) -> np.ndarray:
    return np.clip(np.round(300 * signal), -32768, 32767).astype(np.int16)
