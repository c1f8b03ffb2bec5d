"""The records of a sweep as a table: tasks by contestants, mean, spread and interval over seeds, rank and cost.

Reads records.jsonl only. A line torn by a kill is ignored; of two records of the same job and figure the later counts.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from crosstune.errors import DataError, RunError
from crosstune.report.templating import environment
from crosstune.report.words import number, seconds
from crosstune.seeding import derive_seed

SCHEMA = 1
NAME = "records.jsonl"
LEVEL = 0.95
RESAMPLES = 10_000
FEWEST_SEEDS = 3  # below, resampling seeds says nothing


@dataclass(frozen=True)
class Record:
    """One score of one job. error: the lower-is-better form of value. low, high: interval over rows. seconds: of
    fitting; peak_mib: the most memory of the job, in MiB. Without a value, ``note`` says why. data: how the data were
    generated ("generated ..."), or a fingerprint of the files; limit: rows per part that were used at most."""

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

    @property
    def contestant(self) -> str:
        return f"{self.method} ({self.backbone})" if self.backbone else self.method


def read_records(path: str | Path) -> tuple[Record, ...]:
    """The records of a sweep folder or a records.jsonl, those of one job once, in the order they were made.

    Raises RunError when there is no such file, or nothing readable in it.
    """
    file = Path(path) / NAME if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise RunError(
            f"no records at {str(path)!r}",
            cause=f"a mistyped path, or a sweep that has not finished a job yet: {NAME} is not there",
            fix="pass the folder given to `crosstune bench run --out`",
        )
    latest: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for line in file.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("schema") == SCHEMA:
            latest.setdefault(str(entry["job"]), {}).setdefault(str(entry.get("time")), []).append(entry)
    found: list[Record] = []
    for batches in latest.values():
        whole = [batch for batch in batches.values() if len(batch) == int(batch[0].get("lines", len(batch)))]
        for entry in whole[-1] if whole else ():
            fields: dict[str, Any] = {name: entry.get(name) for name in Record.__dataclass_fields__}
            found.append(Record(**fields))
    if not found:
        raise RunError(f"{file} holds no whole record", fix="let the sweep finish a job")
    return tuple(found)


@dataclass(frozen=True)
class Cell:
    """One contestant on one task. mean, sd (over seeds, n - 1; None for one seed), and the percentile bootstrap
    interval of the mean over seeds (None below three); seconds, peak_mib: means over seeds."""

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
    best: bool = False
    note: str | None = None


@dataclass(frozen=True)
class SweepTable:
    """tasks: rows; contestants: columns, best average rank first. ranks: average rank over the tasks on which every
    contestant has a figure (``ranked``). left_out: jobs by what became of them, other than "ok"."""

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
    ranks, ranked = _ranks(cells, tasks, names)
    order = tuple(sorted(names, key=lambda name: (ranks.get(name, math.inf), names.index(name))))
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
        notes.append(f"ranks are over the {len(ranked)} of {len(tasks)} tasks on which every contestant has a figure")
    return SweepTable(protocol, split, tasks, order, tuple(cells), ranks, ranked, dict(left_out), tuple(notes))


def _cell(task: str, contestant: str, records: list[Record]) -> Cell:
    by_seed = {r.seed: r for r in records if r.value is not None}
    seeds = tuple(sorted(by_seed))
    first = records[0]
    if not by_seed:
        return Cell(
            task, contestant, first.role, str(first.metric), (), None, None, None, None, None, None, None,
            note=first.note,
        )  # fmt: skip
    values = [float(by_seed[s].value or 0.0) for s in seeds]
    errors = [float(by_seed[s].error or 0.0) for s in seeds]
    low, high = bootstrap_mean(values) or (None, None)
    return Cell(
        task, contestant, first.role, str(first.metric), seeds, math.fsum(values) / len(values),
        float(np.std(values, ddof=1)) if len(values) > 1 else None, low, high, math.fsum(errors) / len(errors),
        _mean(by_seed[s].seconds for s in seeds), _mean(by_seed[s].peak_mib for s in seeds),
    )  # fmt: skip


def _even(error: float) -> float:
    """Twelve digits: means reached by other sums differ by rounding, and that is a tie, not a lead."""
    return float(f"{error:.12g}")


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(v) for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


def _ranks(
    cells: list[Cell], tasks: tuple[str, ...], names: tuple[str, ...]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Average rank by error, 1 is best, equal errors share a rank; over the tasks where all contestants have one."""
    errors = {(c.task, c.contestant): c.error for c in cells if c.error is not None}
    common = tuple(task for task in tasks if all((task, name) in errors for name in names))
    if not common:
        return {}, ()
    table = np.array([rankdata([_even(errors[task, name]) for name in names]) for task in common])
    return {name: float(rank) for name, rank in zip(names, table.mean(axis=0))}, common


def _marked(cell: Cell, best: float | None) -> Cell:
    from dataclasses import replace

    return replace(cell, best=cell.error is not None and _even(cell.error) == best)


# -- showing ---------------------------------------------------------------------------------------------------------


def spread(cell: Cell) -> str:
    """ "0.0123 ± 0.0004 [0.0119, 0.0127]", as much of it as there is."""
    if cell.mean is None:
        return cell.note or "none"
    text = number(cell.mean)
    if cell.sd is not None:
        text += f" ± {number(cell.sd)}"
    if cell.low is not None and cell.high is not None:
        text += f" [{number(cell.low)}, {number(cell.high)}]"
    return text


def cost(cell: Cell) -> str:
    parts = [seconds(cell.seconds)] if cell.seconds is not None else []
    if cell.peak_mib is not None:
        parts.append(f"{cell.peak_mib:,.0f} MiB")
    return ", ".join(parts)


def render_table(table: SweepTable) -> str:
    """Plain text: one block per task, best first, then the average ranks."""
    lines = [f"protocol {table.protocol}, {table.split}; mean ± sd over seeds [95 % bootstrap interval over seeds]"]
    width = max(len(name) for name in table.contestants)
    for task in table.tasks:
        mine = [c for c in table.cells if c.task == task]
        mine.sort(key=lambda c: math.inf if c.error is None else c.error)
        lines += ["", f"{task}  ({mine[0].metric})"]
        cells = [spread(c) for c in mine]
        wide = max(len(text) for text in cells)
        for cell, text in zip(mine, cells):
            mark = "*" if cell.best else " "
            seeds = f"{len(cell.seeds)} seed{'s' * (len(cell.seeds) != 1)}"
            lines.append(f"{mark} {cell.contestant:{width}}  {text:{wide}}  {seeds}  {cost(cell)}".rstrip())
    if len(table.ranks) > 1:
        lines += ["", f"average rank over {len(table.ranked)} task{'s' * (len(table.ranked) != 1)}"]
        lines += [f"  {name:{width}}  {table.ranks[name]:.2f}" for name in table.contestants]
    if table.left_out:
        lines += ["", "without a score: " + ", ".join(f"{n} {state}" for state, n in sorted(table.left_out.items()))]
    lines += [f"note: {note}" for note in table.notes]
    return "\n".join(lines)


def render_csv(table: SweepTable) -> str:
    """One line per cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [n for n in Cell.__dataclass_fields__ if n not in ("best", "note")]
    writer.writerow(["protocol", "split", *names, "rank"])
    for cell in table.cells:
        row = asdict(cell) | {"seeds": " ".join(map(str, cell.seeds))}
        writer.writerow([table.protocol, table.split, *(row[n] for n in names), table.ranks.get(cell.contestant)])
    return out.getvalue()


def render_html(table: SweepTable) -> str:
    """One page, offline, no scripts."""
    from importlib.resources import files

    from markupsafe import Markup

    css = Markup((files("crosstune.report") / "templates" / "report.css").read_text(encoding="utf-8"))
    return environment().get_template("sweep.html.j2").render(table=table, css=css, spread=spread, cost=cost)


def write_text(path: str | Path, text: str) -> None:
    """Whole or not at all."""
    from crosstune.report.page import write_atomically

    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, text)
