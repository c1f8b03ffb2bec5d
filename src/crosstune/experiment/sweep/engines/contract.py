"""What an engine is: something that runs jobs somewhere and hands back what became of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from crosstune.experiment.sweep.jobs import Job


@dataclass(frozen=True)
class Outcome:
    """What became of a job. "done": records to keep (of a failed fit too). "failed": the reason. "interrupted": asked
    to stop; nothing is to be recorded, the job goes on from its checkpoint another time."""

    job: Job
    state: Literal["done", "failed", "interrupted"]
    records: tuple[dict[str, Any], ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Place:
    """out: the sweep folder. opens_test: score the test when a job is fitted. workers: at most so many jobs at once;
    None: as the engine sees fit. stop: set when the user has asked to stop; say: hears of jobs that begin; note: hears
    of what a person should know afterwards, too (a machine that was lost). options: of the engine, as text."""

    out: Path
    opens_test: bool
    workers: int | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    say: Callable[[str], None] = lambda text: None
    note: Callable[[str], None] = lambda text: None
    options: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """A new engine is a new file with ``ENGINE``. ``run_job`` (work.py) is what it must run, in processes that see the
    sweep folder; a ``Job`` and an ``Outcome`` travel as JSON.

    options: names of the flags of ``bench run`` that are for this engine. elsewhere: jobs may run on machines that
    have other devices than this one.
    """

    name: str
    summary: str
    options: tuple[str, ...]
    elsewhere: bool

    def ready(self, options: Mapping[str, str]) -> None:
        """Raises ConfigError, before anything is prepared, when a library is missing or an option makes no sense."""
        ...

    def run(self, jobs: Sequence[Job], place: Place, finished: Callable[[Outcome], None]) -> None:
        """Run the jobs, about in their order, and report each, from the calling thread. Returns when all are reported,
        or soon after ``place.stop`` was set, with the jobs at work stopped at their next step."""
        ...
