"""crosstune rank DATA"""

from __future__ import annotations

from typing import Annotated

import typer

from crosstune.cli import common


def register(app: typer.Typer) -> None:
    app.command()(rank)


def rank(
    context: typer.Context,
    data: common.Data,
    path: common.Path = None,
    protocol: common.Protocol = None,
    limit: common.LimitRows = None,
    target: common.Target = None,
    groups: common.Groups = None,
    task: common.Task = None,
    backbones: Annotated[
        list[str] | None, typer.Option("--backbones", help="Names, folders or hub ids; comma-separated or repeated.")
    ] = None,
    errors: Annotated[
        list[str] | None, typer.Option("--errors", help="Known fine-tuned errors, name=value; repeatable.")
    ] = None,
    proxy: common.Proxy = "auto",
    lengths: common.Lengths = None,
    features: common.Features = None,
    allow_pickle: common.AllowPickle = False,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Score backbones by the bound before any fine-tuning, next to LogME and H-score; lower bound is better."""
    from crosstune.experiment.ranking import default_ranking, render
    from crosstune.experiment.ranking import rank as score

    names = [part for entry in backbones or default_ranking() for part in entry.split(",") if part]
    known = common.parse_errors(errors)
    common.check_proxy(proxy, names)
    chosen = common.chosen_task(
        context, data, path, protocol, limit, taboo=("target", "groups", "task", "lengths", "features")
    )
    parts = None
    if chosen is not None:
        from crosstune.experiment.binding import load_task

        loaded = load_task(chosen)
        dataset, parts = loaded.dataset, loaded.split
    else:
        dataset = common.read_data(
            data, target=target, groups=groups, lengths=lengths, features=features, task=task, allow_pickle=allow_pickle
        )
    result = score(dataset, names, errors=known, parts=parts, proxy=proxy, device=device)
    common.emit(result) if json else print(render(result))
