"""Trying a job: what every engine does in the process where the job runs."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

from crosstune.errors import CrosstuneError, Interrupted
from crosstune.experiment.sweep.engines.contract import Outcome
from crosstune.experiment.sweep.jobs import Job
from crosstune.experiment.sweep.work import run_job
from crosstune.runs.files import finite, plain


def attempt(job: Job, out: Path, *, opens_test: bool) -> Outcome:
    """The job's outcome; never raises. Errors that are not ours keep the end of their traceback."""
    try:
        return Outcome(job, "done", tuple(run_job(job, out, opens_test=opens_test)))
    except (Interrupted, KeyboardInterrupt):
        return Outcome(job, "interrupted")
    except CrosstuneError as problem:
        return Outcome(job, "failed", reason=f"{type(problem).__name__}: {problem.problem}")
    except Exception as problem:
        place = traceback.extract_tb(problem.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Outcome(job, "failed", reason=f"{type(problem).__name__} at {where}: {problem}")


def written(outcome: Outcome) -> str:
    """The outcome as one line of JSON, without its job."""
    said = {"state": outcome.state, "records": list(outcome.records), "reason": outcome.reason}
    return json.dumps(finite(said), default=plain, allow_nan=False)


def read(job: Job, text: str) -> Outcome:
    """What ``written`` wrote about the job."""
    said = json.loads(text)
    return Outcome(job, said["state"], tuple(said["records"]), said["reason"])
