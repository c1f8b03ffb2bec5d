"""crosstune demo"""

from __future__ import annotations

from typing import Annotated

import typer

from crosstune.cli import common


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    context: typer.Context,
    budget: Annotated[str, typer.Option(help="Wall time of the demonstration.")] = "150s",
    out: Annotated[str, typer.Option("--out", "-o", help="The run folder.")] = "runs/demo",
    json: common.Json = False,
) -> None:
    """The main job on real data: scikit-learn's handwritten digits, as a file, through `crosstune fit`."""
    from crosstune.cli.fit import given_flags, start
    from crosstune.cli.running import go
    from crosstune.experiment import Request

    dataset = _digits()
    common.say(
        "demo   1,797 handwritten digits of 8 x 8 pixels (UCI, shipped with scikit-learn) into a small transformer"
    )
    folder = start(dataset, Request(budget=budget), out, given=given_flags(context), overwrite=False)
    go(folder, as_json=json)
    if not json:
        print(
            "\nNow with your own file:\n  crosstune inspect DATA --target NAME\n"
            "  crosstune fit DATA --target NAME --budget 4m"
        )


def _digits() -> object:
    from sklearn.datasets import load_digits

    from crosstune.data import from_arrays

    X, y = load_digits(return_X_y=True)
    return from_arrays(X.reshape(-1, 1, 8, 8).astype("float32"), y, name="digits")
