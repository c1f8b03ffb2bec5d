"""Several processes for the fitting of one run, one per device: this one, which leads, and helpers that it starts.

Only fitting is shared (``stages.fit``, through Accelerate). Clock, files, checkpoints and interrupts are the leader's:
helpers draw the same rows, compute their share and do as it says. They end when it does, however it ends.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

import crosstune
from crosstune.errors import Interrupted, RunError
from crosstune.records import StageReport
from crosstune.runs.folder import RunFolder
from crosstune.seeding import Streams
from crosstune.stages import fit
from crosstune.stages.fit import FitConfig
from crosstune.stages.machine import Machine
from crosstune.stages.state import State

_LAST_WORDS = 2000


class Team:
    """``count`` processes, this one included; ``with Team(...) as team: team.fit(state, config, streams=streams)``.

    folder: of the run, whose rows helpers read themselves; rows: of its validation part, those that are scored; device:
    of this process ("cuda:0" stands for one GPU each). Helpers begin at once, beside whatever this process does.
    """

    def __init__(self, count: int, folder: RunFolder, rows: Any, device: torch.device, threads: int) -> None:
        self.count, self.device, self.threads = count, device, threads
        self._data = {"folder": str(folder.path.resolve()), "rows": rows}
        self._place = Path(tempfile.mkdtemp(prefix="crosstune-team-"))  # for this user alone
        self._orders = 0
        self._joined = False
        self._address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        self._helpers = [self._start(rank) for rank in range(1, count)]

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def fit(self, state: State, config: FitConfig, *, streams: Streams) -> tuple[State, StageReport]:
        """``stages.fit.run`` by all. RunError when a helper is lost; a resumed run has new ones."""
        self.join()
        order = self._place / f"{self._orders}.pt"
        self._orders += 1
        torch.save(self._data | described(state, config, streams), order)
        try:
            for helper in self._helpers:
                assert helper.stdin is not None
                helper.stdin.write(f"{order}\n")
                helper.stdin.flush()
            return fit.run(state, config, streams=streams)
        except (Interrupted, KeyboardInterrupt):
            raise
        except (OSError, RuntimeError) as problem:
            with suppress(subprocess.TimeoutExpired):  # what went wrong here ends them, or it is the other way round
                self._helpers[0].wait(timeout=5)
            lost = [number for number, helper in enumerate(self._helpers, 1) if helper.poll() is not None]
            if not lost:
                raise
            raise self._lost(lost[0]) from problem
        finally:
            order.unlink(missing_ok=True)

    def close(self) -> None:
        """End the helpers, and forget that there were several: the next run of this process may be alone."""
        for helper in self._helpers:
            helper.kill()
            helper.wait()
            for pipe in (helper.stdin, helper.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
        if self._joined:
            _leave()
        shutil.rmtree(self._place, ignore_errors=True)

    def _start(self, rank: int) -> subprocess.Popen[str]:
        source = str(Path(crosstune.__file__).parents[1])
        path = os.pathsep.join([source, *([os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else [])])
        device = f"cuda:{rank}" if self.device.type == "cuda" else str(self.device)
        with open(self._log(rank), "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "crosstune.experiment.helper", device, str(self.threads)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
                env={**os.environ, **self._environment(rank), "PYTHONPATH": path},
            )  # fmt: skip

    def _environment(self, rank: int) -> dict[str, str]:
        """What ``accelerate launch`` would set."""
        numbers = {
            "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": self.count, "LOCAL_WORLD_SIZE": self.count,
            "OMP_NUM_THREADS": self.threads,
        }  # fmt: skip
        return {name: str(value) for name, value in numbers.items()} | self._address

    def _log(self, rank: int) -> Path:
        return self._place / f"helper-{rank}.log"

    def join(self) -> None:
        """Wait until every helper has everything loaded, and meet. Waiting for each other, they could wait long."""
        if self._joined:
            return
        for number, helper in enumerate(self._helpers, 1):
            assert helper.stdout is not None
            if helper.stdout.readline() != "ready\n":
                raise self._lost(number)
        _leave()
        with _variables(self._environment(0)):
            self._joined = True
            found = Machine(self.device).count
        if found != self.count:
            raise RunError(f"{self.count} processes were started for fitting, and {found} met")

    def _lost(self, number: int) -> RunError:
        code = self._helpers[number - 1].wait()
        words = self._log(number).read_text(errors="replace")[-_LAST_WORDS:].strip().splitlines()
        return RunError(
            f"process {number + 1} of {self.count} for fitting ended with code {code}: {words[-1] if words else ''}",
            cause="memory that ran out, or a device that is in use",
            fix="`crosstune resume` goes on from the last checkpoint",
        )


def described(state: State, config: FitConfig, streams: Streams) -> dict[str, Any]:
    """What a helper needs to do the same, for ``torch.save``; data and body it finds by the run's own record."""
    monitor = state.monitor
    return {
        "model": state.model.config, "weights": state.model.state_dict(), "metric": state.metric.name,
        "kind": state.train.kind, "config": config, "limits": monitor.limits, "saved": monitor.resume("fit"),
        "streams": {"seed": streams.seed, "prefix": streams.prefix, "state": streams.state_dict()},
        "max_head_rows": state.max_head_rows, "head_seconds": state.head_seconds,
        "selection_rows": state.selection_rows,
    }  # fmt: skip


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    """These environment variables for a moment: processes that are started later are none of the team."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _leave() -> None:
    """Make Accelerate forget whom it met. Its state is one per process, and there is no other way."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        with suppress(RuntimeError, ValueError):  # the others may be gone
            torch.distributed.destroy_process_group()
