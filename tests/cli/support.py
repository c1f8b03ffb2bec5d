"""Small files of real data, runs made through the command line, and what every test compares."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.cli import main

ROOT = Path(__file__).resolve().parents[2]
# the whole method, but with few points and steps
SMALL = (
    "--backbone", "twin-bert", "--floors", "majority,nearest", "--threads", "1",
    "--set", "align.source_points=64", "--set", "align.target_points=32", "--set", "source_head.labels=topics",
    "--set", "source_head.iterations=3",
)  # fmt: skip
TINY = (*SMALL, "--set", "align.steps=3", "--set", "align.distortion_steps=2", "--budget", "6steps")


def call(capsys: Any, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def command(*arguments: str | Path) -> list[str]:
    """The command line as a real process."""
    return [sys.executable, "-c", "import sys; from crosstune.cli import main; sys.exit(main())", *map(str, arguments)]


def process(*arguments: str | Path, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command in a new process to its end."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def digits(folder: Path, rows: int = 240) -> Path:
    """Handwritten digits as (rows, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    path = folder / "digits.npz"
    np.savez(path, X=X[:rows].reshape(-1, 1, 8, 8).astype("float32"), y=y[:rows])
    return path


def cancer(folder: Path, rows: int = 200) -> Path:
    """Breast cancer as CSV, with a text column and missing values."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    rng = np.random.default_rng(0)
    path = folder / "cancer.csv"
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow([*(n.replace(" ", "_") for n in data.feature_names[:8]), "site", "diagnosis"])
        for x, y in zip(data.data[:rows, :8], data.target[:rows]):
            cells = [repr(float(v)) if rng.random() > 0.05 else "" for v in x]
            out.writerow([*cells, rng.choice(["left", "right", ""], p=[0.5, 0.45, 0.05]), data.target_names[y]])
    return path


def ragged(folder: Path, rows: int = 90) -> Path:
    """Three channels of unequal length; the class is the frequency."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(20, 49, rows)
    y = np.arange(rows) % 3
    X = np.zeros((rows, 3, 48), np.float32)
    for i, n in enumerate(lengths):
        t = np.arange(n)
        for c in range(3):
            X[i, c, :n] = np.sin(0.3 * (1 + y[i]) * t + rng.uniform(0, 6)) + 0.3 * rng.standard_normal(n)
    path = folder / "ragged.npz"
    np.savez(path, X=X, y=y, lengths=lengths)
    return path


def operator(folder: Path, rows: int = 60) -> Path:
    """A random periodic function (rows, 1, 32) and its smoothed copy."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((rows, 1, 32)).astype(np.float32)
    damp = np.exp(-0.02 * (2 * np.pi * np.fft.rfftfreq(32) * 4) ** 2)
    path = folder / "operator.npz"
    np.savez(path, X=X, y=np.fft.irfft(np.fft.rfft(X) * damp, 32).astype(np.float32))
    return path


def field(folder: Path, rows: int = 50) -> Path:
    """A 2-D field (rows, 1, 8, 8) and its differences along one axis."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((rows, 1, 8, 8)).astype(np.float32)
    path = folder / "field.npz"
    np.savez(path, X=X, y=np.roll(X, 1, axis=-1) - X)
    return path


def motifs(folder: Path, rows: int = 80) -> Path:
    """Noise with a bump at a random place, and for every sample whether it belongs to one; a few are not known."""
    rng = np.random.default_rng(5)
    X = 0.3 * rng.standard_normal((rows, 1, 40)).astype(np.float32)
    y = np.zeros((rows, 40), int)
    for row, at in enumerate(rng.integers(0, 30, rows)):
        X[row, 0, at : at + 10] += 2
        y[row, at : at + 10] = 1
    y[rng.random(y.shape) < 0.05] = -1
    path = folder / "motifs.npz"
    np.savez(path, X=X, y=y)
    return path


def masks(folder: Path, rows: int = 60) -> Path:
    """Two kinds of discs on noise, and their masks."""
    rng = np.random.default_rng(6)
    X = 0.3 * rng.standard_normal((rows, 1, 12, 12)).astype(np.float32)
    y = np.zeros((rows, 12, 12), np.uint8)
    grid = np.mgrid[:12, :12]
    for row in range(rows):
        for code in (1, 2):
            disc = np.square(grid - rng.integers(2, 10, (2, 1, 1))).sum(0) <= 5
            y[row][disc] = code
            X[row, 0][disc] = 2.0 if code == 1 else -2.0
    path = folder / "masks.npz"
    np.savez(path, X=X, y=y)
    return path


def gappy(folder: Path, rows: int = 60) -> Path:
    """Fields whose target is unknown at random places, and at the same place in all rows."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((rows, 1, 32)).astype(np.float32)
    y = np.roll(X, 2, axis=-1) + 1
    y[rng.random(y.shape) < 0.2] = np.nan
    y[:, :, 20] = np.nan
    path = folder / "gappy.npz"
    np.savez(path, X=X, y=y)
    return path


def diabetes(folder: Path, rows: int = 200) -> Path:
    """Regression on a table of arrays."""
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    path = folder / "diabetes.npz"
    np.savez(path, X=X[:rows].astype("float32"), y=y[:rows].astype("float32"))
    return path


def multilabel(folder: Path, rows: int = 120) -> Path:
    """Series with up to three events, each a bump at its own place."""
    rng = np.random.default_rng(4)
    y = (rng.random((rows, 3)) < 0.4).astype(np.float32)
    X = 0.3 * rng.standard_normal((rows, 1, 30)).astype(np.float32)
    for k in range(3):
        X[:, 0, 10 * k : 10 * k + 5] += 2 * y[:, k : k + 1]
    path = folder / "multilabel.npz"
    np.savez(path, X=X.astype(np.float32), y=y)
    return path


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def events(run: Path) -> list[dict[str, Any]]:
    """Every whole line of events.jsonl; torn lines are left out."""
    out = []
    for line in (run / "events.jsonl").read_text().splitlines():
        try:
            out.append(json.loads(line))
        except ValueError:
            continue
    return out


def contents(run: Path) -> dict[str, str]:
    """sha256 of every file, by path within the folder."""
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


def results(run: Path) -> dict[str, str]:
    """The part of ``contents`` that is a pure function of command and seed: weights, predictions, splits, data."""
    keep = ("model.safetensors", ".parquet", "split.npz")
    return {name: digest for name, digest in contents(run).items() if name.endswith(keep)}


def stamps(run: Path) -> dict[str, int]:
    """Time of the last change of everything in the folder, in nanoseconds."""
    return {str(path.relative_to(run)): path.stat().st_mtime_ns for path in [run, *sorted(run.rglob("*"))]}
