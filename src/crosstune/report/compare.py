"""Two contestants, or two sweeps, against each other: paired by task and seed; wins, ties and losses."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.discovery import suggest
from crosstune.errors import RunError, UsageError
from crosstune.metrics import get_metric
from crosstune.report.analysis import among, errors_by_seed
from crosstune.report.groups import ALL, kinds, parts_of
from crosstune.report.paired import Relative, relative, seed_interval, task_outcome
from crosstune.report.record import Prediction, read_run
from crosstune.report.relative_words import HOW, line
from crosstune.report.scores import difference_by_rows
from crosstune.report.statistics import even
from crosstune.report.sweep import NAME, Record, read_records, selected
from crosstune.report.words import brackets, number


@dataclass(frozen=True)
class Pair:
    """One contestant's (or two contestants') figures on one task, on the seeds both have.

    difference: mean over seeds of error of b minus error of a, so above zero a is better. low, high: 95 % interval of
    it, over "seeds" (Student's t) when there are three or more and they differ, else over "rows" (bootstrap, the seeds
    held fixed) from the predictions that the jobs keep; None where those are not there. wins, losses: seeds on which a,
    b has the smaller error. outcome: of a: "win" or "loss" when the interval (or, without one, every seed) says so,
    else "tie".
    """

    task: str
    what: str
    metric: str
    seeds: tuple[int, ...]
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    over: str | None
    wins: int
    losses: int
    outcome: str


@dataclass(frozen=True)
class Comparison:
    """a, b: what is compared. relative: geometric mean over tasks of error a / error b, None when an error is zero.
    overall, parts: relative difference of errors over data sets with its interval, of all tasks, and by share of the
    training rows and kind of data (two contestants of one sweep only)."""

    a: str
    b: str
    protocol: str
    split: str
    pairs: tuple[Pair, ...]
    win: int
    tie: int
    loss: int
    relative: float | None
    overall: Relative | None = None
    parts: dict[str, Relative] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    a: str, b: str, folder: str | None = None, *, split: str | None = None, metric: str | None = None,
    protocol: str | None = None,
) -> Comparison:  # fmt: skip
    """Two methods or floors of the sweep in ``folder``, or, when ``a`` and ``b`` are sweeps, each contestant of one
    with itself in the other. UsageError for names that are not there, or when nothing can be paired."""
    parts: dict[str, Relative] = {}
    if _is_sweep(a) and _is_sweep(b):
        sides = [selected(read_records(path), split=split, metric=metric, protocol=protocol) for path in (a, b)]
        (first, protocol, split), (second, other_protocol, other_split) = sides
        if (protocol, split) != (other_protocol, other_split):
            raise UsageError(
                f"{a!r} has protocol {protocol!r} on {split}, {b!r} has {other_protocol!r} on {other_split}",
                fix="name what both have: --protocol clean --split validation",
            )
        pairs = _pairs({(r.task, r.contestant): r.contestant for r in first}, first, second, (a, b))
    else:
        if folder is None:
            raise UsageError(
                f"where are the records of {a!r} and {b!r}?", cause="two methods were named and no sweep",
                fix=f"crosstune bench compare {a} {b} --out FOLDER",
            )  # fmt: skip
        kept, protocol, split = selected(read_records(folder), split=split, metric=metric, protocol=protocol)
        one, two = (_contestant(name, kept) for name in (a, b))
        first = [r for r in kept if r.contestant == one]
        second = [_renamed(r, one) for r in kept if r.contestant == two]
        pairs = _pairs({(r.task, one): f"{one} - {two}" for r in first}, first, second, (folder, folder))
        parts = _by_part(kept, one, two)
    if not pairs:
        raise UsageError(f"{a!r} and {b!r} have no task and seed in common", fix="run both on the same tasks and seeds")
    outcomes = [p.outcome for p in pairs]
    return Comparison(
        a, b, protocol, split, tuple(pairs), outcomes.count("win"), outcomes.count("tie"), outcomes.count("loss"),
        _relative(pairs), parts.pop(ALL, None), parts,
    )  # fmt: skip


def _by_part(records: list[Record], a: str, b: str) -> dict[str, Relative]:
    errors = errors_by_seed(r for r in records if r.contestant in (a, b))
    tasks = {task for by_task in errors.values() for task in by_task}
    found = {
        name: relative(a, among(errors, a, part), b, among(errors, b, part))
        for name, part in parts_of(tasks, kinds(records)).items()
    }
    return {name: each for name, each in found.items() if each.tasks}


def _is_sweep(text: str) -> bool:
    return (Path(text) / NAME).is_file() or (text.endswith(".jsonl") and Path(text).is_file())


def _contestant(name: str, records: Iterable[Record]) -> str:
    """The contestant of this name: as tables print it, or a method that ran on one backbone only."""
    known = dict.fromkeys(r.contestant for r in records)
    short = [c for c in known if c == name or c.split(" (")[0] == name]
    if name in known:
        return name
    if len(short) == 1:
        return short[0]
    if short:
        raise UsageError(f"{name!r} ran on several backbones", fix=f"name one: {', '.join(map(repr, short))}")
    raise UsageError(
        f"{name!r} has no records here", fix=suggest(name, [*dict.fromkeys(c.split(" (")[0] for c in known), *known])
    )


def _renamed(record: Record, contestant: str) -> Record:
    method, _, backbone = contestant.partition(" (")
    return replace(record, method=method, backbone=backbone.rstrip(")") or None)


Side = dict[tuple[str, str], dict[int, Record]]


def _side(records: list[Record]) -> Side:
    out: Side = {}
    for r in records:
        if r.error is not None:
            out.setdefault((r.task, r.contestant), {})[r.seed] = r
    return out


def _errors(records: dict[int, Record]) -> dict[int, float]:
    return {seed: float(r.error) for seed, r in records.items() if r.error is not None}


def _pairs(
    wanted: dict[tuple[str, str], str], first: list[Record], second: list[Record], folders: tuple[str, str]
) -> list[Pair]:
    left, right = _side(first), _side(second)
    one, two = ({key: _errors(found) for key, found in side.items()} for side in (left, right))
    metric = {r.task: str(r.metric) for r in first}
    pairs = []
    for key, what in sorted(wanted.items()):
        seeds = tuple(sorted(set(one.get(key, {})) & set(two.get(key, {}))))
        if not seeds:
            continue
        gaps = (even(np.array([two[key][s] for s in seeds])) - even(np.array([one[key][s] for s in seeds]))).tolist()
        mean = math.fsum(gaps) / len(gaps)
        interval, over = seed_interval(gaps), "seeds"
        if interval is None:
            interval, over = _rows_interval(left[key], right[key], seeds, folders), "rows"
        low, high = interval or (None, None)
        wins, losses = sum(g > 0 for g in gaps), sum(g < 0 for g in gaps)
        pairs.append(
            Pair(
                key[0], what, metric[key[0]], seeds, math.fsum(one[key][s] for s in seeds) / len(seeds),
                math.fsum(two[key][s] for s in seeds) / len(seeds), mean, low, high,
                over if interval else None, wins, losses, task_outcome(gaps, interval),
            )
        )  # fmt: skip
    return pairs


def _rows_interval(
    a: dict[int, Record], b: dict[int, Record], seeds: tuple[int, ...], folders: tuple[str, str]
) -> tuple[float, float] | None:
    """The interval over rows, from what the jobs of both sides predicted; None when a job's run is not there, or the
    metric is none that predictions decide (a rollout)."""
    sides = []
    for records, folder in zip((a, b), folders):
        found = {}
        for seed in seeds:
            prediction = _predicted(records[seed], Path(folder) if Path(folder).is_dir() else Path(folder).parent)
            if prediction is None:
                return None
            found[seed] = prediction
        sides.append(found)
    try:
        gap = difference_by_rows(get_metric(str(a[seeds[0]].metric)), *sides)
    except UsageError:
        return None
    return None if gap is None or gap.low is None or gap.high is None else (gap.low, gap.high)


def _predicted(record: Record, folder: Path) -> Prediction | None:
    try:
        run = read_run(folder / "jobs" / record.job)
    except RunError:
        return None
    found = run.predictions_of(str(record.split), next(iter(run.arms), ""), record.seed)
    return found.get(record.seed)


def _relative(pairs: list[Pair]) -> float | None:
    if any(p.a <= 0 or p.b <= 0 for p in pairs):
        return None
    return math.exp(math.fsum(math.log(p.a / p.b) for p in pairs) / len(pairs))


def render(found: Comparison) -> str:
    """Plain text, one line per task."""
    lines = [
        f"{found.a} against {found.b}; protocol {found.protocol}, {found.split}; errors, lower is better",
        "difference: error of the second minus error of the first, above zero the first is better; "
        "[95 % interval: Student's t over seeds from three on, else bootstrap over rows]",
        "",
    ]
    width = max(len(p.task) for p in found.pairs)
    named = len({p.what for p in found.pairs}) > 1
    for p in found.pairs:
        span = f" {brackets(p.low, p.high, sign=True)}" if p.over else ""
        span += " over rows" if p.over == "rows" else ""
        lines.append(
            f"{p.task:{width}}  {p.what + '  ' if named else ''}{number(p.a)} against {number(p.b)}  "
            f"difference {number(p.difference, sign=True)}{span}  {p.outcome} "
            f"({p.wins} of {len(p.seeds)} seed{'s' * (len(p.seeds) != 1)} better, {p.losses} worse)"
        )
    lines += ["", f"{found.win} won, {found.tie} tied, {found.loss} lost"]
    if found.relative is not None:
        lines.append(f"error of the first relative to the second, geometric mean over tasks: {found.relative:.3f}")
    if found.overall is not None:
        lines += ["", line(found.overall), *(f"  {name}: {line(each)}" for name, each in found.parts.items()), HOW]
    if any(p.over is None for p in found.pairs):
        lines.append("note: no interval on some tasks; there, win or loss means that every seed says so")
    return "\n".join(lines)
