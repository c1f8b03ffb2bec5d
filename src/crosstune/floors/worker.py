"""The child process: ``python -m crosstune.floors.worker JOBDIR`` trains the floors of a job, one after another.

Each result appears in the folder whole or not at all, as soon as it is there. The process ends by itself when its
parent is gone or the job's time is up, whatever the floor at work is doing. torch is imported for the floors that
name it, and for no other.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

JOB, TRAIN, PHASE = "job.json", "train.npz", "phase.json"
EXIT_ABANDONED = 3


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """The file at ``path`` is replaced in one step, so that a reader never sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, lambda file: file.write(json.dumps(value).encode()))


class _NoTorch:
    """Answers that there is no torch: a floor's library must not load it just to see whether it is there. The floors
    that are networks name it among their imports; while one of them is at work there is torch."""

    def __init__(self) -> None:
        self.lifted = False

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torch" and not self.lifted:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")


def _die_with_parent(seconds: float | None, temporary: Path | None) -> None:
    """Ends this process when its standard input closes, its parent changes, or the time is up. A temporary folder is
    removed where the parent can no longer do it.

    The threads need a turn of the interpreter; where there is an alarm signal, the kernel enforces the limit without.
    """

    def read() -> None:
        while os.read(0, 1):
            pass
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        os._exit(EXIT_ABANDONED)

    def watch(parent: int, deadline: float) -> None:
        while time.monotonic() < deadline and os.getppid() == parent:
            time.sleep(min(0.5, max(0.01, deadline - time.monotonic())))
        os._exit(EXIT_ABANDONED)

    deadline = time.monotonic() + seconds if seconds is not None else float("inf")
    if seconds is not None and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    threading.Thread(target=read, daemon=True).start()
    threading.Thread(target=watch, args=(os.getppid(), deadline), daemon=True).start()


def _save(savez: Callable[..., None], predictions: Mapping[str, Any], file: BinaryIO) -> None:
    savez(file, **predictions)


def work(folder: Path, guard: _NoTorch, until: float) -> None:
    """Runs the job in ``folder``: job.json, train.npz and one query-<name>.npz per query."""
    import numpy as np

    from crosstune.data.store import load_dataset
    from crosstune.floors.execute import execute_all
    from crosstune.floors.registry import get_floors

    job = json.loads((folder / JOB).read_text())
    train = load_dataset(folder / TRAIN)
    queries = {name: load_dataset(folder / file) for name, file in job["queries"].items()}
    specs = get_floors(job["names"], job["plugins"])
    networks = {spec.name for spec in specs if spec.needs_torch}

    began: dict[str, float] = {}

    def phase(name: str, text: str) -> None:
        guard.lifted = name in networks
        write_json(folder / PHASE, {"name": name, "text": text, "since": began.setdefault(name, time.time())})

    results = execute_all(
        specs,
        train,
        queries,
        seed=job["seed"],
        planned=job["planned"],
        threads=job["threads"],
        until=until,
        phase=phase,
    )
    for result in results:
        write_atomically(folder / f"{result.name}.npz", partial(_save, np.savez, result.predictions))
        write_json(folder / f"{result.name}.json", result.as_dict())


def main(arguments: list[str]) -> None:
    started, folder = time.monotonic(), Path(arguments[0])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches the whole process group: leave without a traceback
    job = json.loads((folder / JOB).read_text())
    _die_with_parent(job["seconds"], folder if job["temporary"] else None)
    guard = _NoTorch()
    sys.meta_path.insert(0, guard)  # type: ignore[arg-type]
    work(folder, guard, math.inf if job["seconds"] is None else started + job["seconds"])


if __name__ == "__main__":
    main(sys.argv[1:])
