"""What the embedded pair is worth in whole runs: task by task against the same body from scratch, MiniLM and the best
floor.

    crosstune bench run showcase --methods recraft,scratch --backbones tiny --seeds 3 --budget 10s -o A
    crosstune bench run showcase --methods recraft --backbones minilm --seeds 3 --budget 10s -o B
    crosstune bench run showcase --methods linear,nearest,boosting,minirocket --seeds 1 --budget 10s -o C
    python bench/embedded_pair.py A B C

Errors of the test, mean over seeds with the half range of its 95 % interval (Student); of fields relative root mean
square errors. The best floor of a task is the one with the lowest error on validation, mean over seeds. Seconds: of
fitting, mean over seeds, without loading and scoring. Writes results/pretraining/embedded_pair.md and .csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scipy import stats

from crosstune.report.analysis import among, errors_by_seed
from crosstune.report.paired import relative, share_of
from crosstune.report.relative_words import difference, record
from crosstune.report.sweep import Record, read_records, write_text

OUT = Path(__file__).parents[1] / "results" / "pretraining" / "embedded_pair"
PRETRAINED, SCRATCH, LARGE = "recraft (tiny)", "scratch (tiny)", "recraft (minilm)"
COMPARED = (PRETRAINED, SCRATCH, LARGE)
FLOOR = "best floor"
HEAD = """# The embedded pair in whole runs

Written by `python bench/embedded_pair.py`, whose first lines say how, from the records of sweeps. Test errors (classes:
share that is wrong; values and fields: root mean square error over the spread), mean over seeds +- half of the 95 %
interval over seeds; seconds of fitting.
"""


@dataclass(frozen=True)
class Entry:
    """One contestant on one task. half: of the 95 % interval over seeds, None for fewer than three."""

    task: str
    share: int
    modality: str
    contestant: str
    name: str
    error: float
    half: float | None
    seconds: float
    seeds: int


def entry(task: str, contestant: str, name: str, found: Sequence[Record]) -> Entry:
    errors = [float(r.error) for r in found if r.error is not None]
    half = None
    if len(errors) >= 3:
        half = float(stats.t.ppf(0.975, len(errors) - 1)) * statistics.stdev(errors) / math.sqrt(len(errors))
    seconds = [float(r.seconds) for r in found if r.seconds is not None]
    modality = str(found[0].modality)
    return Entry(task, share_of(task), modality, contestant, name, statistics.fmean(errors), half,
                 statistics.fmean(seconds), len(errors))  # fmt: skip


def entries(records: Iterable[Record]) -> list[Entry]:
    """Of every task that all three models and at least one floor have a test error on."""
    kept = [r for r in records if r.primary and r.error is not None and math.isfinite(r.error)]
    made = []
    for task in dict.fromkeys(r.task for r in kept):
        own = [r for r in kept if r.task == task]
        test = {name: [r for r in own if r.contestant == name and r.split == "test"] for name in COMPARED}
        best = best_floor(own)
        if all(test.values()) and best is not None:
            made += [entry(task, name, name, found) for name, found in test.items()]
            made.append(entry(task, FLOOR, best, [r for r in own if r.contestant == best and r.split == "test"]))
    return made


def best_floor(records: Sequence[Record]) -> str | None:
    """The floor with the lowest mean error on validation."""
    errors: dict[str, list[float]] = {}
    for r in records:
        if r.role == "floor" and r.split == "validation" and r.error is not None:
            errors.setdefault(r.contestant, []).append(r.error)
    tested = {r.contestant for r in records if r.split == "test"}
    known = {name: statistics.fmean(values) for name, values in errors.items() if name in tested}
    return min(known, key=lambda name: (known[name], name)) if known else None


def summary(made: Sequence[Entry], share: int, modality: str | None = None) -> dict[str, float | int]:
    """Of the pretrained body against the same from scratch, over the tasks of a share."""
    wanted = [e for e in made if e.share == share and modality in (None, e.modality)]
    ours = {e.task: e for e in wanted if e.contestant == PRETRAINED}
    theirs = {e.task: e for e in made if e.contestant == SCRATCH}
    cuts = [1 - ours[t].error / theirs[t].error if theirs[t].error else 0.0 for t in ours]
    return {"tasks": len(cuts), "better": sum(c > 0 for c in cuts), "equal": sum(c == 0 for c in cuts),
            "worse": sum(c < 0 for c in cuts), "median_cut": statistics.median(cuts) if cuts else math.nan,
            "most_seconds": max((e.seconds for e in ours.values()), default=math.nan)}  # fmt: skip


def parameters(folder: Path) -> dict[str, set[int]]:
    """Backbone -> numbers of parameters of its models, from the runs."""
    found: dict[str, set[int]] = {}
    for run in folder.glob("jobs/*/run.json"):
        held = json.loads(run.read_text())
        for arm in held["arms"].values():
            if arm.get("role") == "method" and arm.get("parameters"):
                name = held["request"]["backbone"]
                found.setdefault(name, set()).add(int(arm["parameters"]["total"]))
    return found


def against(records: Sequence[Record], other: str, share: int) -> str:
    errors = errors_by_seed(r for r in records if r.primary and r.split == "test")
    tasks = [t for t in errors.get(PRETRAINED, {}) if share_of(t) == share]
    found = relative(PRETRAINED, among(errors, PRETRAINED, tasks), other, among(errors, other, tasks))
    return f"- {share} % of the rows, against {other}: {difference(found)}; {record(found)}."


def page(records: Sequence[Record], made: Sequence[Entry], counts: dict[str, set[int]]) -> str:
    shares = sorted({e.share for e in made}, reverse=True)
    lines = [HEAD]
    lines += [f"- `{name}`: models of {min(c):,} to {max(c):,} parameters" for name, c in sorted(counts.items())]
    for share in shares:
        lines += ["", f"## {share} % of the training rows", "", "Pretrained against scratch, same body and time:", ""]
        for modality in (None, *sorted({e.modality for e in made})):
            found = summary(made, share, modality)
            lines.append(f"- {modality or 'all'}: lower error on {found['better']} of {found['tasks']} tasks, equal on "
                         f"{found['equal']}, higher on {found['worse']}; median cut of the error "
                         f"{100 * found['median_cut']:.0f} %; at most {found['most_seconds']:.0f} s.")  # fmt: skip
        lines += [against(records, SCRATCH, share), against(records, LARGE, share), ""]
        lines += ["| task | " + " | ".join((*COMPARED, FLOOR)) + " |", "|---" * 5 + "|"]
        for task in dict.fromkeys(e.task for e in made if e.share == share):
            cells = [
                cell(next(e for e in made if (e.task, e.contestant) == (task, name))) for name in (*COMPARED, FLOOR)
            ]
            lines.append(f"| {task.partition('/')[2]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(e: Entry) -> str:
    spread = "" if e.half is None else f" +- {e.half:.3f}"
    name = "" if e.name == e.contestant else f" {e.name}"
    return f"{e.error:.3f}{spread}, {e.seconds:.0f} s{name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="+", help="folders of sweeps")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    records = [r for folder in asked.sweeps for r in read_records(folder)]
    made = entries(records)
    if not made:
        raise SystemExit(f"no task has {', '.join(COMPARED)} and a floor on the test")
    counts: dict[str, set[int]] = {}
    for folder in asked.sweeps:
        for name, found in parameters(Path(folder)).items():
            counts.setdefault(name, set()).update(found)
    write_text(asked.out.with_suffix(".md"), page(records, made, counts))
    table = io.StringIO()
    writer = csv.DictWriter(table, list(asdict(made[0])))
    writer.writeheader()
    writer.writerows(asdict(e) for e in made)
    write_text(asked.out.with_suffix(".csv"), table.getvalue())


if __name__ == "__main__":
    main()
