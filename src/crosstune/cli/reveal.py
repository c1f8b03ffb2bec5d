"""crosstune reveal RUN"""

from __future__ import annotations

from typing import Annotated

import typer

from crosstune.cli import common


def register(app: typer.Typer) -> None:
    app.command()(reveal)


def reveal(
    run: common.Run,
    again: Annotated[bool, typer.Option("--again", help="Open the test once more; recorded in the run.")] = False,
    json: common.Json = False,
) -> None:
    """Open the sealed test: score the method, its controls and the floors on the test rows, once, and record it."""
    from crosstune.cli.progress import Progress
    from crosstune.cli.running import finish, show
    from crosstune.experiment import reveal as open_test

    with Progress(None) as progress:
        folder = open_test(run, again=again, notify=progress)
    finish(folder.path)
    show(folder.path, as_json=json)
