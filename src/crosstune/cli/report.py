"""crosstune report RUN"""

from __future__ import annotations

from pathlib import Path

import typer

from crosstune.cli import common


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(run: common.Run, json: common.Json = False) -> None:
    """Write the report of a run again, from its folder alone, and print the summary."""
    from crosstune.cli.running import finish, show
    from crosstune.report import read_run

    read_run(run)
    finish(Path(run))
    show(Path(run), as_json=json)
