"""What a machine of a cluster does for a sweep: look around before the first job, and do a job.

Functions of plain values, so that any scheduler may carry them.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import crosstune
from crosstune.experiment.sweep.engines.outcome import attempt, written
from crosstune.experiment.sweep.jobs import Job
from crosstune.experiment.sweep.parcels import pack
from crosstune.experiment.sweep.places import fingerprint
from crosstune.experiment.sweep.work import JOBS

TOKEN = ".shared"  # in the sweep folder while a sweep runs: whoever reads the same word there has the same folder


def look(out: str | None, token: str, data: Sequence[str], scratch: str | None) -> dict[str, Any]:
    """What a machine sees: its name and version, whether it has the sweep folder (out; None: not needed) and whether
    the sweep's claim on it holds there too, a fingerprint of each data path, why scratch cannot be used."""
    seen: dict[str, Any] = {"host": socket.gethostname(), "version": crosstune.__version__, "scratch": None}
    seen["out"] = out is None or _word(out) == token
    seen["locks"] = out is None or not seen["out"] or _claimed(Path(out) / ".lock")
    seen["data"] = {path: fingerprint(Path(path)) if os.path.exists(path) else None for path in data}
    if scratch is not None:
        try:
            os.makedirs(scratch, exist_ok=True)
        except OSError as problem:
            seen["scratch"] = str(problem)
    return seen


def do(order: dict[str, Any], out: str | None, token: str, root: str) -> dict[str, Any]:
    """Run a job under ``root`` and give what became of it, as text; with its packed folder if out is None, and without
    anything when this machine does not see the sweep folder."""
    host = socket.gethostname()
    if out is not None and _word(out) != token:
        return {"host": host, "outcome": None, "parcel": None}
    job = Job.model_validate(order["job"])
    outcome = attempt(job, Path(root), opens_test=order["opens_test"])
    folder = Path(root) / JOBS / job.key
    parcel = None
    if out is None and outcome.state == "done":
        parcel = pack(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return {"host": host, "outcome": written(outcome), "parcel": parcel}


def _word(out: str) -> str | None:
    try:
        return (Path(out) / TOKEN).read_text()
    except OSError:
        return None


def _claimed(path: Path) -> bool:
    """Whether another process holds the lock, as far as this machine can tell."""
    try:
        import fcntl

        with open(path, "rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        pass
    return False
