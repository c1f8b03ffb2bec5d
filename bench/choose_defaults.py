"""The settings of a method, chosen on validation: variants that differ from its defaults in one thing, and their log.

    python bench/choose_defaults.py runs/defaults                          every variant below, resumable
    python bench/choose_defaults.py runs/defaults --only means,leep --tasks digits,gun-point-10 --seeds 2 --budget 20s
    python bench/choose_defaults.py runs/defaults --table mine.toml        variants of your own
    python bench/choose_defaults.py runs/orca --method orca                those of another method
    python bench/choose_defaults.py runs/defaults --log-only               no runs, the log alone

A table of your own has a section per variant, ``[means]`` with lines like ``"align.space" = "means"``; a section
[default] is not needed. Every variant is a sweep of its own, OUT/NAME, through ``crosstune bench run --no-reveal``,
on the same tasks, seeds and budget; the same command goes on after a kill. The log (results/defaults/METHOD.csv and
.md) gives per variant its average rank and the relative difference of its validation error to the default's, paired
by task and seed, with its interval. The test is never opened: a folder in which it was is refused, before and after
every sweep.

Validation also selects checkpoints, and the best of many variants looks better than it is: the log chooses settings,
it is no measurement of them. That is made once, with the chosen ones, on the test.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crosstune.errors import CrosstuneError, RunError, UsageError
from crosstune.report.analysis import among, errors_by_seed, standing
from crosstune.report.paired import Relative, relative
from crosstune.report.provenance import digest
from crosstune.report.relative_words import HOW, difference, p_value, record, sample
from crosstune.report.statistics import holm
from crosstune.report.sweep import NAME, Record, errors_of, read_records, table_of, write_text
from crosstune.report.templating import escape_markdown as md
from crosstune.report.words import count, seconds

LOGS = Path(__file__).parents[1] / "results" / "defaults"
DEFAULT = "default"
RECRAFT: dict[str, dict[str, Any]] = {
    # where feature alignment compares
    "means": {"align.space": "means"},
    "hidden": {"align.space": "hidden"},
    # how
    "sliced": {"align.fa": "sliced"},
    "otdd": {"align.fa": "otdd", "align.space": "means"},
    "source-points-512": {"align.source_points": 512},
    "align-steps-20": {"align.steps": 20},
    "align-steps-150": {"align.steps": 150},
    "align-keep-last": {"align.keep": "last"},
    "align-share-0.15": {"align.share": 0.15},
    # how alignment and distortion take turns
    "joint": {"align.schedule": "joint"},
    "constrained": {"align.schedule": "constrained"},
    "alternating": {"align.schedule": "alternating"},
    # distortion
    "no-fld": {"align.fld": "none"},
    "conditional": {"align.fld": "conditional"},
    "leep": {"align.fld": "leep"},
    "joint-lambda-0.3": {"align.schedule": "joint", "align.weight": 0.3},  # where terms take turns lambda scales a loss
    "joint-lambda-3": {"align.schedule": "joint", "align.weight": 3.0},
    # source labels
    "clusters-100": {"source_head.labels": "clusters:100"},
    "proxy-classes": {"source_head.labels": "classes"},
    # where the embedder begins
    "start-random": {"start": "random"},
    "start-theta": {"start": "theta"},
    # what trains
    "norms": {"fit.trainable": "norms"},
    "head": {"fit.trainable": "head"},
    "last-2": {"fit.trainable": "last:2"},
    "lora": {"fit.trainable": "lora"},
    # how fast
    "body-rate-3e-5": {"fit.body_rate": 3e-5},
    "body-rate-4e-4": {"fit.body_rate": 4e-4},
    "embedder-rate-3e-4": {"fit.embedder_rate": 3e-4},
    "embedder-rate-3e-3": {"fit.embedder_rate": 3e-3},
    "head-rate-0.1": {"fit.head_rate": 0.1},
    # where the head begins, and what stands beside the body
    "zero-head": {"fit.head_init": "zero", "fit.head_rate": 5.0},
    "no-linear-part": {"linear_part": False},
    "last-layer": {"layers": "last"},
}
PLAIN: dict[str, dict[str, Any]] = {
    "body-rate-5e-5": {"fit.body_rate": 5e-5},
    "embedder-rate-3e-3": {"fit.embedder_rate": 3e-3},
}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "recraft": RECRAFT,
    "finetune": PLAIN,
    "orca": {
        "align-steps-20": {"align.steps": 20},
        "align-steps-150": {"align.steps": 150},
    },
    "pare": {
        "mix-body-rate-2e-4": {"mix.body_rate": 2e-4},
        "mix-share-0.25": {"mix.share": 0.25},
        "mix-start-0.4": {"mix.start": 0.4},
    },
    "mona": {
        "inner-rate-3e-4": {"meta.inner_rate": 3e-4},
        "meta-rate-0.0003": {"meta.learning_rate": 0.0003},
        "meta-steps-20": {"meta.steps": 20},
    },
    "recraft-reference": {
        "plain-rates": {"fit.body_rate": 2e-4, "fit.embedder_rate": 1e-3, "fit.head_rate": 5.0},
        "plain-rates-no-dropout": {
            "fit.body_rate": 2e-4, "fit.embedder_rate": 1e-3, "fit.head_rate": 5.0, "fit.dropout": False,
        },
    },
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the log. found: the variant against the default, None for the default itself or without a common
    task; holm: p corrected for all variants."""

    variant: str
    settings: dict[str, Any]
    tasks: int
    rank: float | None
    found: Relative | None
    holm: float | None
    seconds: float | None
    failed: int


def chosen(method: str, table: Path | None, only: str | None) -> dict[str, dict[str, Any]]:
    """Variants by name, the default first. UsageError for names or settings that are not there."""
    known = {DEFAULT: {}} | VARIANTS.get(method, {})
    if table is not None:
        try:
            read = tomllib.loads(table.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as problem:
            raise UsageError(
                f"{str(table)!r} is no table of variants: {problem}", fix='[means]\n"align.space" = "means"'
            ) from None
        known = {DEFAULT: {}} | {name: _flat(settings) for name, settings in read.items()}
    names = [DEFAULT, *(n.strip() for n in only.split(",") if n.strip() != DEFAULT)] if only else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no variant {', '.join(unknown)}", fix=f"there are: {', '.join(known)}")
    return {name: known[name] for name in names}


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """``align.space`` as one key or as a table in a table."""
    if not isinstance(settings, dict):
        raise UsageError(f"{settings!r} is no section of settings", fix='[means]\n"align.space" = "means"')
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def check(method: str, variants: Mapping[str, Mapping[str, Any]]) -> None:
    """ConfigError, naming the variant, for settings that the method does not have: before anything runs."""
    from crosstune.errors import ConfigError
    from crosstune.methods import get_method
    from crosstune.methods.contract import override

    problems = []
    for name, settings in variants.items():
        try:
            override(get_method(method), dict(settings))
        except ConfigError as problem:
            problems.append(f"{name}: {problem.problem}")
    if problems:
        raise ConfigError("\n".join(problems), fix="`crosstune list methods --json` prints every setting and its value")


def refuse_opened(folder: Path) -> None:
    """RunError where a test was opened: neither in the records nor in any run may there be a look at it."""
    if (folder / NAME).is_file() and any(r.split == "test" for r in read_records(folder)):
        raise RunError(f"{folder} holds scores of the test", fix="choose settings in a folder of their own")
    for run in sorted(folder.glob("jobs/*/run.json")):
        held = json.loads(run.read_text(encoding="utf-8"))
        looked = held.get("reveals") or [s for s in held.get("scores") or () if s.get("split") == "test"]
        if looked:
            raise RunError(f"the test of {run.parent} was opened", fix="choose settings in a folder of their own")


def command(options: argparse.Namespace, out: Path, name: str, settings: Mapping[str, Any]) -> list[str]:
    """The sweep of one variant. Data are generated with the default, and the others read them there."""
    words = ["bench", "run", options.suite, "--methods", options.method, "--no-reveal", "--protocol", "clean",
             "--scale", options.scale, "--backbones", options.backbone, "--workers", str(options.workers),
             "--threads", str(options.threads), "--device", options.device]  # fmt: skip
    for flag in ("tasks", "seeds", "budget", "limit"):
        words += [f"--{flag}", getattr(options, flag)] if getattr(options, flag) else []
    data = options.data or (str(out / DEFAULT / "data") if name != DEFAULT else None)
    words += ["--data", data] if data else []
    words += ["--retry"] if options.retry else []
    for key, value in settings.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return [*words, "--out", str(out / name)]


def run_variant(words: Sequence[str]) -> int:
    """The verb in a process of its own; its exit code."""
    code = "import sys; from crosstune.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, check=False).returncode


def run_all(options: argparse.Namespace, variants: Mapping[str, Mapping[str, Any]]) -> None:
    out = Path(options.out)
    for number, (name, settings) in enumerate(variants.items(), start=1):
        refuse_opened(out / name)
        print(f"[{number}/{len(variants)}] {name}", file=sys.stderr, flush=True)
        words = command(options, out, name, settings)
        assert "--no-reveal" in words
        done = run_variant(words)
        refuse_opened(out / name)
        if done == 130:
            raise KeyboardInterrupt
        if done and name == DEFAULT:
            raise RunError(f"the default did not run (exit code {done})", fix="see the message above")
        if done:
            print(f"{name}: exit code {done}, left out", file=sys.stderr, flush=True)


def records_of(out: Path, method: str, name: str, settings: Mapping[str, Any]) -> list[Record]:
    """The validation records of a variant under its name. UsageError for records of other settings, or of several
    budgets."""
    refuse_opened(out / name)
    if not (out / name / NAME).is_file():
        return []
    found = [r for r in read_records(out / name) if r.method == method and r.protocol == "clean"]
    if any((r.settings or {}) != dict(settings) for r in found):
        raise UsageError(
            f"{out / name} was run with other settings than {dict(settings)}", fix="remove it, or rename the variant"
        )
    if len({(r.budget, r.backbone) for r in found}) > 1:
        raise UsageError(f"{out / name} holds several budgets or backbones", fix="one OUT for each")
    return [replace(r, method=name, backbone=None) for r in found]


def rows_of(out: Path, method: str, variants: Mapping[str, Mapping[str, Any]]) -> tuple[list[Row], list[Record]]:
    """The log's rows, the best average rank first, and the records they are from."""
    every = [r for name, settings in variants.items() for r in records_of(out, method, name, settings)]
    scored = [r for r in every if r.primary and r.split == "validation"]
    assert not any(r.split == "test" for r in every), "the test must stay sealed"
    if not any(r.method == DEFAULT for r in scored):
        raise RunError(
            f"no validation figures of the default in {out / DEFAULT}", fix="run it first, without --log-only"
        )
    table = table_of(scored, split="validation", protocol="clean")
    errors = errors_by_seed(scored)
    place = standing(errors_of(table.cells), table.tasks, sorted(errors), errors, tests=False)
    against = {
        name: relative(name, errors[name], DEFAULT, among(errors, DEFAULT, table.tasks))
        for name in variants
        if name in errors and name != DEFAULT
    }
    against = {name: each for name, each in against.items() if each.tasks}
    corrected = dict(zip(against, holm([each.p for each in against.values()])))
    rows = []
    for name, settings in variants.items():
        mine = [r for r in every if r.method == name]
        took = [float(r.seconds) for r in mine if r.seconds is not None and r.split == "validation" and r.primary]
        rows.append(
            Row(
                name, dict(settings), len(errors.get(name, {})), place.ranks.get(name) if place else None,
                against.get(name), corrected.get(name), sum(took) / len(took) if took else None,
                len({r.job for r in mine if r.status != "ok"}),
            )
        )  # fmt: skip
    rows.sort(key=lambda row: (row.rank is None, row.rank, row.variant))
    return rows, scored


COLUMNS = (
    "variant", "settings", "tasks", "mean_rank", "relative_difference", "low", "high", "data_sets", "won", "tied",
    "lost", "p", "p_holm", "seconds", "failed",
)  # fmt: skip


def as_csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        f = row.found
        numbers = [None] * 8 if f is None else [f.value, f.low, f.high, f.data_sets, f.win, f.tie, f.loss, f.p]
        writer.writerow([
            row.variant, _said(row.settings), row.tasks, row.rank, *numbers, row.holm, row.seconds, row.failed
        ])  # fmt: skip
    return out.getvalue()


def as_markdown(method: str, rows: Sequence[Row], records: Sequence[Record], words: str) -> str:
    tasks = sorted({r.task for r in records})
    seeds, budgets = len({r.seed for r in records}), ", ".join(sorted({str(r.budget) for r in records}))
    lines = [
        f"# Settings of {method}, compared on validation", "",
        f"Written by `bench/choose_defaults.py`; the test was not opened. {count(len(tasks), 'task')}, "
        f"{count(seeds, 'seed')}, budget "
        f"per job {budgets}. Validation also selects checkpoints, and the best of many looks better than it is: this "
        "chooses settings, it does not measure them.", "",
        "| variant | settings | tasks | mean rank | difference to the default | over | won, tied, lost | p, Holm "
        "| time | failed |",
        "|---|---|---:|---:|---|---|---|---|---:|---:|",
    ]  # fmt: skip
    for row in rows:
        f = row.found
        numbers = ["\u2013"] * 4 if f is None else [
            difference(f), sample(f), record(f), f"{p_value(f.p)}, {p_value(row.holm if row.holm is not None else 1.0)}"
        ]  # fmt: skip
        cells = [
            row.variant, _said(row.settings) or "none", str(row.tasks),
            "\u2013" if row.rank is None else f"{row.rank:.2f}", *numbers, seconds(row.seconds), str(row.failed),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(md(cell) for cell in cells)} |")
    lines += ["", f"{md(HOW[:1].upper() + HOW[1:])}.", "", f"Tasks: {md(', '.join(tasks))}.", ""]
    lines += [f"Figures, sha256: {digest(records)}", "", "```", words, "```"]
    return "\n".join(lines) + "\n"


def _said(settings: Mapping[str, Any]) -> str:
    return " ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()
    )


def write_log(method: str, rows: Sequence[Row], records: Sequence[Record], log: Path, words: str) -> None:
    texts = {log.with_suffix(".csv"): as_csv(rows), log.with_suffix(".md"): as_markdown(method, rows, records, words)}
    log.parent.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        write_text(path, text)
        print(f"written  {path}", file=sys.stderr)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", help="folder of the sweeps, one per variant")
    parser.add_argument("--method", default="recraft")
    parser.add_argument("--table", type=Path, help="TOML table of variants; those of this file otherwise")
    parser.add_argument("--only", help="names of variants, comma-separated; the default always runs")
    parser.add_argument("--suite", default="showcase")
    parser.add_argument("--tasks", help="of the suite, comma-separated; those of the scale otherwise")
    parser.add_argument("--scale", default="small")
    parser.add_argument("--seeds", help="how many, or which")
    parser.add_argument("--budget", help="per job: 20s, 4m, 200steps")
    parser.add_argument("--limit", help="rows per part: train=200,validation=50")
    parser.add_argument("--backbone", default="minilm")
    parser.add_argument("--data", help="folder with the data of the tasks; generated once into OUT/default otherwise")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--retry", action="store_true", help="do jobs that failed again")
    parser.add_argument("--log", type=Path, help="where the log goes, without .csv and .md")
    parser.add_argument("--log-only", action="store_true", help="run nothing, write the log of what is there")
    parser.add_argument("--list", action="store_true", help="print the variants and end")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    try:
        variants = chosen(options.method, options.table, options.only)
        check(options.method, variants)
        if options.list:
            print("\n".join(f"{name:22} {_said(settings)}" for name, settings in variants.items()))
            return 0
        if not options.log_only:
            run_all(options, variants)
        rows, records = rows_of(Path(options.out), options.method, variants)
    except CrosstuneError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    words = ["python", "bench/choose_defaults.py", Path(options.out).name]
    words += ["--table", options.table.name] if options.table else []
    for flag in ("method", "only", "suite", "tasks", "scale", "seeds", "budget", "limit", "backbone"):
        value = getattr(options, flag)
        words += [f"--{flag}", value] if value and value != parse(["x"]).__dict__[flag] else []
    write_log(options.method, rows, records, options.log or LOGS / options.method, " ".join(words))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
