"""The degeneracy records as text, Markdown and CSV, and as a folder of results.

A line per task, file and protocol, a column per answer; and the sentences that follow from them.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from crosstune.benchmarks.pdebench.degeneracy import FLOORS, ONE_FRAME

Record = dict[str, Any]
_FIRST = ("zero", *FLOORS.values())
_LEAD = ("task", "file", "protocol", "metric", "test rows", "with a twin")
_PLAIN = (
    "task", "protocol", "variant", "answer", "metric", "value", "standard_error", "rolled_out", "test_rows",
    "train_rows", "twins", "generated", "seed", "note",
)  # fmt: skip


def table(records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """(header, lines). Answers that one task alone has are put into its last column."""
    header = [*_LEAD, *_FIRST, "from the equation", "published"]
    lines = []
    for group in _groups(records):
        one = group[0]
        file = ("generated " if one["generated"] else "") + one["variant"]
        lead = [one["task"], file, one["protocol"], one["metric"], str(one["test_rows"]), str(one["twins"])]
        by_answer = {r["answer"]: r for r in group}
        others = [f"{name} {_cell(r)}" for name, r in by_answer.items() if name not in _FIRST]
        published = [f"{method} {value:g}" for method, value in one["published"].items()]
        cells = [_cell(by_answer[name]) if name in by_answer else "" for name in _FIRST]
        lines.append([*lead, *cells, "; ".join(others), "; ".join(published)])
    return header, lines


def render_text(records: Sequence[Record]) -> str:
    """For a terminal: a block per task and protocol, best answer first."""
    blocks = []
    for group in _groups(records):
        one = group[0]
        kind = "generated" if one["generated"] else "published"
        head = f"{one['task']}  {one['protocol']}  ({kind} file, {one['variant']}; {one['metric']}, "
        head += f"{one['test_rows']} test rows, {one['twins']} with a twin in training)"
        scored = [
            (r["value"], f"  {r['value']:<10.4g} {r['answer']}{_rolled(r)}") for r in group if r["value"] is not None
        ]
        scored += [(value, f"  {value:<10.4g} {method} (published)") for method, value in one["published"].items()]
        missing = [f"  {'-':<10} {r['answer']}: {r['note']}" for r in group if r["value"] is None]
        blocks.append("\n".join([head, *(line for _, line in sorted(scored)), *missing]))
    return "\n\n".join(blocks)


def render_markdown(records: Sequence[Record]) -> str:
    """One table; the smallest figure of our answers in bold."""
    header, lines = table(records)
    rows = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for group, line in zip(_groups(records), lines):
        values = {r["answer"]: r["value"] for r in group if r["answer"] in _FIRST and r["value"] is not None}
        best = min(values, key=lambda name: float(values[name])) if values else None
        cells = [f"**{c}**" if name == best else c for name, c in zip(header, line)]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def findings(records: Sequence[Record]) -> list[str]:
    """Sentences that follow from the records: where a trivial answer reaches what was published, where it is exact,
    what the test of another frame costs, and what nobody can do better than."""
    found = []
    groups = {(g[0]["task"], g[0]["variant"], g[0]["protocol"]): g for g in _groups(records)}
    for (task, variant, protocol), group in groups.items():
        trivial = {r["answer"]: float(r["value"]) for r in group if r["answer"] in _FIRST and r["value"] is not None}
        best = min(trivial, key=lambda name: trivial[name])
        published: Mapping[str, float] = group[0]["published"]
        if published:
            method = min(published, key=lambda name: published[name])
            relation = (
                "below" if trivial[best] < published[method] else f"{trivial[best] / published[method]:.2g} times"
            )
            found.append(
                f"{task}, {protocol}: {best} reaches {trivial[best]:.3g}, {relation} the best published figure "
                f"({method}, {published[method]:g})."
            )
        if trivial.get(FLOORS["nearest"]) == 0.0:
            one = group[0]
            found.append(
                f"{task}, {protocol}: the nearest neighbour is exact, {one['twins']} of {one['test_rows']} test rows "
                "have an equal twin in training."
            )
        other = groups.get((task, variant, ONE_FRAME)) if protocol == "shipped" else None
        if other is not None:
            same = next(f"{r['value']:.3g}" for r in other if r["answer"] == best)
            if same != f"{trivial[best]:.3g}":
                found.append(
                    f"{task}: with one frame for training and test, {best} reaches {same} instead of "
                    f"{trivial[best]:.3g}."
                )
        if protocol == "shipped":
            found += [
                f"{task}, {protocol}: {r['answer']} reaches {r['value']:.3g}{_error(r)}, from the equation without "
                "training data."
                for r in group
                if r["answer"] not in _FIRST
            ]
    return found


def as_results(records: Sequence[Record], *, command: str, generated: Mapping[str, Any]) -> dict[str, Any]:
    """The records with what is needed to make them again. generated: task -> arguments of ``generate``."""
    packages = ("crosstune", "numpy", "scipy", "scikit-learn", "h5py")
    return {
        "command": command,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": platform.machine(),
        "seeds": sorted({record["seed"] for record in records}),
        "generated": dict(generated),
        "records": list(records),
    }


def _document(results: Mapping[str, Any]) -> str:
    records = results["records"]
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    sizes = "; ".join(
        f"{task}: " + ", ".join(f"{key} {value}" for key, value in arguments.items())
        for task, arguments in results["generated"].items()
    )
    made = [
        f"The data are generated, in the layout of the published files: {sizes}. Where the published files have more "
        "samples, look-ups and linear operators have more to learn from there and reach less error than here.",
        "",
    ]
    return "\n".join([
        "# What trivial answers reach on PDEBench", "",
        f"Written by `{results['command']}` ({versions}; seed {', '.join(map(str, results['seeds']))}).", "",
        "Every score is an error on the test part of a protocol, under the metric of that protocol; of the official "
        "protocol it is that of one step, and in brackets the official nRMSE of the whole rollout. A twin is a test "
        "row whose input is also in training. Published figures stand beside the protocol and the file they belong to. "
        "In bold: the best trivial answer.", "",
        *(made if sizes else []),
        render_markdown(records), "## What follows", "", *(f"- {line}" for line in findings(records)), "",
    ])  # fmt: skip


def write(folder: str | Path, results: Mapping[str, Any]) -> list[Path]:
    """degeneracy.json, .csv and .md in ``folder``, each whole or not at all."""
    texts = {
        "degeneracy.json": json.dumps(results, indent=1, ensure_ascii=False) + "\n",
        "degeneracy.csv": render_csv(results["records"]),
        "degeneracy.md": _document(results),
    }
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        handle, temporary = tempfile.mkstemp(dir=target, prefix=f".{name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target / name)
    return [target / name for name in texts]


def render_csv(records: Sequence[Record]) -> str:
    """A line per record, numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_PLAIN, "published"])
    for record in records:
        published = "; ".join(f"{method} {value:g}" for method, value in record["published"].items())
        writer.writerow([*("" if record[key] is None else record[key] for key in _PLAIN), published])
    return out.getvalue()


def _groups(records: Sequence[Record]) -> list[list[Record]]:
    """Records of one task, file and protocol, in the order in which they came."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault((record["task"], record["variant"], record["protocol"]), []).append(record)
    return list(groups.values())


def _cell(record: Record) -> str:
    if record["value"] is None:
        return "\u2013"
    rolled = record["rolled_out"]
    return f"{record['value']:.3g}" + ("" if rolled is None else f" ({rolled:.3g})")


def _error(record: Record) -> str:
    return "" if record["standard_error"] is None else f" (standard error {record['standard_error']:.2g})"


def _rolled(record: Record) -> str:
    return "" if record["rolled_out"] is None else f", rolled out {record['rolled_out']:.4g}"
