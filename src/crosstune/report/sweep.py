"""The records of a sweep as a table: tasks by contestants, mean, spread and interval over seeds, rank and cost.

Reads records.jsonl only. A line torn by a kill is ignored; of two records of the same job and figure the later counts.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.errors import DataError, RunError
from crosstune.report.paired import data_set_of
from crosstune.report.statistics import ranks
from crosstune.seeding import derive_seed

SCHEMA = 1
NAME = "records.jsonl"
LEVEL = 0.95
RESAMPLES = 10_000
FEWEST_SEEDS = 3  # below, resampling seeds says nothing


@dataclass(frozen=True)
class Record:
    """One score of one job. error: the lower-is-better form of value. low, high: interval over rows. seconds: of
    fitting; peak_mib: the most memory of the job, in MiB; energy_joules: of the whole job, where the machine told, with
    energy_from. Without a value, ``note`` says why. data: how the data were generated ("generated ..."), or a
    fingerprint of the files; limit: rows per part that were used at most; rows: that the score is over. modality, kind:
    of the task's data and target. weights: that a method's body starts from; settings: overrides of the method. Records
    of earlier versions lack some of the last."""

    job: str
    task: str
    method: str
    role: str
    backbone: str | None
    seed: int
    protocol: str
    metric: str | None
    primary: bool
    split: str | None
    selected_on: str | None
    value: float | None
    error: float | None
    low: float | None
    high: float | None
    seconds: float | None
    peak_mib: float | None
    steps: int | None
    status: str
    note: str | None
    data: str | None = None
    limit: dict[str, int] | None = None
    budget: str | None = None
    modality: str | None = None
    kind: str | None = None
    weights: str | None = None
    settings: dict[str, Any] | None = None
    rows: int | None = None
    energy_joules: float | None = None
    energy_from: str | None = None
    crosstune: str | None = None
    versions: dict[str, str] | None = None
    hardware: dict[str, Any] | None = None
    time: str | None = None

    @property
    def contestant(self) -> str:
        return f"{self.method} ({self.backbone})" if self.backbone else self.method


def read_records(path: str | Path) -> tuple[Record, ...]:
    """The records of a sweep folder or a records.jsonl, also packed by gzip (.gz), those of one job once, in the order
    they were made.

    Raises RunError when there is no such file, or nothing readable in it.
    """
    file = Path(path) / NAME if Path(path).is_dir() else Path(path)
    packed = file.with_name(f"{NAME}.gz")
    if Path(path).is_dir() and not file.is_file() and packed.is_file():
        file = packed
    if not file.is_file():
        raise RunError(
            f"no records at {str(path)!r}",
            cause=f"a mistyped path, or a sweep that has not finished a job yet: {NAME} is not there",
            fix="pass the folder given to `crosstune bench run --out`",
        )
    latest: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for line in _unpacked(file).split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("schema") == SCHEMA:
            latest.setdefault(str(entry["job"]), {}).setdefault(str(entry.get("time")), []).append(entry)
    found: list[Record] = []
    for batches in latest.values():
        whole = [batch for batch in batches.values() if len(batch) == int(batch[0].get("lines", len(batch)))]
        for entry in max(whole, key=lambda batch: str(batch[0].get("time")), default=()):
            fields: dict[str, Any] = {name: entry.get(name) for name in Record.__dataclass_fields__}
            found.append(Record(**fields))
    if not found:
        raise RunError(f"{file} holds no whole record", fix="let the sweep finish a job")
    return tuple(found)


def _unpacked(file: Path) -> bytes:
    if file.suffix != ".gz":
        return file.read_bytes()
    try:
        return gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as problem:
        raise RunError(f"{file} cannot be unpacked: {problem}", cause="it is cut short or damaged") from None


@dataclass(frozen=True)
class Cell:
    """One contestant on one task. mean, sd (over seeds, n - 1; None for one seed), and the percentile bootstrap
    interval of the mean over seeds (None below three); seconds, peak_mib, joules: means over seeds that have one."""

    task: str
    contestant: str
    role: str
    metric: str
    seeds: tuple[int, ...]
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    error: float | None
    seconds: float | None
    peak_mib: float | None
    joules: float | None = None
    best: bool = False
    note: str | None = None


@dataclass(frozen=True)
class SweepTable:
    """tasks: rows; contestants: columns, best average rank first, those without one last. ranks: average rank over the
    tasks on which every ranked contestant has a figure (``ranked``), over the tasks of a data set first. left_out:
    jobs by what became of them, other than "ok"."""

    protocol: str
    split: str
    tasks: tuple[str, ...]
    contestants: tuple[str, ...]
    cells: tuple[Cell, ...]
    ranks: dict[str, float]
    ranked: tuple[str, ...]
    left_out: dict[str, int]
    notes: tuple[str, ...] = ()

    def cell(self, task: str, contestant: str) -> Cell | None:
        return next((c for c in self.cells if (c.task, c.contestant) == (task, contestant)), None)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def bootstrap_mean(values: Sequence[float]) -> tuple[float, float] | None:
    """Percentile interval of the mean, resampling values; None for fewer than three."""
    if len(values) < FEWEST_SEEDS:
        return None
    array = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(derive_seed(0, "seeds"))
    means = array[rng.integers(0, len(array), (RESAMPLES, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def selected(
    records: Iterable[Record], *, split: str | None, metric: str | None, protocol: str | None
) -> tuple[list[Record], str, str]:
    """The records that a table is about, with its protocol and split: what was asked for, else the protocol of most
    records and the test where it was opened. DataError when nothing is left."""
    every = list(records)
    protocol = protocol or Counter(r.protocol for r in every).most_common(1)[0][0]
    mine = [r for r in every if r.protocol == protocol]
    split = split or ("test" if any(r.split == "test" for r in mine) else "validation")
    kept = [r for r in mine if r.split == split and (r.metric == metric if metric else r.primary)]
    # not as jobs happened to end; of several jobs with the same seed the latest counts
    kept.sort(key=lambda r: (r.task, r.contestant, r.seed, str(r.time), r.job))
    if not kept:
        have = sorted({f"{r.protocol}/{r.split}/{r.metric}" for r in every if r.split})
        raise DataError(
            f"no records for protocol {protocol!r}, split {split!r}" + (f", metric {metric!r}" if metric else ""),
            fix=f"there are: {', '.join(have) or 'none with a score'}",
        )
    return kept, protocol, split


def table_of(
    records: Iterable[Record], *, split: str | None = None, metric: str | None = None, protocol: str | None = None
) -> SweepTable:
    """The table over seeds. Raises DataError when the filters leave nothing."""
    every = tuple(records)
    kept, protocol, split = selected(every, split=split, metric=metric, protocol=protocol)
    # by name: the order of the records is that in which jobs happened to end
    tasks = tuple(sorted({r.task for r in kept}))
    names = tuple(sorted({r.contestant for r in kept}))
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in kept:
        groups.setdefault((record.task, record.contestant), []).append(record)
    cells = [_cell(task, name, groups[task, name]) for task in tasks for name in names if (task, name) in groups]
    ranks_, ranked = _ranks(cells, tasks, names)
    order = tuple(sorted(names, key=lambda name: (ranks_.get(name, math.inf), names.index(name))))
    best: dict[str, float] = {}
    for cell in cells:
        if cell.error is not None:
            best[cell.task] = min(best.get(cell.task, math.inf), _even(cell.error))
    cells = [_marked(cell, best.get(cell.task)) for cell in cells]
    left_out = Counter(
        {job: r.status for r in every for job in [r.job] if r.protocol == protocol and r.status != "ok"}.values()
    )
    notes = []
    if any(r.selected_on == "test" for r in kept):
        notes.append("checkpoints were selected on the test rows (protocol " + protocol + "): figures are optimistic")
    if len(ranked) < len(tasks) and len(names) > 1:
        who = "every contestant" if len(ranks_) == len(names) else "every ranked contestant"
        notes.append(f"ranks are over the {len(ranked)} of {len(tasks)} tasks on which {who} has a figure")
    doubled = len({(r.task, r.contestant, r.seed, r.job) for r in kept}) - len(
        {(r.task, r.contestant, r.seed) for r in kept}
    )
    if doubled:
        notes.append(f"{doubled} figures were made again with another budget or other settings; the latest count")
    absent = [name for name in names if ranks_ and name not in ranks_]
    if absent:
        notes.append(f"not ranked, with figures on too few tasks: {', '.join(absent)}")
    return SweepTable(protocol, split, tasks, order, tuple(cells), ranks_, ranked, dict(left_out), tuple(notes))


def _cell(task: str, contestant: str, records: list[Record]) -> Cell:
    by_seed = {r.seed: r for r in records if r.value is not None}
    seeds = tuple(sorted(by_seed))
    first = records[0]
    if not by_seed:
        return Cell(
            task, contestant, first.role, str(first.metric), (), None, None, None, None, None, None, None,
            None, note=first.note,
        )  # fmt: skip
    values = [float(by_seed[s].value or 0.0) for s in seeds]
    errors = [float(by_seed[s].error or 0.0) for s in seeds]
    low, high = bootstrap_mean(values) or (None, None)
    return Cell(
        task, contestant, first.role, str(first.metric), seeds, math.fsum(values) / len(values),
        float(np.std(values, ddof=1)) if len(values) > 1 else None, low, high, math.fsum(errors) / len(errors),
        _mean(by_seed[s].seconds for s in seeds), _mean(by_seed[s].peak_mib for s in seeds),
        _mean(by_seed[s].energy_joules for s in seeds),
    )  # fmt: skip


def _even(error: float) -> float:
    """Twelve digits: means reached by other sums differ by rounding, and that is a tie, not a lead."""
    return float(f"{error:.12g}")


def errors_of(cells: Iterable[Cell]) -> dict[tuple[str, str], float]:
    """(task, contestant) -> mean error over seeds, of the cells that have one."""
    return {(c.task, c.contestant): _even(c.error) for c in cells if c.error is not None and math.isfinite(c.error)}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(v) for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


def _ranks(
    cells: list[Cell], tasks: tuple[str, ...], names: tuple[str, ...]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Average rank by error, 1 is best, equal errors share a rank; over the tasks where all who take part have one."""
    errors = errors_of(cells)
    taking, common = entrants(errors, tasks, names)
    if not common:
        return {}, ()
    placed = ranks_by_data_set(errors, common, taking)
    return {name: float(rank) for name, rank in zip(taking, placed.mean(axis=0))}, common


def ranks_by_data_set(errors: dict[tuple[str, str], float], tasks: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Ranks within each task, averaged over the tasks of a data set (it and its variants with fewer training rows are
    one thing to average over and to test with, not three): (data sets in order of name, contestants)."""
    placed = ranks(np.array([[errors[task, name] for name in names] for task in tasks]))
    groups: dict[str, list[int]] = {}
    for row, task in enumerate(tasks):
        groups.setdefault(data_set_of(task), []).append(row)
    return np.array([placed[groups[name]].mean(axis=0) for name in sorted(groups)])


def entrants(
    errors: dict[tuple[str, str], float], tasks: Sequence[str], names: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who takes part in ranks and tests, and the tasks on which all of them have an error.

    A contestant that fits a few tasks only (a floor for series) would leave next to none: while the common tasks are
    less than half of all, the contestant with the fewest steps back, the last by name of several.
    """
    taking = list(names)
    while taking:
        common = tuple(task for task in tasks if all((task, name) in errors for name in taking))
        if 2 * len(common) >= len(tasks) or len(taking) <= 1:
            return tuple(taking), common
        taking.remove(min(sorted(taking, reverse=True), key=lambda name: sum((task, name) in errors for task in tasks)))
    return (), ()


def _marked(cell: Cell, best: float | None) -> Cell:
    return replace(cell, best=cell.error is not None and _even(cell.error) == best)


def write_text(path: str | Path, text: str) -> None:
    """Whole or not at all."""
    from crosstune.report.page import write_atomically

    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, text)
