"""The command line: one file per verb, no logic. Heavy imports happen inside the verbs, so that --help is instant."""

from __future__ import annotations

import sys
import time

STARTED = time.monotonic()  # budgets count from here, imports included
_calls = 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit code (errors.py) and never shows a traceback for an error of the user's."""
    global STARTED, _calls
    _calls += 1
    if _calls > 1:  # called again in a process that goes on: its clock starts anew
        STARTED = time.monotonic()
    try:
        from crosstune.cli.app import run

        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
