"""crosstune evaluate RUN DATA"""

from __future__ import annotations

import typer

from crosstune.cli import common


def register(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    context: typer.Context,
    run: common.Run,
    data: common.Data,
    path: common.Path = None,
    protocol: common.Protocol = None,
    limit: common.LimitRows = None,
    part: common.Part = None,
    target: common.Target = None,
    lengths: common.Lengths = None,
    features: common.Features = None,
    allow_pickle: common.AllowPickle = False,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Score the model of a run on labelled data it has not seen."""
    from crosstune.cli.progress import Progress
    from crosstune.experiment import evaluate as score
    from crosstune.nn.devices import resolve_device
    from crosstune.runs import load_model

    where = resolve_device(device)
    model = load_model(run).to(where)
    chosen = common.chosen_task(context, data, path, protocol, limit, taboo=("target", "lengths", "features"))
    if chosen is not None:
        dataset = common.task_part(chosen, part, sealed_by=run)
    else:
        dataset = common.read_data(
            data, target=target, lengths=lengths, features=features or model.columns_for(data), task=model.kind,
            allow_pickle=allow_pickle, classes=model.classes,
        )  # fmt: skip
    with Progress(None) as progress:
        scores = score(model, dataset, on_share=progress.share)
    if json:
        common.emit({"rows": len(dataset), "scores": [s.as_dict() for s in scores]})
        return
    for entry in scores:
        print(f"{entry.metric:24} {entry.value:.4f}  [{entry.low:.4f}, {entry.high:.4f}]  {entry.rows} rows")
