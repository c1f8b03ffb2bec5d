"""From the flags of ``bench run`` to its jobs, and what a person sees while they run. All on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from crosstune import cli
from crosstune.cli import common


def plan(
    suite: str, out: Path, *, methods: str, tasks: str | None, backbones: str, seeds: str | None, budget: str | None,
    protocol: str, scale: str, data: str | None, limit: str | None, settings: list[str] | None, threads: int,
    workers: int, device: str, processes: int, elsewhere: bool, checkpoint_every: str, watcher: Watcher,
) -> tuple[list[Any], dict[str, Any]]:  # fmt: skip
    """The jobs, and a description of what was asked for. Every mistake that can be found is found before data are
    generated or anything runs. elsewhere: the device is that of other machines."""
    from crosstune.benchmarks import get_suite
    from crosstune.experiment.sweep.jobs import chosen_tasks, contestants, expand, scale_of
    from crosstune.experiment.sweep.places import arguments, found_in, generated
    from crosstune.nn.devices import check_device, check_processes, resolve_device

    check_device(device)
    if not elsewhere:
        check_processes(processes, resolve_device(device), device)
    found = get_suite(suite)
    size = scale_of(found, scale)
    chosen = chosen_tasks(found, size, names(tasks) if tasks else None, protocol)
    wanted: dict[str, Any] = {
        "protocol": protocol, "limit": common.parse_limit(limit) or dict(size.limit or {}),
        "backbones": names(backbones), "seeds": common.parse_seeds(seeds or str(size.seeds)),
        "budget": budget or size.budget, "settings": common.parse_settings(settings), "threads": threads,
        "processes": processes, "device": device, "checkpoint_seconds": common.parse_interval(checkpoint_every),
    }  # fmt: skip
    roles = contestants(names(methods))
    expand(chosen, roles, places={t.name: ("", "") for t in chosen}, **wanted)
    if data is not None:
        places = found_in(data, chosen)
    else:
        places = generated(
            out, size, chosen, workers=workers, on_task=watcher.generates, on_share=watcher.share
        )  # fmt: skip
    described = {
        "suite": suite, "scale": scale, "tasks": [t.name for t in chosen], "methods": list(roles), "data": data,
        **{key: value for key, value in wanted.items() if key not in ("checkpoint_seconds", "device")},
        "generate": None if data else {t.name: arguments(size, t) for t in chosen},
    }  # fmt: skip
    return expand(chosen, roles, places=places, **wanted), described


def trivial(
    suite: str, out: Path, *, tasks: str | None, scale: str, data: str | None, protocol: str | None, limit: str | None,
    workers: int, watcher: Watcher,
) -> dict[str, Any]:  # fmt: skip
    """The table of trivial answers of a suite that offers one, written into OUT; {"records", "text"}."""
    import importlib
    import importlib.util

    from crosstune.benchmarks import get_suite
    from crosstune.errors import UsageError
    from crosstune.experiment.sweep.jobs import chosen_tasks, scale_of
    from crosstune.experiment.sweep.places import DATA, arguments, generated

    found = get_suite(suite)
    home = f"crosstune.benchmarks.{suite}"
    if importlib.util.find_spec(f"{home}.degeneracy") is None:
        raise UsageError(
            f"suite {suite!r} has no table of trivial answers", cause="--degeneracy is for suites that define one",
            fix="run its floors instead, for instance --methods majority,nearest,linear",
        )  # fmt: skip
    answers = importlib.import_module(f"{home}.degeneracy")
    tables = importlib.import_module(f"{home}.degeneracy_tables")
    size = scale_of(found, scale)
    chosen = chosen_tasks(found, size, names(tasks) if tasks else None, protocol or "clean")
    if data is None:
        generated(out, size, chosen, workers=workers, on_task=watcher.generates, on_share=watcher.share)
    records = answers.degeneracy(
        data or out / DATA, [task.name for task in chosen], (protocol,) if protocol else answers.PROTOCOLS,
        common.parse_limit(limit) or size.limit, on_case=watcher.line,
    )  # fmt: skip
    sizes = {} if data else {task.name: arguments(size, task) for task in chosen}
    command = f"crosstune bench run {suite} --degeneracy --scale {scale}"
    for path in tables.write(out, tables.as_results(records, command=command, generated=sizes)):
        watcher.line(f"written  {path}")
    return {"records": records, "text": tables.render_text(records)}


def beside_published(
    folders: list[str], *, suite: str | None = None, protocol: str | None = None, split: str | None = None
) -> tuple[Any, dict[str, Any]]:
    """The records of sweeps (of one suite, or all) beside published figures, and how to show them, by format."""
    from dataclasses import asdict

    from crosstune.benchmarks import get_suite, published_results, suites
    from crosstune.benchmarks import tasks as all_tasks
    from crosstune.errors import UsageError
    from crosstune.report import leaderboard_views as views
    from crosstune.report.leaderboard import leaderboard, stand_ins
    from crosstune.report.sweep import read_records

    if suite is not None:
        get_suite(suite)
    records: list[dict[str, Any]] = []
    generated: set[str] = set()
    for place in folders:
        mine = [asdict(r) for r in read_records(place) if suite is None or r.task.split("/")[0] == suite]
        generated |= stand_ins(Path(place) if Path(place).is_dir() else Path(place).parent, mine)
        records += mine
    if not records:
        raise UsageError(
            f"{', '.join(map(repr, folders))} holds no records of suite {suite!r}",
            fix="name the suite that was run there",
        )
    board = leaderboard(
        records, tasks=all_tasks(), suites=suites(), published=published_results(), protocol=protocol, split=split,
        generated=generated,
    )  # fmt: skip
    formats = {"text": views.render_text, "csv": views.render_csv, "html": views.render_html}
    return board, formats | {"markdown": views.render_markdown}


def analysed(
    folder: str, *, split: str | None, metric: str | None, protocol: str | None, markdown: str | None = None,
    diagram: str | None = None,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """The table of a sweep with its tests, and how to show it, by format. markdown, diagram: where these go, since the
    page shows the drawing."""
    import os

    from crosstune.report.analysis import analyse
    from crosstune.report.sweep import read_records
    from crosstune.report.sweep_page import render_diagram, render_html
    from crosstune.report.sweep_views import render_csv, render_markdown, render_text

    found = analyse(read_records(folder), [folder], split=split, metric=metric, protocol=protocol)
    address = os.path.relpath(diagram, os.path.dirname(markdown or "") or ".") if diagram else None
    return found, {
        "text": render_text, "csv": render_csv, "html": render_html, "diagram": render_diagram,
        "markdown": lambda each: render_markdown(each, address),
    }  # fmt: skip


def write(texts: Mapping[str, str]) -> None:
    """Files, each whole or not at all; everything was rendered before the first is written."""
    from crosstune.report.sweep import write_text

    for path, text in texts.items():
        write_text(path, text)


def names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


class Watcher:
    """A bar on a terminal; a line per finished job in any case."""

    def __init__(self) -> None:
        self.live: Any = None
        self.task: Any = None
        self._lock = threading.Lock()

    def __enter__(self) -> Watcher:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self.live = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self.live.start()
            self.task = self.live.add_task("planning", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def line(self, text: str) -> None:
        text = f"{time.monotonic() - cli.STARTED:7.1f}s  {text}"
        with self._lock:
            if self.live is not None:
                self.live.console.print(text, highlight=False, markup=False)
            else:
                print(text, file=sys.stderr, flush=True)

    def generates(self, task: Any, there: bool) -> None:
        if not there:
            self.line(f"data     {task.name}: generating")

    def share(self, done: float) -> None:
        if self.live is not None:
            self.live.update(self.task, description="generating", completed=round(100 * done), total=100)

    def begins(self, label: str) -> None:
        if self.live is not None:
            self.live.update(self.task, description=label)

    def job(self, outcome: Any, entries: list[dict[str, Any]], done: int, total: int) -> None:
        if self.live is not None:
            self.live.update(self.task, completed=done, total=total)
        self.line(f"{done:4} of {total}  {outcome.job.label}: {_said(entries)}")


def _said(entries: list[dict[str, Any]]) -> str:
    """The figure that counts: of the test where it was opened."""
    scored = [e for e in entries if e["primary"] and e["value"] is not None]
    best = next((e for e in scored if e["split"] == "test"), scored[0] if scored else None)
    if best is None:
        return f"{entries[0]['status']}: {entries[0]['note'] or 'no score'}"
    seconds = "" if best["seconds"] is None else f", {best['seconds']:.1f} s"
    return f"{best['metric']} {best['value']:.4f} on {best['split']}{seconds}"
