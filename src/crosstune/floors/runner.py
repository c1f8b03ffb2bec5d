"""Floors in a child process under a time limit, their results as they come.

run = FloorRun.start(train, {"validation": validation}, ("majority", "linear"), seed=0, seconds=20)
while not run.done:
    for result in run.poll():
        print(result.label, result.status, result.seconds)
    do_something_else()
run.stop()
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import crosstune
from crosstune.data.store import save_dataset
from crosstune.errors import UsageError
from crosstune.floors.base import FloorSpec
from crosstune.floors.execute import FloorResult, Status, execute_all, shares, skipped
from crosstune.floors.registry import get_floors
from crosstune.floors.worker import EXIT_ABANDONED, JOB, PHASE, TRAIN, write_json
from crosstune.records import Dataset

_PAUSE = 0.05
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class _Held:
    """What a run holds of the machine: a process, a timer and perhaps a temporary folder."""

    def __init__(self, folder: Path | None) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.timer: threading.Timer | None = None
        self._folder = folder

    def kill(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            if self.child.stdin is not None:
                self.child.stdin.close()

    def release(self) -> None:
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class FloorRun:
    """A child process that trains floors, cheapest first. Use ``start``; end it with ``stop`` or as a context.

    The child is killed at the time limit even if nobody polls, and ends by itself when this process dies.
    """

    def __init__(self, folder: Path, specs: tuple[FloorSpec, ...], job: dict[str, Any], temporary: bool) -> None:
        self.folder = folder
        self.results: dict[str, FloorResult] = {}
        self._specs = {spec.name: spec for spec in specs}
        self._job = job
        self._fresh: list[FloorResult] = []
        self._child: subprocess.Popen[bytes] | None = None
        self._held = _Held(folder if temporary else None)
        weakref.finalize(self, self._held.release)  # also at the exit of the interpreter
        self._started = time.monotonic()
        self._seconds: float | None = job["seconds"]

    @classmethod
    def start(
        cls,
        train: Dataset,
        queries: Mapping[str, Dataset],
        names: Iterable[str],
        *,
        seed: int,
        seconds: float | None = None,
        workdir: Path | None = None,
        threads: int = 1,
        plugins: Iterable[str] = (),
        planned: Mapping[str, float] | None = None,
    ) -> FloorRun:
        """Writes the job and starts the child; returns at once.

        train: with target. queries: name -> data to predict; their targets are not handed to the child. names: of
        floors; those that do not fit are "skipped". seconds: wall time from now until the child is killed. workdir:
        kept with all results; a temporary folder otherwise. threads: that the child may use. plugins: see
        ``all_floors``. planned: seconds each floor plans for, from ``FloorResult.planned`` of another run, to get the
        same models again; otherwise the limit is split by effort. Raises ``UsageError`` for an unknown floor.
        """
        plugins = tuple(str(plugin) for plugin in plugins)
        specs = get_floors(names, plugins)
        folder = Path(tempfile.mkdtemp(prefix="crosstune-floors-")) if workdir is None else Path(workdir)
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: f"query-{index}.npz" for index, name in enumerate(queries)}
        job = {
            "seed": seed,
            "kind": train.kind,
            "seconds": seconds,
            "planned": shares(tuple(spec for spec in specs if skipped(spec, train) is None), seconds, planned),
            "threads": threads,
            "plugins": plugins,
            "temporary": workdir is None,
            "queries": files,
        }
        run = cls(folder, specs, job, temporary=workdir is None)
        try:
            for spec in specs:
                _forget(folder, spec.name)
                result = skipped(spec, train)
                if result is not None:
                    run._record(result)
            if run.pending:
                save_dataset(train, folder / TRAIN)
                for name, query in queries.items():
                    save_dataset(replace(query, y=None), folder / files[name])
                run._launch()
        except BaseException:
            run.stop()
            raise
        return run

    @property
    def pending(self) -> tuple[str, ...]:
        """Names without a result yet, in the order they run."""
        return tuple(name for name in self._specs if name not in self.results)

    @property
    def done(self) -> bool:
        """Whether every floor has a result and ``poll`` has handed all of them out."""
        return not self.pending and not self._fresh

    @property
    def seconds_left(self) -> float:
        """Wall time until the child is killed; infinite without a limit."""
        return np.inf if self._seconds is None else self._started + self._seconds - time.monotonic()

    def current(self) -> tuple[str, str] | None:
        """The floor at work and what it says it is doing (often ""), or None between floors and before the first."""
        phase = _read_json(self.folder / PHASE)
        return (phase["name"], phase["text"]) if phase and phase["name"] in self.pending else None

    def poll(self) -> list[FloorResult]:
        """Results that have appeared since the last call; never waits."""
        self._collect()
        fresh, self._fresh = self._fresh, []
        return fresh

    def wait(self, timeout: float | None = None) -> dict[str, FloorResult]:
        """Waits until every floor has a result, at most ``timeout`` seconds; the results so far, by name.

        The child goes on when the timeout ends; ``stop`` ends it.
        """
        end = np.inf if timeout is None else time.monotonic() + timeout
        self._collect()
        while self.pending and time.monotonic() < end:
            time.sleep(_PAUSE)
            self._collect()
        return dict(self.results)

    def stop(self) -> dict[str, FloorResult]:
        """Kills the child now. Floors without a result become "timeout". May be called again."""
        self._collect(final=True)
        self._held.release()
        return dict(self.results)

    def __enter__(self) -> FloorRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        (self.folder / PHASE).unlink(missing_ok=True)
        left = None if self._seconds is None else max(0.1, self.seconds_left)
        write_json(self.folder / JOB, {**self._job, "names": self.pending, "seconds": left})
        environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(self._job["threads"]))}
        package = str(Path(crosstune.__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH")) if p)
        with open(self.folder / "worker.log", "ab") as log:
            # An open pipe as standard input tells the child that we live. It stays in our process group for Ctrl-C.
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "crosstune.floors.worker", str(self.folder.resolve())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
            )
        self._held.child = self._child
        if left is not None:
            self._held.timer = threading.Timer(left, self._child.kill)
            self._held.timer.daemon = True
            self._held.timer.start()

    def _collect(self, final: bool = False) -> None:
        over = final or self.seconds_left <= 0
        if over:
            self._held.kill()
        ended = self._child is None or self._child.poll() is not None  # asked before the folder is read
        for name in self.pending:
            meta = _read_json(self.folder / f"{name}.json")
            if meta is not None:
                with np.load(self.folder / f"{name}.npz", allow_pickle=False) as stored:
                    self._record(FloorResult(**meta, predictions={key: stored[key] for key in stored.files}))
        if not self.pending:
            return
        if over or (self._child is not None and self._child.returncode == EXIT_ABANDONED):
            self._time_out()
        elif ended:
            self._crashed()

    def _time_out(self) -> None:
        phase = _read_json(self.folder / PHASE) or {"name": "", "text": "", "since": 0.0}
        limit = "stopped early" if self.seconds_left > 0 else f"time limit of {self._seconds:g} s"
        for name in self.pending:
            running = name == phase["name"]
            doing = f" while {phase['text']}" if running and phase["text"] else ""
            seconds = max(0.0, time.time() - phase["since"]) if running else 0.0
            note = f"{limit}{doing}" if running else f"{limit} before it began"
            self._record(self._without(name, "timeout", seconds, note))

    def _crashed(self) -> None:
        """The process itself ended: the floor at work has failed, the rest go on in a new process."""
        assert self._child is not None
        phase = _read_json(self.folder / PHASE)
        culprits = (phase["name"],) if phase and phase["name"] in self.pending else self.pending
        note = f"process ended {_ending(self._child.returncode)}{_last_line(self.folder / 'worker.log')}"
        seconds = max(0.0, time.time() - phase["since"]) if phase else 0.0
        for name in culprits:
            self._record(self._without(name, "failed", seconds, note))
        self._held.kill()
        if self.pending:
            self._launch()

    def _without(self, name: str, status: Status, seconds: float, note: str) -> FloorResult:
        label = self._specs[name].label_for(self._job["kind"])
        return FloorResult(name, label, status, seconds, note, planned=self._job["planned"][name])

    def _record(self, result: FloorResult) -> None:
        self.results[result.name] = result
        self._fresh.append(result)


def run_floors(
    train: Dataset,
    queries: Mapping[str, Dataset],
    names: Iterable[str],
    *,
    seed: int,
    seconds: float | None = None,
    workdir: Path | None = None,
    on_result: Callable[[FloorResult], None] | None = None,
    threads: int = 1,
    plugins: Iterable[str] = (),
    planned: Mapping[str, float] | None = None,
    in_process: bool = False,
) -> dict[str, FloorResult]:
    """Trains floors and predicts the queries; every result by name. Arguments as for ``FloorRun.start``.

    on_result is called with each result as it comes. ``in_process`` runs in this process, without a time limit
    (``UsageError`` if there is one) and without a folder.
    """
    tell = on_result or (lambda result: None)
    if in_process:
        return _run_here(train, queries, get_floors(names, tuple(plugins)), seed, seconds, threads, planned, tell)
    run = FloorRun.start(
        train,
        queries,
        names,
        seed=seed,
        seconds=seconds,
        workdir=workdir,
        threads=threads,
        plugins=plugins,
        planned=planned,
    )
    with run:
        while not run.done:
            for result in run.poll():
                tell(result)
            if run.pending:
                time.sleep(_PAUSE)
    return dict(run.results)


def _run_here(
    train: Dataset,
    queries: Mapping[str, Dataset],
    specs: tuple[FloorSpec, ...],
    seed: int,
    seconds: float | None,
    threads: int,
    planned: Mapping[str, float] | None,
    tell: Callable[[FloorResult], None],
) -> dict[str, FloorResult]:
    if seconds is not None:
        raise UsageError("floors in this process cannot be stopped at a time limit", fix="leave out in_process=True")
    results = {}
    ready = []
    for spec in specs:
        result = skipped(spec, train)
        if result is None:
            ready.append(spec)
        else:
            results[spec.name] = result
            tell(result)
    planned = shares(tuple(ready), None, planned)
    done = execute_all(tuple(ready), train, queries, seed=seed, planned=planned, threads=threads)
    for result in done:
        results[result.name] = result
        tell(result)
    return results


def _forget(folder: Path, name: str) -> None:
    for suffix in (".json", ".npz"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())  # type: ignore[no-any-return]
    except FileNotFoundError:
        return None


def _ending(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"by {signal.Signals(-code).name}"
    return f"by signal {-code}"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    return f": {lines[-1].strip()[:300]}" if lines else ""
