"""From the flags of ``bench run`` to its jobs, and what a person sees while they run. All on stderr."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from crosstune import cli
from crosstune.cli import common


def plan(
    suite: str, out: Path, *, methods: str, tasks: str | None, backbones: str, seeds: str | None, budget: str | None,
    protocol: str, scale: str, data: str | None, limit: str | None, settings: list[str] | None, threads: int,
    workers: int, checkpoint_every: str, watcher: Watcher,
) -> tuple[list[Any], dict[str, Any]]:  # fmt: skip
    """The jobs, and a description of what was asked for. Every mistake that can be found is found before data are
    generated or anything runs."""
    from crosstune.benchmarks import get_suite
    from crosstune.experiment.sweep.jobs import chosen_tasks, contestants, expand, scale_of
    from crosstune.experiment.sweep.places import arguments, found_in, generated

    found = get_suite(suite)
    size = scale_of(found, scale)
    chosen = chosen_tasks(found, size, names(tasks) if tasks else None, protocol)
    wanted: dict[str, Any] = {
        "protocol": protocol, "limit": common.parse_limit(limit) or dict(size.limit or {}),
        "backbones": names(backbones), "seeds": common.parse_seeds(seeds or str(size.seeds)),
        "budget": budget or size.budget, "settings": common.parse_settings(settings), "threads": threads,
        "checkpoint_seconds": common.parse_interval(checkpoint_every),
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
        **{key: value for key, value in wanted.items() if key != "checkpoint_seconds"},
        "generate": None if data else {t.name: arguments(size, t) for t in chosen},
    }  # fmt: skip
    return expand(chosen, roles, places=places, **wanted), described


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
