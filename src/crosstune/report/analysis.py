"""What a table of a sweep is worth: tests over data sets, what alignment brought, parts of the tasks, costs, gaps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.report.groups import ALL, kinds, parts_of
from crosstune.report.paired import Relative, differences, relative
from crosstune.report.provenance import Provenance, provenance
from crosstune.report.statistics import Friedman, PairTest, cliques, critical_difference, friedman, pair_tests
from crosstune.report.sweep import Record, SweepTable, entrants, errors_of, ranks_by_data_set, selected, table_of

ALIGNED, UNALIGNED = "recraft", "no-align"


@dataclass(frozen=True)
class Standing:
    """Average ranks and what they are worth. order: best first; blocks: data sets. cd: Nemenyi's critical difference;
    cliques: neighbours that signed-rank tests with Holm's correction do not tell apart."""

    order: tuple[str, ...]
    ranks: dict[str, float]
    tasks: tuple[str, ...]
    blocks: int
    friedman: Friedman | None
    tests: tuple[PairTest, ...]
    cd: float | None
    cliques: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Cost:
    """Means over the tasks of the standing, and over seeds. joules: None where a task has none."""

    contestant: str
    seconds: float | None
    peak_mib: float | None
    joules: float | None


@dataclass(frozen=True)
class LeftOut:
    """Jobs of a contestant without a figure: what became of them and why, on which tasks, with which seeds each."""

    contestant: str
    status: str
    why: str
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A part of the tasks (a share of the training rows, a kind of data): average ranks there, and what alignment
    brought there, per backbone."""

    name: str
    tasks: tuple[str, ...]
    ranks: dict[str, float]
    alignment: tuple[Relative, ...]


@dataclass(frozen=True)
class Analysis:
    table: SweepTable
    standing: Standing | None
    alignment: tuple[Relative, ...]
    parts: tuple[Part, ...]
    costs: tuple[Cost, ...]
    left_out: tuple[LeftOut, ...]
    provenance: Provenance

    def as_dict(self) -> dict[str, Any]:
        """The table's own fields, as they always were, with the analysis beside them."""
        return self.table.as_dict() | {key: value for key, value in asdict(self).items() if key != "table"}


def analyse(
    records: Iterable[Record], folders: Sequence[str | Path] = (), *, split: str | None = None,
    metric: str | None = None, protocol: str | None = None,
) -> Analysis:  # fmt: skip
    """The table of ``table_of`` with everything that judges it. DataError when the filters leave nothing."""
    every = tuple(records)
    table = table_of(every, split=split, metric=metric, protocol=protocol)
    kept, protocol, _ = selected(every, split=split, metric=metric, protocol=protocol)
    errors = errors_by_seed(kept)
    means = errors_of(table.cells)
    place = standing(means, table.tasks, table.contestants, errors)
    kind = kinds(kept)
    parts = []
    for name, tasks in parts_of(table.tasks, kind).items():
        if name != ALL:
            within = standing(means, tasks, table.contestants, errors, tests=False)
            parts.append(Part(name, tasks, within.ranks if within else {}, alignment(errors, tasks)))
    mine = [r for r in every if r.protocol == protocol]
    return Analysis(
        table, place, alignment(errors, table.tasks), tuple(parts), costs(table, place), left_out(mine),
        provenance(mine, folders),
    )  # fmt: skip


def errors_by_seed(records: Iterable[Record]) -> dict[str, dict[str, dict[int, float]]]:
    """Contestant -> task -> seed -> error, of the records that have a finite one."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for r in records:
        if r.error is not None and math.isfinite(r.error):
            found.setdefault(r.contestant, {}).setdefault(r.task, {})[r.seed] = float(r.error)
    return found


def standing(
    means: dict[tuple[str, str], float], tasks: Sequence[str], names: Sequence[str],
    errors: Mapping[str, Mapping[str, Mapping[int, float]]], *, tests: bool = True,
) -> Standing | None:  # fmt: skip
    """Ranks over the tasks that everyone who takes part has. None where there are fewer than two contestants, or no
    such task."""
    taking, common = entrants(means, tasks, names)
    if len(taking) < 2 or not common:
        return None
    placed = ranks_by_data_set(means, common, taking)
    average = dict(zip(taking, placed.mean(axis=0).tolist()))
    order = tuple(sorted(taking, key=lambda name: (average[name], name)))
    ranked = {name: average[name] for name in order}
    if not tests:
        return Standing(order, ranked, common, len(placed), None, (), None, ())
    only = {name: {task: errors[name][task] for task in common} for name in taking}
    pairs = {(a, b): list(differences(only[a], only[b]).values()) for a, b in combinations(order, 2)}
    found = pair_tests(pairs)
    return Standing(
        order, ranked, common, len(placed), friedman(np.asarray(placed)), found,
        critical_difference(len(order), len(placed)), cliques(order, found),
    )  # fmt: skip


def partners(names: Iterable[str], a: str, b: str) -> list[tuple[str, str]]:
    """The contestants of two methods that ran on the same backbone."""
    known = sorted(names)
    split = {name: name.partition(" (") for name in known}
    return [
        (one, other)
        for one in known
        for other in known
        if split[one][0] == a and split[other][0] == b and split[one][2] == split[other][2]
    ]


def among(
    errors: Mapping[str, Mapping[str, Mapping[int, float]]], name: str, tasks: Iterable[str]
) -> dict[str, Mapping[int, float]]:
    """One contestant's errors on these tasks."""
    wanted = set(tasks)
    return {task: by_seed for task, by_seed in errors.get(name, {}).items() if task in wanted}


def alignment(errors: Mapping[str, Mapping[str, Mapping[int, float]]], tasks: Iterable[str]) -> tuple[Relative, ...]:
    """The full method against itself without stage 1, per backbone; nothing where one of them is missing."""
    wanted = tuple(tasks)
    found = [
        relative(a, among(errors, a, wanted), b, among(errors, b, wanted))
        for a, b in partners(errors, ALIGNED, UNALIGNED)
    ]
    return tuple(each for each in found if each.tasks)


def costs(table: SweepTable, place: Standing | None) -> tuple[Cost, ...]:
    """Over the same tasks for everyone who is ranked; over those they have for the others."""
    found = []
    for name in table.contestants:
        mine = [c for c in table.cells if c.contestant == name and c.mean is not None]
        if place is not None and name in place.ranks:
            mine = [c for c in mine if c.task in place.tasks]
        joules = [c.joules for c in mine]
        found.append(
            Cost(
                name, _mean([c.seconds for c in mine]), _mean([c.peak_mib for c in mine]),
                None if None in joules else _mean(joules),
            )
        )  # fmt: skip
    return tuple(found)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


def left_out(records: Iterable[Record]) -> tuple[LeftOut, ...]:
    """Jobs that ended otherwise than well, and those without any score, by contestant and reason."""
    jobs: dict[str, list[Record]] = {}
    for r in records:
        jobs.setdefault(r.job, []).append(r)
    seeds: dict[tuple[str, str, str, str], set[int]] = {}
    for mine in jobs.values():
        first = mine[0]
        if first.status == "ok" and any(r.value is not None for r in mine):
            continue
        status = first.status if first.status != "ok" else "without a score"
        why = next((r.note for r in mine if r.note), "no reason recorded")
        seeds.setdefault((first.contestant, status, " ".join(why.split()), first.task), set()).add(first.seed)
    tasks: dict[tuple[str, str, str, tuple[int, ...]], list[str]] = {}
    for (*what, task), found in sorted(seeds.items()):
        tasks.setdefault((what[0], what[1], what[2], tuple(sorted(found))), []).append(task)
    return tuple(LeftOut(*key, tuple(names)) for key, names in sorted(tasks.items()))
