"""The HTML report: one file, offline, no scripts, verdict first."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from crosstune.report.record import RunRecord, read_run
from crosstune.report.summary import Summary, reveal_command, summary_of
from crosstune.report.templating import environment
from crosstune.report.verdict import PARTS
from crosstune.report.words import figure, seconds, short

BADGES = {"use": "Use it", "use-other": "Use something simpler", "undecided": "Undecided"}


def write_html(path: str | Path) -> Path:
    """Writes ``report.html`` into the run folder ``path`` and returns its path.

    The verdict is that of the test split once it was revealed, of validation before. A half-written file never
    replaces a good one. Raises RunError as ``read_run``.
    """
    record = read_run(path)
    target = record.path / "report.html"
    write_atomically(target, render_html(record))
    return target


def render_html(record: RunRecord) -> str:
    """The report as one HTML document."""
    from crosstune.report import figures
    from crosstune.report.alignview import alignment_table, source_head_line
    from crosstune.report.boundview import bound_notes, bound_table
    from crosstune.report.figures_kind import prediction_view

    summaries = [summary_of(record, split) for split in record.splits()] or [summary_of(record, "validation")]
    main = summaries[-1]
    folder = str(record.path)
    context = {
        "run": record,
        "title": short(record.name, 90),
        "css": Markup((files("crosstune.report") / "templates" / "report.css").read_text(encoding="utf-8")),
        "main": main,
        "summaries": summaries[::-1],
        "badge": BADGES.get(main.verdict.answer, main.verdict.answer),
        "tiles": _tiles(main),
        "forests": {s.split: figures.forest(s) for s in summaries},
        "losses": figures.loss_curves(record),
        "validation": figures.validation_curve(record, main),
        "single": figures.single_values(record),
        "clouds": figures.alignment_clouds(record),
        "aligned": alignment_table(record),
        "source_head": source_head_line(record),
        "unlabelled": record.unlabelled,
        "bound": figures.bound_bars(main.bound),
        "bound_table": bound_table(main.bound),
        "bound_notes": bound_notes(main.bound),
        "view": prediction_view(record, main.split),
        "sentences": [_with_code(s, reveal_command(record)) for s in main.verdict.sentences],
        "findings": [f for f in record.run.get("findings") or () if isinstance(f, Mapping)],
        "facts": _facts(record),
        "groups": _provenance(record),
        "task_notes": [str(note) for note in record.task.get("notes") or ()],
        "config": _config(record),
        "commands": {
            "predict": f"crosstune predict {shlex.quote(folder)} NEW_DATA -o predictions.csv",
            "evaluate": f"crosstune evaluate {shlex.quote(folder)} LABELLED_DATA",
            "reveal": reveal_command(record),
        },
        "folder_literal": repr(folder),
        "sealed": "test" not in record.splits() and (record.task.get("rows") or {}).get("test") != 0,
    }
    return environment().get_template("report.html.j2").render(context)


def write_atomically(target: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _with_code(sentence: str, command: str) -> Markup:
    """The sentence escaped, with the command it names set as code."""
    sentence = sentence.replace("95 %", "95\u00a0%")
    before, found, after = sentence.partition(command)
    return Markup(f"{escape(before)}<code>{escape(found)}</code>{escape(after)}") if found else escape(sentence)


def _tiles(summary: Summary) -> list[dict[str, str]]:
    """The handful of figures that the verdict rests on."""
    tiles = []
    method = summary.arm(summary.method)
    if method is not None and method.value is not None:
        tiles.append(_tile(f"{short(method.label)}, {summary.metric}", *figure(method)))
    floors = [a for a in summary.arms if a.role == "floor" and a.error is not None]
    if floors:
        best = min(floors, key=lambda a: a.error if a.error is not None else 0.0)
        tiles.append(_tile(f"best floor: {short(best.label)}", *figure(best)))
    for part, (_, subject, _) in PARTS.items():
        gain = getattr(summary.verdict, part)
        if gain is not None:
            tiles.append(_tile(f"{subject} brought", *figure(gain, sign=True)))
    return tiles


def _tile(label: str, value: str, interval: str) -> dict[str, str]:
    return {"label": label, "value": value, "interval": interval}


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    """The line under the title."""
    rows = record.task.get("rows") or {}
    facts = [("target", record.kind), ("metric", record.metric)]
    if record.task.get("benchmark"):
        facts += [("protocol", record.protocol), ("selected on", record.selected_on)]
    if isinstance(rows, Mapping):
        facts += [(f"{name} rows", f"{value:,}") for name, value in rows.items() if isinstance(value, int)]
    backbone = record.part("backbone").get("name")
    if backbone:
        facts.append(("backbone", str(backbone)))
    facts.append(("method", record.method))
    if record.status != "complete":
        facts.append(("status", record.status))
    return facts


def _provenance(record: RunRecord) -> list[tuple[str, list[tuple[str, str]]]]:
    """Named groups of key-value rows, as recorded."""
    run = record.run
    head = {k: run.get(k) for k in ("crosstune", "schema", "created", "finished", "status")}
    head["command line"] = shlex.join(str(a) for a in run.get("command") or ())
    head["seeds"] = run.get("seeds")
    head["test opened"] = [r.get("time") for r in run.get("reveals") or () if isinstance(r, Mapping)] or "never"
    task = {k: v for k, v in record.task.items() if k not in ("classes", "columns", "target_names")}
    for key in ("classes", "columns", "target_names"):
        names = record.task.get(key)
        if names:
            task[key] = f"{len(names)}: " + ", ".join(str(n) for n in names[:12]) + (", \u2026" if names[12:] else "")
    method = dict(record.part("method"))
    for i, stage in enumerate(method.pop("stages", None) or ()):
        method[f"stage {i}"] = stage
    arms = {
        a.label: " \u00b7 ".join(
            [a.status, *([seconds(a.seconds)] if a.seconds is not None else []), *_arm_facts(a.raw)]
        )
        for a in record.arms.values()
    }
    groups = {
        "run": head,
        "data": record.part("data"),
        "task and split": task,
        "backbone": record.part("backbone"),
        "source proxy": record.part("proxy"),
        "method": method,
        "budget": record.part("budget"),
        "arms": arms,
        "hardware": record.part("hardware"),
        "versions": record.part("versions"),
    }
    return [(name, _pairs(group)) for name, group in groups.items()]


def _arm_facts(raw: Mapping[str, Any]) -> list[str]:
    facts = []
    if isinstance(raw.get("steps"), int):
        facts.append(f"{raw['steps']} steps")
    parameters = raw.get("parameters")
    if isinstance(parameters, Mapping) and isinstance(parameters.get("total"), int):
        facts.append(f"{parameters.get('trained', 0):,} of {parameters['total']:,} parameters trained")
    if raw.get("stopped_by"):
        facts.append(f"stopped by {raw['stopped_by']}")
    if raw.get("note"):
        facts.append(str(raw["note"]))
    return facts


def _pairs(group: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in group.items():
        if isinstance(value, Mapping) and value:
            pairs += _pairs(value, f"{prefix}{key}.")
        elif value is not None and value != "" and value != []:
            pairs.append((f"{prefix}{key}", _word(value)))
    return pairs


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_word(v) for v in value)
    return str(value)


def _config(record: RunRecord) -> list[tuple[str, str, str]]:
    rows = []
    for key, entry in record.part("config").items():
        if isinstance(entry, Mapping):
            rows.append((str(key), "none" if entry.get("value") is None else _word(entry["value"]),
                         str(entry.get("origin", ""))))  # fmt: skip
        else:
            rows.append((str(key), _word(entry), ""))
    return rows
