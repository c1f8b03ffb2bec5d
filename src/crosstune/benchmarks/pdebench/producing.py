"""Generating a file: blocks of samples over processes, kept as they come, put together at the end.

A block that was finished is not computed again: a generation that was killed goes on where it stopped, and the file it
gives is the same byte for byte. The file appears under its name whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.benchmarks.pdebench.layout import RECIPE_ATTRIBUTE
from crosstune.benchmarks.pdebench.problem import Problem, Solve, Variant
from crosstune.benchmarks.pdebench.writing import write_file
from crosstune.errors import DataError, UsageError


@dataclass(frozen=True)
class Block:
    """Samples that are solved in one call. path: where their values go."""

    solve: Solve
    samples: tuple[int, ...]
    resolution: int
    seed: int
    options: Mapping[str, Any]
    path: Path


class Parts:
    """Finished blocks in a folder, as an array over samples that is read from disk."""

    def __init__(self, blocks: Sequence[Block], alias: np.ndarray) -> None:
        self.alias = alias
        self.place = {sample: (block.path, row) for block in blocks for row, sample in enumerate(block.samples)}
        self._path: Path | None = None
        self._values: np.ndarray = np.empty(0)

    def __len__(self) -> int:
        return len(self.alias)

    def __getitem__(self, sample: int) -> np.ndarray:
        """(T, C, X[, Y]) float32."""
        path, row = self.place[int(self.alias[sample])]
        if path != self._path:
            self._path, self._values = path, np.load(path, mmap_mode="r")
        return self._values[row]


def produce(
    problem: Problem, variant: Variant, out: Path, *, n: int, resolution: int, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> Path:  # fmt: skip
    """Writes one variant's file into the folder ``out`` and gives its path.

    A file of the same recipe that is there already is kept. ``UsageError`` for sizes that are impossible and where a
    file of another recipe has the name; ``DataError`` where the disk has no room or a sample could not be solved.
    """
    check_sizes(problem, n, resolution, seed, workers)
    recipe = {
        "task": problem.task, "variant": variant.name, "n": n, "resolution": resolution, "seed": seed,
        "revision": problem.revision, "options": dict(variant.options),
    }  # fmt: skip
    target = out / problem.file_name(variant)
    if target.exists():
        _same_recipe(target, recipe)
        return target
    out.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    folder = out / f".{target.name}.{digest}.parts"
    folder.mkdir(exist_ok=True)
    alias = np.arange(n) if problem.alias is None else problem.alias(n, resolution, seed, variant.options)
    _room_for(problem, out, n, len(np.unique(alias)), resolution)
    blocks = _blocks(problem, variant, np.unique(alias), resolution, seed, folder)
    _run([b for b in blocks if not b.path.exists()], len(blocks), workers, on_share)
    temporary = out / f".{target.name}.{digest}.tmp"
    try:
        write_file(temporary, problem, variant, Parts(blocks, alias), resolution, seed, recipe)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    shutil.rmtree(folder)
    return target


def check_sizes(problem: Problem, n: int, resolution: int, seed: int, workers: int) -> None:
    """``UsageError`` for a number of samples, points, processes or a seed that is impossible."""
    if n < 1 or workers < 1 or seed < 0:
        raise UsageError(
            f"n = {n}, workers = {workers}, seed = {seed}", fix="n and workers start at 1, seeds at 0"
        )  # fmt: skip
    divides = problem.divides
    if resolution < problem.smallest or (divides is not None and divides % resolution):
        rule = f"a divisor of {divides}, " if divides is not None else ""
        raise UsageError(
            f"{problem.task} cannot be generated with resolution {resolution}",
            fix=f"use {rule}{problem.smallest} or more; the published file has {problem.layout.resolution}",
        )


def _blocks(
    problem: Problem, variant: Variant, samples: np.ndarray, resolution: int, seed: int, folder: Path
) -> list[Block]:
    return [
        Block(
            problem.solve, tuple(int(s) for s in samples[start : start + problem.block]), resolution, seed,
            variant.options, folder / f"{number:06d}.npy",
        )
        for number, start in enumerate(range(0, len(samples), problem.block))
    ]  # fmt: skip


def _run(todo: list[Block], total: int, workers: int, on_share: Callable[[float], None] | None) -> None:
    done = total - len(todo)

    def count() -> None:
        nonlocal done
        done += 1
        if on_share is not None:
            on_share(done / total)

    if workers == 1 or len(todo) < 2:
        for block in todo:
            solve_block(block)
            count()
        return
    pool = ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn"), initializer=_in_worker)
    try:
        for future in as_completed([pool.submit(solve_block, block) for block in todo]):
            future.result()
            count()
    except BrokenProcessPool as error:
        raise UsageError(
            "a process that was generating samples ended",
            cause="too little memory, or a script that starts processes outside `if __name__ == '__main__':`",
            fix="the same call with workers=1 goes on from what is finished",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def solve_block(block: Block) -> None:
    """Solves and stores a block; the file appears whole or not at all. ``DataError`` for values that are not finite."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        values = np.asarray(block.solve(block.samples, block.resolution, block.seed, block.options), np.float32)
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not finite.all():
        bad = block.samples[int(np.argmin(finite))]
        raise DataError(
            f"sample {bad} (seed {block.seed}) diverged at resolution {block.resolution}",
            fix="choose another seed or a finer grid",
        )
    temporary = block.path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.save(file, values)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, block.path)


def _in_worker() -> None:
    """One thread of linear algebra per process; and an end when the parent's end was too sudden to say so."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _same_recipe(target: Path, recipe: Mapping[str, Any]) -> None:
    import h5py

    try:
        with h5py.File(target, "r") as file:
            found = json.loads(file.attrs[RECIPE_ATTRIBUTE])
    except (OSError, KeyError, ValueError):
        found = None
    if found != json.loads(json.dumps(recipe)):
        keys = [k for k in recipe if found is None or found.get(k) != recipe[k]]
        raise UsageError(
            f"{target} exists and was made otherwise ({', '.join(keys)})",
            fix="name another folder, or remove the file first",
        )


def _room_for(problem: Problem, out: Path, n: int, distinct: int, resolution: int) -> None:
    layout = problem.layout
    frame = 4 * len(layout.channels) * resolution**layout.axes
    needed = (n + distinct) * layout.frames * frame  # blocks and file exist side by side for a moment
    free = shutil.disk_usage(out).free
    if needed > free:
        raise DataError(
            f"{out} has {free / 1e9:.1f} GB free; generating {n} samples takes {needed / 1e9:.1f} GB for a moment",
            fix="generate fewer samples, a coarser grid, or into a folder on another disk",
        )
