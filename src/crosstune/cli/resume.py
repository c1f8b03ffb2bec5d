"""crosstune resume RUN"""

from __future__ import annotations

import typer

from crosstune.cli import common


def register(app: typer.Typer) -> None:
    app.command()(resume)


def resume(run: common.Run, json: common.Json = False) -> None:
    """Go on with an interrupted run, from its last checkpoint."""
    from crosstune.cli.running import go
    from crosstune.runs import RunFolder

    go(RunFolder.open(run), as_json=json)
