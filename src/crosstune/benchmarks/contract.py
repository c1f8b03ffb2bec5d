"""What a benchmark task is: data in a published format, a target kind, and per protocol a split, a metric and a loss.

One file per task, in the package of its suite, that defines ``TASK``; a suite's package defines ``SUITE``. Nothing
outside this room knows the name of a data set.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from crosstune.records import Dataset, Split, SplitName, TargetKind

ProtocolName = Literal["clean", "shipped", "official"]
Modality = Literal["table", "series", "grid", "volume"]
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class TaskData:
    """The rows of a task under one protocol.

    dataset: every row that takes part; ``X`` may be lazy (crosstune.data.lazy). split: row numbers of the three parts;
    under a protocol that selects on the test part, as public code often does, validation and test are the same rows.
    notes: what a reader of the figures must know. evaluate: figures that need more than one prediction per row, such as
    an autoregressive rollout: (predict, part) -> name -> value, where ``predict`` maps inputs (n, C, ...) in raw units
    to canonical predictions.
    """

    dataset: Dataset
    split: Split
    notes: tuple[str, ...] = ()
    evaluate: Callable[[Predict, SplitName], Mapping[str, float]] | None = None


@dataclass(frozen=True)
class Terms:
    """What one protocol prescribes. metric: what selects and is reported first; also: further metrics to report;
    loss: None for the default of the target kind; settings: what else the protocol prescribes of the fitting, keys as
    in ``--set`` (weights of classes or of positive labels); selected_on: the part that chooses the checkpoint; text:
    the split, the frames and the normalisation in words."""

    metric: str
    text: str
    loss: str | None = None
    also: tuple[str, ...] = ()
    selected_on: SplitName = "validation"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One finding of a verification. ok: True, False, or None where it could not be judged (said in ``text``)."""

    name: str
    ok: bool | None
    text: str


@dataclass(frozen=True)
class Verification:
    """What a file or folder holds. missing: what is not there and where it is published."""

    task: str
    path: str
    checks: tuple[Check, ...]
    missing: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.missing and all(check.ok is not False for check in self.checks)


class Load(Protocol):
    """Raises DataError for files that are absent, truncated, of another revision, or not what their name says."""

    def __call__(
        self, path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0
    ) -> TaskData:
        """limit: at most so many rows of a part ("train", "validation", "test"), the first ones. seed: of a split that
        the protocol leaves to chance."""
        ...


class Generate(Protocol):
    """Writes files of the published layout; the same arguments give the same bytes of data."""

    def __call__(
        self, out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
        on_share: Callable[[float], None] | None = None,
    ) -> tuple[Path, ...]: ...  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One benchmark task.

    name: "suite/task". title: as tables print it. kind, modality: of its data. protocols: terms by protocol name.
    load, generate, verify: see the protocols above; ``recognise(path)`` says whether a file or folder looks like this
    task's data. reference: settings of ``recraft-reference`` for this task, keys as in ``--set``; unmapped: what the
    public recipe states besides and no setting expresses. published: name of the task in ``published_results.csv``,
    with the protocol and metric its figures belong to. synthetic: whether ``generate`` makes plausible signals (True)
    or solves the physics (False). traps: one line each, for the docs and ``inspect``.
    """

    name: str
    title: str
    summary: str
    kind: TargetKind
    modality: Modality
    protocols: Mapping[str, Terms]
    load: Load
    generate: Generate
    verify: Callable[[Path], Verification]
    recognise: Callable[[Path], bool]
    reference: Mapping[str, Any] = field(default_factory=dict)
    unmapped: Mapping[str, Any] = field(default_factory=dict)
    published: str | None = None
    published_protocol: ProtocolName = "shipped"
    published_metric: str | None = None
    floors: tuple[str, ...] | Literal["auto"] = "auto"
    synthetic: bool = False
    traps: tuple[str, ...] = ()

    @property
    def suite(self) -> str:
        return self.name.split("/")[0]

    def terms(self, protocol: str) -> Terms:
        """UsageError for a protocol that this task does not have."""
        from crosstune.errors import UsageError

        if protocol not in self.protocols:
            raise UsageError(
                f"task {self.name!r} has no protocol {protocol!r}", fix=f"use one of: {', '.join(self.protocols)}"
            )
        return self.protocols[protocol]


@dataclass(frozen=True)
class Scale:
    """How large a suite is run. budget: per job; seeds: how many; generate: arguments of ``Task.generate`` by task name
    ("*" for all others); limit: rows per part; tasks: None for all."""

    budget: str
    seeds: int
    generate: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    limit: Mapping[str, int] | None = None
    tasks: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Suite:
    """A set of tasks. published: the benchmark's name in ``published_results.csv``."""

    name: str
    title: str
    summary: str
    scales: Mapping[str, Scale]
    published: str | None = None


@dataclass(frozen=True)
class Published:
    """A figure from the literature, with where it was read.

    spread: as published, of unstated kind; None without. protocol: the one it belongs to, which may be none of ours;
    origin: "authors" for a figure read where they publish it, else "third party".
    """

    method: str
    benchmark: str
    task: str
    metric: str
    value: float
    spread: float | None
    protocol: str
    origin: str
    source: str


@lru_cache(maxsize=1)
def published_results() -> tuple[Published, ...]:
    """Every row of ``published_results.csv``."""
    text = files("crosstune.benchmarks").joinpath("published_results.csv").read_text(encoding="utf-8")
    found = []
    for row in csv.DictReader(text.splitlines()):
        value, _, spread = row.pop("value").partition("±")
        found.append(Published(**row, value=float(value), spread=float(spread) if spread else None))
    return tuple(found)


def suites() -> dict[str, Suite]:
    """Every suite by name: the packages below this one that define ``SUITE``."""
    from crosstune.discovery import discover

    return discover("crosstune.benchmarks", "SUITE")


def tasks(suite: str | None = None) -> dict[str, Task]:
    """Every task by name, of one suite or of all."""
    from crosstune.discovery import discover

    wanted = suites() if suite is None else {suite: get_suite(suite)}
    return {name: task for each in wanted for name, task in discover(f"crosstune.benchmarks.{each}", "TASK").items()}


def get_suite(name: str) -> Suite:
    """UsageError with a suggestion for an unknown name."""
    from crosstune.discovery import pick

    return pick("crosstune.benchmarks", "SUITE", name, "suite")


def get_task(name: str) -> Task:
    """The task called ``suite/task``; UsageError with a suggestion for an unknown name."""
    from crosstune.discovery import suggest
    from crosstune.errors import UsageError

    known = tasks()
    if name not in known:
        raise UsageError(f"unknown task {name!r}", fix=suggest(name, list(known)))
    return known[name]
