"""crosstune pretrain sequence|grid"""

from __future__ import annotations

from typing import Annotated

import typer

from crosstune.cli import common


def register(app: typer.Typer) -> None:
    app.command()(pretrain)


def pretrain(
    kind: Annotated[str, typer.Argument(help="sequence (series) or grid (pictures).")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder of the weights; the same command goes on with it.")],
    preset: Annotated[str, typer.Option(help="tiny or small.")] = "tiny",
    recipe: Annotated[str | None, typer.Option(help="A recipe.json instead of a preset.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time (5m, 90s) or steps (2000steps); 5m, or the recipe's.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value of the recipe: classes=500; repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of classes, samples and first weights.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Pretrain a small body on formulas, without any data, into a folder that --backbone takes."""
    from pathlib import Path

    import torch

    from crosstune.cli.progress import Progress
    from crosstune.experiment.budget import Budget
    from crosstune.pretraining import asked_recipe, train
    from crosstune.runs.stopping import StopFlag

    time = None if budget is None else Budget.parse(budget)
    steps = None if time is None else time.steps
    asked = asked_recipe(kind, preset, recipe, common.parse_settings(settings), seed=seed, steps=steps)
    seconds = (time or Budget.parse("5m")).seconds if asked.steps is None else None
    if threads is not None:
        torch.set_num_threads(threads)
    with Progress(seconds) as progress, StopFlag() as flag:
        report = train(
            asked, Path(out), seconds=seconds, device=device, stop=lambda step: flag.raised, on_step=progress.training,
        )  # fmt: skip
    if json:
        common.emit({"out": out, "report": report})
        return
    print(f"{report['steps']:,} steps, {report['samples']:,} signals in {report['seconds']:,.0f} s "
          f"({report['samples_per_second']:,.0f} per second), {report['parameters']:,} parameters")  # fmt: skip
    print(f"weights {out}/model.safetensors ({report['bytes']:,} bytes), sha256 {report['sha256'][:16]}\n"
          f"use     --backbone {out}")  # fmt: skip
