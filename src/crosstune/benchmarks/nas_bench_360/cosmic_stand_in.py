"""Synthetic ACS/WFC stamps: sky, galaxies and stars, and the straight sharp tracks of cosmic rays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from crosstune.benchmarks.nas_bench_360.common import check_count, mark, prepare_folder

_SIZE = 256
_TRACKS = 45
_ELSEWHERE = ("20001", "1")  # proposal and visit of a field that is not of galaxies


def generate(
    task: str, fields: Sequence[str], out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0,
    workers: int = 1, on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: training stamps of galaxy fields (48); a third as many, at least 4, for the test. Each part has a visit of
    another kind besides, which must be left out; some stamps have two planes only."""
    out = prepare_folder(task, Path(out), resolution)
    n = 48 if n is None else n
    check_count(task, n, 8)
    rng = np.random.default_rng([seed, 360, 7])
    drawn = [str(field) for field in rng.permutation(list(fields))]
    visits = {"npy_train": drawn[: min(6, n // 4)], "npy_test": drawn[-2:]}
    counts = {"npy_train": n, "npy_test": max(4, n // 3)}
    paths: list[Path] = []
    for part, names in visits.items():
        places = [tuple(name.split("_")) for name in names]
        for number in range(counts[part]):
            paths.append(_stamp(out, part, places[number % len(places)], number // len(places) + 1, rng))
            if on_share is not None:
                on_share(len(paths) / (sum(counts.values()) + 2))
        paths.append(_stamp(out, part, _ELSEWHERE, 1, rng))
        for place in (*places, _ELSEWHERE):
            np.save(out / part / "f435w" / Path(*place) / "sky.npy", rng.uniform(20, 60, counts[part]))
    return (*paths, mark(out, task, n=n, seed=seed))


def _stamp(out: Path, part: str, place: tuple[str, ...], number: int, rng: np.random.Generator) -> Path:
    folder = out / part / "f435w" / Path(*place)
    folder.mkdir(parents=True, exist_ok=True)
    image = rng.poisson(35.0, (_SIZE, _SIZE)).astype(np.float64) - 35.0 + rng.normal(0, 4, (_SIZE, _SIZE))
    _sources(image, rng)
    saturated = np.zeros((_SIZE, _SIZE))
    for column in rng.integers(0, _SIZE, 2):
        start = int(rng.integers(40, 140))
        saturated[start : start + 70, column] = 1
        image[start : start + 70, column] += 3000
    mask = np.zeros((_SIZE, _SIZE))
    for _ in range(_TRACKS):
        _track(image, mask, rng)
    planes = np.stack([image, mask, saturated])
    path = folder / f"{number}_{place[0]}{place[1]}.npy"
    np.save(path, (planes[:2] if number % 5 == 2 else planes).astype(np.float32))
    return path


def _sources(image: np.ndarray, rng: np.random.Generator) -> None:
    """Galaxies and stars: smooth, wider than a pixel."""
    y, x = np.mgrid[:_SIZE, :_SIZE]
    for _ in range(14):
        centre, width = rng.uniform(0, _SIZE, 2), rng.uniform(1.8, 6.0)
        turn, ratio = rng.uniform(0, np.pi), rng.uniform(0.5, 1.0)
        along = (x - centre[0]) * np.cos(turn) + (y - centre[1]) * np.sin(turn)
        across = (y - centre[1]) * np.cos(turn) - (x - centre[0]) * np.sin(turn)
        image += rng.lognormal(5, 0.8) * np.exp(-0.5 * (along**2 + (across / ratio) ** 2) / width**2)


def _track(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """A straight line of one pixel's width."""
    length, turn = rng.integers(3, 22), rng.uniform(0, 2 * np.pi)
    steps = np.arange(0, length, 0.5)
    start = rng.uniform(0, _SIZE, 2)
    rows = np.round(start[0] + steps * np.sin(turn)).astype(int)
    columns = np.round(start[1] + steps * np.cos(turn)).astype(int)
    inside = (rows >= 0) & (rows < _SIZE) & (columns >= 0) & (columns < _SIZE)
    hit = np.unique(np.column_stack([rows[inside], columns[inside]]), axis=0)
    image[hit[:, 0], hit[:, 1]] += rng.lognormal(5.5, 0.6) * rng.uniform(0.6, 1.4, len(hit))
    mask[hit[:, 0], hit[:, 1]] = 1
