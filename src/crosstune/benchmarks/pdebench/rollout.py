"""The benchmark's own reading: some frames give the next one; judged by whole trajectories that were rolled out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crosstune.benchmarks.contract import Predict, TaskData
from crosstune.benchmarks.pdebench.official import OfficialMetrics
from crosstune.benchmarks.pdebench.problem import Problem, Variant
from crosstune.benchmarks.pdebench.protocols import Limit, held_out, limited, need_frames, notes_of, source_of, thinning
from crosstune.benchmarks.pdebench.reading import Trajectories, classified, opened
from crosstune.data.files import damaged
from crosstune.data.lazy import LazyRows, RowReader, lazy_array
from crosstune.records import Dataset, Split, SplitName

MEMORY_BYTES = 512 << 20  # windows of less than this are read at once
ROLLED_VALUES = 1 << 23  # values of the trajectories that are rolled out together


@dataclass(frozen=True)
class WindowRows(RowReader):
    """Windows over the frames of a file; row = sample * windows per sample + first frame of the window.

    initial: frames of an input; every, frames: frame stride, and frames after it; stride: of space; part: "input"
    gives (initial * C, X[, Y]), frame after frame, "target" gives the frame behind (C, X[, Y]).
    """

    initial: int = 10
    every: int = 1
    frames: int = 0
    stride: int = 1
    part: str = "input"

    def open(self) -> Trajectories:
        try:
            return classified(Path(self.path), h5py.File(self.path, "r"))
        except OSError as error:
            damaged(Path(self.path), "HDF5", error)

    @property
    def windows(self) -> int:
        """Per sample."""
        return self.frames - self.initial

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        file = self.opened()
        space = tuple(-(-points // self.stride) for points in file.space)
        channels = file.channels * (self.initial if self.part == "input" else 1)
        return file.samples * self.windows, (channels, *space), np.dtype(np.float32)

    def read(self, row: int) -> np.ndarray:
        sample, first = divmod(row, self.windows)
        wanted = range(first, first + self.initial) if self.part == "input" else [first + self.initial]
        values = self.opened().read([sample], [self.every * frame for frame in wanted], self.stride)[0]
        return values.reshape(-1, *values.shape[2:])

    def files(self) -> Sequence[Path]:
        return [Path(self.path)]


@dataclass(frozen=True)
class Rollout:
    """Scores a model by its trajectories. reader: of the inputs; samples: of each part, numbers in the file."""

    reader: WindowRows
    samples: Mapping[SplitName, np.ndarray]

    def __call__(self, predict: Predict, part: SplitName) -> dict[str, float]:
        """The official figures of a part: every prediction becomes input of the next, from the given frames on."""
        reader, rows = self.reader, self.samples[part]
        with opened(Path(reader.path)) as file:
            axes = len(file.space)
            # the benchmark's own runs scale the Fourier figures by sides of length one
            figures = OfficialMetrics(initial_step=reader.initial, lengths=(1.0,) * axes)
            frames = [reader.every * frame for frame in range(reader.frames)]
            each = reader.frames * file.channels * int(np.prod(file.space)) // reader.stride**axes
            step = max(1, ROLLED_VALUES // each)
            for start in range(0, len(rows), step):
                truth = file.read(rows[start : start + step], frames, reader.stride)
                figures.update(*(np.moveaxis(v, 1, -1) for v in (roll_out(predict, truth, reader.initial), truth)))
        return figures.compute()


def roll_out(predict: Predict, truth: np.ndarray, initial: int) -> np.ndarray:
    """Trajectories (n, T, C, X[, Y]) float64: the first ``initial`` frames of ``truth``, the others predicted one after
    the other, each from the ``initial`` before it. A prediction that is not finite ends as the metric refuses it."""
    n, frames = truth.shape[:2]
    out = np.empty(truth.shape, np.float64)
    out[:, :initial] = truth[:, :initial]
    for frame in range(initial, frames):
        window = out[:, frame - initial : frame].astype(np.float32)
        out[:, frame] = predict(window.reshape(n, -1, *truth.shape[3:]))
    return out


def load_windows(problem: Problem, file: Trajectories, variant: Variant | None, limit: Limit) -> TaskData:
    """Rows are windows; a limit takes windows of as many different trajectories as there are. Validation and test are
    the same held-out tenth, as the benchmark's authors select."""
    plan = problem.windows
    frames = -(-file.frames // plan.every) if plan.last is None else plan.last
    need_frames(file, plan.every * (frames - 1) + 1)
    test, rest = held_out(problem, file.samples)
    reader = WindowRows(
        os.path.abspath(file.path), plan.initial, plan.every, frames, thinning(file, plan.points), "input"
    )
    of_test = spread(test, reader.windows)
    parts = limited((spread(rest, reader.windows), of_test, of_test), limit)
    rows = np.unique(np.concatenate(parts))
    target = WindowRows(**{**reader.arguments(), "part": "target"})
    X, y = LazyRows(reader, rows), LazyRows(target, rows)
    arrays: tuple[Any, Any] = (
        (X[:], y[:]) if X.nbytes + y.nbytes <= MEMORY_BYTES else (lazy_array(reader, rows), lazy_array(target, rows))
    )
    dataset = Dataset(
        X=arrays[0], y=arrays[1], kind="dense", name=problem.task, groups=rows // reader.windows,
        source=source_of(file, variant, "official"),
    )  # fmt: skip
    strategy = f"windows of whole samples; the {problem.layout.holdout} tenth is held out and selects"
    train, validation, held = (np.searchsorted(rows, part) for part in parts)
    split = Split(train, validation, held, strategy, 0)
    names: tuple[SplitName, ...] = ("train", "validation", "test")
    samples = {name: np.unique(part // reader.windows) for name, part in zip(names, parts)}
    return TaskData(dataset, split, tuple(notes_of(problem, file, variant)), Rollout(reader, samples))


def spread(samples: np.ndarray, windows: int) -> np.ndarray:
    """(n * windows,) every window of the samples, ordered so that any beginning of the list holds as many different
    samples, and as many different times, as it can."""
    turn = np.arange(windows)[:, None]
    first = (turn + 7 * np.arange(len(samples))) % windows
    return (samples * windows + first).reshape(-1)
