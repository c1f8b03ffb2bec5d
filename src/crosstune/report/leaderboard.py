"""Our records beside published figures, task by task, and why a published figure may not be compared.

Two numbers are compared when they are the same metric under the same protocol on the same data. A published row that
fails any of this is shown with the reason, and takes no part in ranks. Reads records and tables only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from crosstune.benchmarks.contract import Published, Suite, Task
from crosstune.errors import DataError
from crosstune.metrics import get_metric

# What a published metric is called here, where it is not the first metric of its protocol.
OTHER_METRICS = {"FNR %": "fnr-mask"}
# How the loaders' notes on generated data begin.
GENERATED_NOTES = ("stand-in", "synthetic stand-in", "generated data", "the equation solved by crosstune")


@dataclass(frozen=True)
class Entry:
    """One line: ours (mean over seeds; spread: their standard deviation) or a published figure, in the unit of the
    metric. low, high: mean of the intervals over rows. reasons: why it may not be compared with our lines."""

    contestant: str
    ours: bool
    value: float
    spread: float | None
    protocol: str
    source: str
    seeds: int = 0
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    reasons: tuple[str, ...] = ()
    best: bool = False

    @property
    def comparable(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class Board:
    """The lines of one task, protocol and metric, those that compare first, best first. split: of our lines."""

    task: str
    title: str
    protocol: str
    metric: str
    direction: str
    split: str
    entries: tuple[Entry, ...]

    def entry(self, contestant: str) -> Entry | None:
        return next((e for e in self.entries if e.contestant == contestant and e.comparable), None)


@dataclass(frozen=True)
class Leaderboard:
    """boards: by protocol, then task. ranks: protocol -> contestant -> average rank over ``ranked[protocol]``, the
    tasks on which all of our contestants have a figure; a published method is ranked when it compares on all."""

    boards: tuple[Board, ...]
    ranks: dict[str, dict[str, float]]
    ranked: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def leaderboard(
    records: Iterable[Mapping[str, Any]],
    *,
    tasks: Mapping[str, Task],
    suites: Mapping[str, Suite],
    published: Sequence[Published],
    protocol: str | None = None,
    split: str | None = None,
    generated: Collection[str] = (),
) -> Leaderboard:
    """Boards of every task and protocol in the records.

    records: mappings with task, method, protocol, metric, seed, split, value, and where known backbone, low, high,
    seconds, selected_on, data ("generated ..." where it was), limit; those without a value are left out. protocol,
    split: only these; split None takes the test rows of a task where there are some. generated: further tasks whose
    data are not the published ones. DataError when nothing is left.
    """
    every = [r for r in records if r.get("value") is not None and math.isfinite(float(r["value"]))]
    kept = [r for r in every if (protocol or r["protocol"]) == r["protocol"] and (split or r["split"]) == r["split"]]
    if not kept:
        have = sorted({f"{r['protocol']}/{r['split']}" for r in every})
        raise DataError(
            f"no record with a score for protocol {protocol or 'any'!r} and split {split or 'any'!r}",
            fix=f"there are: {', '.join(have) or 'none with a score'}",
        )
    boards: list[Board] = []
    for name, under in sorted({(str(r["task"]), str(r["protocol"])) for r in kept}, key=lambda key: (key[1], key[0])):
        mine = [r for r in kept if (r["task"], r["protocol"]) == (name, under)]
        boards += _boards(name, under, mine, tasks.get(name), suites, published, name in generated)
    ranks, ranked = _ranks(boards, tasks)
    return Leaderboard(tuple(boards), ranks, ranked, _notes(boards, kept, published, tasks, suites))


def stand_ins(folder: Path, records: Iterable[Mapping[str, Any]]) -> set[str]:
    """Tasks of a sweep whose data say of themselves that they were generated: its jobs keep what their loader noted."""
    found: set[str] = set()
    for job, task in {(str(r.get("job")), str(r["task"])) for r in records}:
        try:
            held = json.loads((folder / "jobs" / job / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        notes = (held.get("task") or {}).get("notes") or ()
        if any(str(note).startswith(GENERATED_NOTES) for note in notes):
            found.add(task)
    return found


def _boards(
    name: str, protocol: str, records: list[Mapping[str, Any]], task: Task | None, suites: Mapping[str, Suite],
    published: Sequence[Published], generated: bool,
) -> list[Board]:  # fmt: skip
    """The board of the protocol's own metric, and one of any other metric that a published figure is in."""
    part = "test" if any(r["split"] == "test" for r in records) else str(records[0]["split"])
    records = [r for r in records if r["split"] == part]
    generated = generated or any(str(r.get("data")).startswith("generated") for r in records)
    limited = any(r.get("limit") for r in records)
    by_metric: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_metric.setdefault(str(record["metric"]), []).append(record)
    first = task.terms(protocol).metric if task is not None and protocol in task.protocols else next(iter(by_metric))
    first = first if first in by_metric else next(iter(by_metric))
    rows = _published_rows(task, suites, published)
    wanted: dict[str, list[Published]] = {first: []}
    for row in rows:
        metric = metric_of(row, task)
        wanted.setdefault(metric if metric in by_metric and row.protocol == protocol else first, []).append(row)
    found = []
    for metric, others in wanted.items():
        lines = _ours(by_metric[metric])
        lines += [_theirs(row, metric, protocol, part, task, generated, limited) for row in others]
        found.append(_board(name, task, protocol, metric, part, lines))
    return found


def _published_rows(task: Task | None, suites: Mapping[str, Suite], published: Sequence[Published]) -> list[Published]:
    if task is None or task.published is None:
        return []
    suite = suites.get(task.suite)
    benchmark = suite.published if suite is not None else None
    # a benchmark's name may be followed by what other protocol was used: "PDEBench (CodePDE protocol)"
    return [r for r in published if r.task == task.published and benchmark and r.benchmark.startswith(benchmark)]


def metric_of(row: Published, task: Task | None) -> str | None:
    """Our name of a published metric: the first metric of its protocol, unless the table above says otherwise."""
    if row.metric in OTHER_METRICS:
        return OTHER_METRICS[row.metric]
    if task is None or row.protocol not in task.protocols or task.published_metric not in (None, row.metric):
        return None
    return task.terms(row.protocol).metric


def _ours(records: list[Mapping[str, Any]]) -> list[Entry]:
    """Mean over seeds of every contestant; the last record of a seed counts."""
    backbones = {r.get("backbone") for r in records if r.get("backbone")}
    seeds: dict[str, dict[Any, Mapping[str, Any]]] = {}
    for record in records:
        many = len(backbones) > 1 and record.get("backbone")
        contestant = f"{record['method']} ({record['backbone']})" if many else str(record["method"])
        seeds.setdefault(contestant, {})[record.get("seed")] = record
    return [_mean_entry(contestant, list(by_seed.values())) for contestant, by_seed in seeds.items()]


def _mean_entry(contestant: str, records: list[Mapping[str, Any]]) -> Entry:
    values = [float(r["value"]) for r in records]
    chosen = sorted({str(r["selected_on"]) for r in records if r.get("selected_on")})
    return Entry(
        contestant, True, math.fsum(values) / len(values), float(np.std(values, ddof=1)) if len(values) > 1 else None,
        str(records[0]["protocol"]), f"selected on {' and '.join(chosen)}" if chosen else "this sweep", len(values),
        _mean(records, "low"), _mean(records, "high"), _mean(records, "seconds"),
    )  # fmt: skip


def _mean(records: list[Mapping[str, Any]], key: str) -> float | None:
    known = [float(r[key]) for r in records if r.get(key) is not None]
    return math.fsum(known) / len(known) if len(known) == len(records) else None


def _theirs(
    row: Published, metric: str, protocol: str, part: str, task: Task | None, generated: bool, limited: bool
) -> Entry:
    scale = 0.01 if row.metric.endswith("%") else 1.0
    spread = None if row.spread is None else row.spread * scale
    reasons = tuple(reasons_against(row, metric, protocol, part, task, generated=generated, limited=limited))
    return Entry(row.method, False, row.value * scale, spread, row.protocol, row.source, reasons=reasons)


def reasons_against(
    row: Published, metric: str, protocol: str, part: str, task: Task | None, *, generated: bool, limited: bool
) -> Iterable[str]:
    """Why a published figure may not be compared with ours of this metric, protocol and part; none if it may."""
    if row.protocol != protocol:
        yield f"protocol {row.protocol}, ours {protocol}"
        terms = task.protocols.get(row.protocol) if task is not None else None  # type: ignore[call-overload]
        if terms is not None and terms.selected_on == "test":
            yield "its checkpoint was selected on the test rows"
    theirs = metric_of(row, task)
    if theirs != metric:
        yield f"metric {row.metric}" + (f" ({theirs})" if theirs else "") + f", ours {metric}"
    if part != "test":
        yield f"figure on the test rows, ours on {part}"
    if generated:
        yield "our data are generated, not the published files"
    if limited:
        yield "ours used a part of the rows"
    if row.origin != "authors":
        yield "quoted by a third party"


def _board(name: str, task: Task | None, protocol: str, metric: str, part: str, entries: list[Entry]) -> Board:
    judge = get_metric(metric) if _known(metric) else None
    sign = -1 if judge is not None and judge.direction == "higher" else 1
    entries.sort(key=lambda e: (not e.comparable, sign * e.value, e.contestant))
    best = min((sign * e.value for e in entries if e.comparable), default=None)
    marked = [replace(e, best=e.comparable and sign * e.value == best) for e in entries]
    title = task.title if task is not None else name
    return Board(name, title, protocol, metric, "higher" if sign < 0 else "lower", part, tuple(marked))


def _known(metric: str) -> bool:
    from crosstune.metrics import all_metrics

    return metric in all_metrics()


def _ranks(
    boards: list[Board], tasks: Mapping[str, Task]
) -> tuple[dict[str, dict[str, float]], dict[str, tuple[str, ...]]]:
    """Average ranks per protocol, from the first board of each task; equal figures share a rank."""
    ranks: dict[str, dict[str, float]] = {}
    ranked: dict[str, tuple[str, ...]] = {}
    for protocol in dict.fromkeys(board.protocol for board in boards):
        firsts: dict[str, Board] = {}
        for board in boards:
            if board.protocol == protocol:
                firsts.setdefault(board.task, board)
        ours = list(dict.fromkeys(e.contestant for b in firsts.values() for e in b.entries if e.ours))
        common = [board for board in firsts.values() if all(board.entry(name) for name in ours)]
        theirs = dict.fromkeys(e.contestant for b in common for e in b.entries if not e.ours)
        names = ours + [name for name in theirs if name not in ours and all(b.entry(name) for b in common)]
        if not common or len(names) < 2:
            continue
        table = []
        for board in common:
            sign = -1 if board.direction == "higher" else 1
            figures = [entry.value for name in names if (entry := board.entry(name)) is not None]
            table.append(rankdata([float(f"{sign * value:.12g}") for value in figures]))
        averages = dict(zip(names, np.mean(table, axis=0).tolist()))
        ranks[protocol] = dict(sorted(averages.items(), key=lambda item: (item[1], names.index(item[0]))))
        ranked[protocol] = tuple(board.task for board in common)
    return ranks, ranked


def _notes(
    boards: list[Board], records: list[Mapping[str, Any]], published: Sequence[Published],
    tasks: Mapping[str, Task], suites: Mapping[str, Suite],
) -> tuple[str, ...]:  # fmt: skip
    notes = []
    on_test = sorted({str(r["protocol"]) for r in records if r.get("selected_on") == "test"})
    if on_test:
        notes.append(
            f"under {', '.join(on_test)} our checkpoints were selected on the test rows: figures are optimistic"
        )
    unpublished = sorted({b.title for b in boards if all(e.ours for e in b.entries)})
    if unpublished:
        notes.append(f"no published figure: {', '.join(unpublished)}")
    benchmarks = {s.published for b in boards for s in [suites.get(b.task.split("/")[0])] if s is not None}
    for row in published:
        if row.metric == "average rank" and row.benchmark in benchmarks:
            notes.append(
                f"{row.method} is said to have an average rank of {row.value:g} on {row.benchmark}: over other "
                f"contestants, so no line here ({row.source})"
            )
    return tuple(notes)
