"""crosstune predict RUN DATA -o FILE"""

from __future__ import annotations

from typing import Annotated

import typer

from crosstune.cli import common


def register(app: typer.Typer) -> None:
    app.command()(predict)


def predict(
    context: typer.Context,
    run: common.Run,
    data: common.Data,
    out: Annotated[str, typer.Option("--out", "-o", help="Where to: .parquet, .csv, .npy or .npz.")],
    path: common.Path = None,
    protocol: common.Protocol = None,
    limit: common.LimitRows = None,
    part: common.Part = None,
    lengths: common.Lengths = None,
    features: common.Features = None,
    allow_pickle: common.AllowPickle = False,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Predict every row of a file with the model of a run (or of a model folder).

    Of a task, the rows of the test part unless --part says otherwise.
    """
    from crosstune.cli.progress import Progress
    from crosstune.experiment import predict_file
    from crosstune.nn.devices import resolve_device
    from crosstune.runs import load_model

    where = resolve_device(device)
    model = load_model(run).to(where)
    chosen = common.chosen_task(context, data, path, protocol, limit, taboo=("lengths", "features"))
    if chosen is not None:
        dataset = common.task_part(chosen, part)
    else:
        dataset = common.read_data(
            data, target=False, lengths=lengths, features=features or model.columns_for(data), allow_pickle=allow_pickle
        )
    with Progress(None) as progress:
        rows = predict_file(model, dataset, out, on_share=progress.share)
    if json:
        common.emit({"rows": rows, "out": out, "kind": model.kind, "classes": model.classes})
    else:
        print(f"{rows} predictions ({model.kind}) in {out}")
