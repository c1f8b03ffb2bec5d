"""Jobs in processes of this machine, each with its own share of the cores."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import crosstune
from crosstune.experiment.sweep.engines.contract import Outcome, Place
from crosstune.experiment.sweep.engines.outcome import read
from crosstune.experiment.sweep.jobs import Job

_PAUSE = 0.2
_PATIENCE = 60.0  # seconds that jobs get to reach their next step and write a checkpoint
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)  # fmt: skip


class _Worker:
    """A worker process and the thread that feeds it. The process leaves the terminal's group: Ctrl-C reaches it only
    through us, once; and it ends when its stdin does, so it cannot outlive us."""

    def __init__(self, number: int, place: Place, todo: queue.Queue[Job], results: queue.Queue[Outcome | None]) -> None:
        self.number, self.place, self.todo, self.results = number, place, todo, results
        self.child: subprocess.Popen[str] | None = None
        self._guard = threading.Lock()
        self._asked = False
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            while not self.place.stop.is_set():
                try:
                    job = self.todo.get_nowait()
                except queue.Empty:
                    break
                self.place.say(job.label)
                self.results.put(self._do(job))
        finally:
            self._end()
            self.results.put(None)

    def _do(self, job: Job) -> Outcome:
        with self._guard:
            if self._asked:
                return Outcome(job, "interrupted")
            if self.child is None:
                self.child = self._start(job.threads)
            child = self.child
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps({"job": job.model_dump(mode="json"), "opens_test": self.place.opens_test}))
            child.stdin.write("\n")
            child.stdin.flush()
            answer = child.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer.endswith("\n"):
            return read(job, answer)
        code = child.wait()
        self.child = None
        if self.place.stop.is_set():
            return Outcome(job, "interrupted")
        return Outcome(job, "failed", reason=_ended(code, self._log()))

    def _log(self) -> Path:
        return self.place.out / "logs" / f"worker-{self.number}.log"

    def _start(self, threads: int) -> subprocess.Popen[str]:
        self._log().parent.mkdir(parents=True, exist_ok=True)
        source = str(Path(crosstune.__file__).parents[1])
        path = os.pathsep.join([source, *([os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else [])])
        with open(self._log(), "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "crosstune.experiment.sweep.worker", str(self.place.out)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), "PYTHONPATH": path},
            )  # fmt: skip

    def interrupt(self) -> None:
        """Once: a second signal would make the job stop without a checkpoint."""
        with self._guard:
            self._asked = True
            child = self.child
            if child is not None and child.poll() is None:
                child.send_signal(signal.SIGINT)

    def kill(self) -> None:
        child = self.child
        if child is not None and child.poll() is None:
            child.kill()

    def _end(self) -> None:
        child, self.child = self.child, None
        if child is None:
            return
        assert child.stdin is not None
        try:
            child.stdin.write('{"end": true}\n')
            child.stdin.flush()
            child.wait(timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def _ended(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return f"the worker was killed, as happens when memory runs out; {log}"
    how = f"by signal {-code}" if code < 0 else f"with code {code}"
    return f"the worker ended {how}; its last words are in {log}"


class LocalEngine:
    name = "local"
    summary = "processes of this machine (--workers)"
    options: tuple[str, ...] = ()
    elsewhere = False

    def ready(self, options: Mapping[str, str]) -> None:
        """Always."""

    def run(self, jobs: Sequence[Job], place: Place, finished: Callable[[Outcome], None]) -> None:
        todo: queue.Queue[Job] = queue.Queue()
        for job in jobs:
            todo.put(job)
        results: queue.Queue[Outcome | None] = queue.Queue()
        workers = [_Worker(n, place, todo, results) for n in range(min(place.workers or 1, len(jobs)))]
        left, waited, asked = len(workers), 0.0, False
        try:
            while left:
                try:
                    outcome = results.get(timeout=_PAUSE)
                except queue.Empty:
                    if place.stop.is_set():
                        if not asked:
                            asked = True
                            for worker in workers:
                                worker.interrupt()
                        waited += _PAUSE
                        if waited > _PATIENCE:
                            break
                    continue
                if outcome is None:
                    left -= 1
                else:
                    finished(outcome)
        finally:
            place.stop.set()
            for worker in workers:
                worker.kill()


ENGINE = LocalEngine()
