"""The command line: one file per verb, no logic. Heavy imports happen inside the verbs, so that --help is instant."""

from __future__ import annotations

import sys
import time

STARTED = time.monotonic()  # budgets count from here, imports included


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit code (errors.py) and never shows a traceback for an error of the user's."""
    from crosstune.cli.app import run

    return run(sys.argv[1:] if arguments is None else arguments)
