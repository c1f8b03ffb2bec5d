"""Where the figures of a sweep come from: commands, versions, machines, data; read from its records and sweep.json."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosstune.report.sweep import Record

DESCRIPTION = "sweep.json"
DECIDING = ("torch", "transformers", "numpy", "scikit-learn", "scipy", "POT", "aeon")  # of the versions, the first ones


@dataclass(frozen=True)
class Provenance:
    """commands: that made the records, as asked (the folder by its name alone). versions: package -> those found.
    hardware: in words, each machine once. data: task -> what its data are. digest: sha256 over every figure, the same
    on any machine and under any file name; budgets, protocols, seeds: those found."""

    commands: tuple[str, ...]
    crosstune: tuple[str, ...]
    versions: dict[str, tuple[str, ...]]
    hardware: tuple[str, ...]
    data: dict[str, tuple[str, ...]]
    budgets: tuple[str, ...]
    protocols: tuple[str, ...]
    seeds: tuple[int, ...]
    limits: tuple[str, ...]
    settings: tuple[str, ...]
    jobs: int
    digest: str


def provenance(records: Iterable[Record], folders: Sequence[str | Path] = ()) -> Provenance:
    """Everything in order of name: the order of the records changes nothing."""
    every = list(records)
    versions: dict[str, set[str]] = {}
    data: dict[str, set[str]] = {}
    for r in every:
        for name, version in (r.versions or {}).items():
            versions.setdefault(name, set()).add(version)
        if r.data:
            data.setdefault(r.task, set()).add(r.data)
    tested = any(r.split == "test" for r in every)
    return Provenance(
        tuple(line for folder in folders for line in commands(folder, tested=tested)),
        _sorted(r.crosstune for r in every),
        {name: tuple(sorted(versions[name])) for name in sorted(versions)},
        _sorted(machine(r.hardware) for r in every if r.hardware),
        {task: tuple(sorted(data[task])) for task in sorted(data)},
        _sorted(r.budget for r in every),
        _sorted(r.protocol for r in every),
        tuple(sorted({r.seed for r in every})),
        _sorted(_pairs(r.limit) for r in every if r.limit),
        _sorted(_pairs(r.settings) for r in every if r.settings),
        len({r.job for r in every}),
        digest(every),
    )


def digest(records: Iterable[Record]) -> str:
    """sha256 over job, metric, split and value of every record; neither order, time nor cost is in it."""
    lines = sorted({f"{r.job} {r.metric} {r.split} {r.value!r}" for r in records})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def machine(hardware: Mapping[str, Any]) -> str:
    """ "Intel Xeon, 2 cores, 1 thread a job, cpu"."""
    threads = hardware.get("threads")
    parts = [
        hardware.get("cpu"), f"{hardware['cores']} cores" if hardware.get("cores") else None,
        f"{threads} thread{'s' * (threads != 1)} a job" if threads else None, hardware.get("device"),
    ]  # fmt: skip
    return ", ".join(str(p) for p in parts if p)


def commands(folder: str | Path, *, tested: bool = True) -> tuple[str, ...]:
    """What was asked for in a sweep folder, as commands that ask for it again; none where sweep.json is not there."""
    path = Path(folder) if Path(folder).is_dir() else Path(folder).parent
    try:
        asked = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))["asked"]
        return tuple(_command(each, path.resolve().name, tested) for each in asked)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _command(asked: Mapping[str, Any], out: str, tested: bool) -> str:
    seeds = [int(s) for s in asked.get("seeds") or ()]
    words = ["crosstune", "bench", "run", str(asked["suite"])]
    options: list[tuple[str, Any]] = [
        ("--methods", ",".join(asked.get("methods") or ())),
        ("--tasks", ",".join(str(task).split("/")[-1] for task in asked.get("tasks") or ())),
        ("--backbones", ",".join(map(str, asked.get("backbones") or ()))),
        ("--seeds", len(seeds) if seeds == list(range(len(seeds))) else ",".join(map(str, seeds))),
        ("--budget", asked.get("budget")),
        ("--protocol", asked.get("protocol")),
        ("--scale", asked.get("scale")),
        ("--limit", ",".join(f"{k}={v}" for k, v in (asked.get("limit") or {}).items())),
        *(("--set", f"{k}={v if isinstance(v, str) else json.dumps(v)}")
          for k, v in (asked.get("settings") or {}).items()),
        ("--threads", asked.get("threads")),
        ("--data", "DATA" if asked.get("data") else None),
    ]  # fmt: skip
    for name, value in options:
        words += [name, str(value)] if value not in (None, "", 0) else []
    return shlex.join([*words, *([] if tested else ["--no-reveal"]), "--out", out])


def _pairs(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted((values or {}).items()))


def _sorted(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))
