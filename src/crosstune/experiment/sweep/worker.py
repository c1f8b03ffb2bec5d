"""A process that does jobs: ``python -m crosstune.experiment.sweep.worker OUT``.

Reads one JSON object per line from stdin, ``{"job": ..., "opens_test": ...}``, does the job, and answers with one line
on stdout. Ends when stdin ends, whatever it is doing: a worker must not outlive the sweep that started it. SIGINT
makes the job at work stop at its next step, with a checkpoint.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

EXIT_ABANDONED = 3


def _read(inbox: queue.Queue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        inbox.put(json.loads(line))
    os._exit(EXIT_ABANDONED)


def main(arguments: list[str]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log
    inbox: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(inbox,), daemon=True).start()

    from crosstune.experiment.sweep.engines.outcome import attempt, written
    from crosstune.experiment.sweep.jobs import Job

    out = Path(arguments[0])
    try:
        while True:
            order = inbox.get()
            if order.get("end"):
                return
            outcome = attempt(Job.model_validate(order["job"]), out, opens_test=order["opens_test"])
            answers.write(written(outcome) + "\n")
            answers.flush()
            if outcome.state == "interrupted":
                return
    except KeyboardInterrupt:  # between two jobs
        return


if __name__ == "__main__":
    main(sys.argv[1:])
