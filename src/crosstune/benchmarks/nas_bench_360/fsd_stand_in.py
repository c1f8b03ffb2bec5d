"""Synthetic clips for FSD50K: every class is a tone, steady or pulsed, in noise."""

from __future__ import annotations

import csv
import json
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

from crosstune.benchmarks.nas_bench_360.common import check_count, mark, prepare_folder
from crosstune.benchmarks.nas_bench_360.fsd_audio import RATE, SECOND
from crosstune.benchmarks.nas_bench_360.fsd_manifest import CLASSES, LABELS, PARTS

_HALF = SECOND // 2  # samples between the starts of chunks


def generate(
    task: str, out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: training clips (600), two or more of every class; 200 for validation and 400 for the test. Clips have one to
    five chunks, some two labels; two noises of three seconds."""
    folder = prepare_folder(task, Path(out), resolution)
    n = 600 if n is None else n
    check_count(task, n, 2 * CLASSES)
    rng = np.random.default_rng([seed, 360, 4])
    names = [f"Tone_{k:03d}" for k in range(CLASSES)]
    (folder / "chunks").mkdir(exist_ok=True)
    numbers = {name: k for k, name in enumerate(names)}
    (folder / "chunks" / LABELS).write_text(json.dumps(numbers, indent=0) + "\n", encoding="utf-8")
    paths = [folder / "chunks" / LABELS]
    counts = {"train": n, "validation": CLASSES, "test": 2 * CLASSES}
    clip_id, done = 1000, 0
    for part, count in counts.items():
        place = f"{'eval' if part == 'test' else 'dev'}_chunks_22050"
        (folder / place).mkdir(exist_ok=True)
        rows = []
        for number in range(count):
            clip_id += int(rng.integers(1, 9))
            labels = [number % CLASSES]
            if number % 10 == 3:
                labels.append(int(rng.integers(CLASSES - 1) + labels[0] + 1) % CLASSES)
            chunks = 5 if number % 40 == 7 else int(rng.choice([1, 2], p=[0.8, 0.2]))
            sound = _clip(labels, chunks, rng)
            for chunk in range(chunks):
                name = f"{clip_id}_{chunk:04d}.wav"
                _write(folder / place / name, sound[chunk * _HALF : chunk * _HALF + SECOND])
                rows.append([f"data/{place}/{name}", ",".join(names[k] for k in labels), str(clip_id)])
                paths.append(folder / place / name)
            done += 1
            if on_share is not None:
                on_share(done / sum(counts.values()))
        with open(folder / "chunks" / PARTS[part], "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["files", "labels", "ext"], *rows])
        paths.append(folder / "chunks" / PARTS[part])
    (folder / "noise_22050").mkdir(exist_ok=True)
    for number in range(2):
        paths.append(folder / "noise_22050" / f"noise-{number}.wav")
        _write(paths[-1], np.cumsum(rng.normal(0, 0.02, 3 * SECOND)) * 0.1 + rng.normal(0, 0.05, 3 * SECOND))
    return (*paths, mark(folder, task, n=n, seed=seed))


def _clip(labels: list[int], chunks: int, rng: np.random.Generator) -> np.ndarray:
    """A sound that as many chunks cover, each a second long and half a second after the one before."""
    time = np.arange(SECOND + (chunks - 1) * _HALF) / RATE
    sound = rng.normal(0, 0.01, len(time))
    for label in labels:
        mel = 150 + (3450 - 150) * (label // 2) / (CLASSES // 2)
        pitch = 700 * (10 ** (mel / 2595) - 1)
        pulse = 1.0 if label % 2 == 0 else np.sin(2 * np.pi * 4 * time + rng.uniform(0, 6)) > 0
        sound += rng.uniform(0.1, 0.3) * pulse * np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6))
    return sound


def _write(path: Path, sound: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.clip(np.round(sound * 32767), -32768, 32767).astype("<i2").tobytes())
