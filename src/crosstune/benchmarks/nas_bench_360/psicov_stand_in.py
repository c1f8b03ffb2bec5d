"""Synthetic proteins: chains folded at random, and features that tell something of their contacts."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from crosstune.benchmarks.nas_bench_360.common import check_count, mark, prepare_folder

_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_BOND = 3.8  # Angstrom between neighbours along the chain


def generate(
    task: str, out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: training proteins (24) of 40 to 100 residues; a quarter as many, at least 3, for the test. One of the test has
    no two residues that are far apart along the chain and near in space."""
    folder = prepare_folder(task, Path(out), resolution) / "protein"
    n = 24 if n is None else n
    check_count(task, n, 6)
    rng = np.random.default_rng([seed, 360, 6])
    counts = {"deepcov": n, "psicov": max(3, n // 4)}
    paths: list[Path] = []
    for part, count in counts.items():
        for kind in ("features", "distance"):
            (folder / part / kind).mkdir(parents=True, exist_ok=True)
        lengths = [*(40, 61, 80)[:count], *rng.integers(40, 101, max(0, count - 3))]
        names = [f"{part[0]}{k:04d}A" for k in range(count)]
        for place, (name, length) in enumerate(zip(names, lengths)):
            chain = _straight(int(length)) if part == "psicov" and place == 1 else _folded(int(length), rng)
            paths += _write(folder / part, name, chain, rng)
            if on_share is not None:
                on_share(len(paths) / (2 * sum(counts.values())))
        lines = names if part == "deepcov" else [f"{name} {length}" for name, length in zip(names, lengths)]
        (folder / f"{part}.lst").write_text("\n".join(lines) + "\n", encoding="utf-8")
        paths.append(folder / f"{part}.lst")
    return (*paths, mark(Path(out), task, n=n, seed=seed))


def _straight(length: int) -> np.ndarray:
    return np.column_stack([np.arange(length) * _BOND, np.zeros(length), np.zeros(length)])


def _folded(length: int, rng: np.random.Generator) -> np.ndarray:
    """A walk of steps of one bond that keeps its direction for a while and is drawn back to the middle."""
    points, direction = np.zeros((length, 3)), rng.normal(size=3)
    reach = 2.6 * length ** (1 / 3)
    for k in range(1, length):
        pull = -points[k - 1] / reach
        direction = 0.75 * direction / np.linalg.norm(direction) + 0.6 * rng.normal(size=3) + 0.35 * pull
        points[k] = points[k - 1] + _BOND * direction / np.linalg.norm(direction)
    return points


def _write(folder: Path, name: str, chain: np.ndarray, rng: np.random.Generator) -> tuple[Path, Path]:
    length = len(chain)
    distances = np.linalg.norm(chain[:, None] - chain[None], axis=2)
    letters = rng.integers(0, len(_LETTERS), length)
    sequence = "".join(_LETTERS[k] for k in letters)
    contact = 1 / (1 + np.exp((distances - 9.0) / 1.5))
    noise = lambda scale: (lambda e: (e + e.T) / 2)(rng.normal(0, scale, (length, length)))  # noqa: E731
    turn = np.linalg.norm(np.gradient(np.gradient(chain, axis=0), axis=0), axis=1)
    depth = np.linalg.norm(chain - chain.mean(axis=0), axis=1)
    pssm = rng.normal(0, 0.3, (length, 22))
    pssm[np.arange(length), letters] += 2
    held = {
        "seq": sequence,
        "ss": np.stack([np.exp(-turn), turn / (1 + turn), 1 / (1 + turn**2)]).astype(np.float32),
        "pssm": pssm.astype(np.float32),
        "sa": (depth / depth.max()).astype(np.float32),
        "entropy": rng.uniform(0, 1, length).astype(np.float32),
        "ccmpred": (contact + noise(0.15)).astype(np.float32),
        "freecon": (contact**2 + noise(0.25)).astype(np.float32),
        "potential": (-contact + noise(0.4)).astype(np.float32),
    }
    features, target = folder / "features" / f"{name}.pkl", folder / "distance" / f"{name}-cb.npy"
    features.write_bytes(pickle.dumps(held, protocol=4))
    items = np.empty(3, dtype=object)
    items[0], items[1], items[2] = length, sequence, distances
    np.save(target, items, allow_pickle=True)
    return features, target
