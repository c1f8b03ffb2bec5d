"""A sweep from its plan to its records: what is recorded is skipped, what is half done goes on, what fails is kept."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from crosstune.discovery import discover, pick
from crosstune.errors import Interrupted, RunError, UsageError
from crosstune.experiment.sweep.engines.contract import Engine, Outcome, Place
from crosstune.experiment.sweep.jobs import Job
from crosstune.experiment.sweep.records import Records
from crosstune.experiment.sweep.work import failed
from crosstune.runs.files import write_json
from crosstune.runs.folder import claim

ENGINES = "crosstune.experiment.sweep.engines"
DESCRIPTION = "sweep.json"
FAILED = ("failed", "timeout")


@dataclass(frozen=True)
class Tally:
    """How a sweep stands. states: job hash -> "ok", "failed", "timeout" or "skipped"; fresh: jobs done this time."""

    jobs: int
    states: dict[str, str] = field(default_factory=dict)
    fresh: int = 0

    def counts(self) -> dict[str, int]:
        return dict(Counter(self.states.values()))


def engines() -> dict[str, Engine]:
    return discover(ENGINES, "ENGINE")


def get_engine(name: str, options: Mapping[str, str] | None = None) -> Engine:
    """The engine, ready for these options of its own. UsageError with a suggestion for an unknown name, and for options
    of another engine; ConfigError for options out of range or a library that is not installed."""
    engine: Engine = pick(ENGINES, "ENGINE", name, "engine")
    options = options or {}
    for option in options:
        if option not in engine.options:
            theirs = [other.name for other in engines().values() if option in other.options]
            raise UsageError(
                f"--{option} is no option of engine {name!r}",
                fix=f"leave it out, or choose --engine {theirs[0]}" if theirs else "leave it out",
            )
    engine.ready(options)
    return engine


def conduct(
    jobs: Sequence[Job], out: str | Path, *, engine: str = "local", workers: int | None = None, opens_test: bool = True,
    retry: bool = False, described: dict[str, Any] | None = None, options: Mapping[str, str] | None = None,
    on_job: Callable[[Outcome, list[dict[str, Any]], int, int], None] = lambda *unused: None,
    say: Callable[[str], None] = lambda text: None, note: Callable[[str], None] = lambda text: None,
) -> Tally:  # fmt: skip
    """Do every job that has no whole record yet (with ``retry``: those that failed, too) and record it.

    described: what was asked for, kept in sweep.json. options: of the engine; workers, say, note: as in ``Place``.
    on_job hears of each finished job: its outcome, its records, how many are done, of how many. Raises Interrupted when
    stopped, RunError when another process is at work in the folder, UsageError in one of several processes.
    """
    out = Path(out)
    chosen = get_engine(engine, options)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"a sweep is led by one process, and {os.environ['WORLD_SIZE']} were started",
            cause="torchrun or `accelerate launch`",
            fix="start it by itself; --workers and --engine ray do jobs at the same time",
        )
    out.mkdir(parents=True, exist_ok=True)
    lock = _claimed(out)
    try:
        _describe(out, described or {})
        records = Records(out)
        states = records.states()
        wanted = {job.key: job for job in jobs}
        todo = [job for key, job in wanted.items() if key not in states or (retry and states[key] in FAILED)]
        done, fresh = len(wanted) - len(todo), 0
        place = Place(out, opens_test, workers, say=say, note=note, options=options or {})

        def finished(outcome: Outcome) -> None:
            nonlocal done, fresh
            if outcome.state == "interrupted":
                return
            entries = list(outcome.records)
            if outcome.state == "failed":
                entries = failed(outcome.job, "failed", outcome.reason)
            records.append(entries, time=datetime.now(UTC).isoformat())
            done, fresh = done + 1, fresh + 1
            on_job(outcome, entries, done, len(wanted))

        with _Stop(place.stop):
            if todo:
                chosen.run(todo, place, finished)
        now = records.states()
        if place.stop.is_set() and any(key not in now for key in wanted):
            raise Interrupted(
                f"interrupted; {str(out)!r} keeps every finished job and the checkpoints of the others",
                fix="the same command goes on",
            )
        return Tally(len(wanted), {key: now[key] for key in wanted if key in now}, fresh)
    finally:
        (out / ".lock").unlink(missing_ok=True)
        os.close(lock)


def _claimed(out: Path) -> int:
    try:
        return claim(out / ".lock")
    except RunError as problem:
        raise RunError(
            problem.problem.replace("run ", "sweep ", 1), cause="the same sweep was started twice",
            fix="wait for it, stop it, or choose another --out",
        ) from None  # fmt: skip


def _describe(out: Path, described: dict[str, Any]) -> None:
    """sweep.json: what was asked for, each different demand once."""
    path = out / DESCRIPTION
    described = json.loads(json.dumps(described))  # as it will be read back
    known = json.loads(path.read_text())["asked"] if path.exists() else []
    if described and described not in known:
        write_json(path, {"schema": 1, "asked": [*known, described]})


class _Stop:
    """The first Ctrl-C (or SIGTERM) asks the jobs to stop at their next step; the second one does not wait."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.event.is_set():
            raise KeyboardInterrupt
        self.event.set()
