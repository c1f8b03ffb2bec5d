"""crosstune fit DATA"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from crosstune.cli import common

# what a benchmark task decides itself
OF_FILES = (
    "target", "groups", "task", "time", "lengths", "features", "split", "fractions", "accept", "drop_missing_target",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command()(fit)


def fit(
    context: typer.Context,
    data: common.Data,
    path: common.Path = None,
    protocol: common.Protocol = None,
    limit: common.LimitRows = None,
    target: common.Target = None,
    groups: common.Groups = None,
    task: common.Task = None,
    backbone: Annotated[
        str,
        typer.Option(
            help="A name, a local folder, or a hub id (`crosstune list backbones`); tiny: tiny-grid or tiny-sequence, "
            "whichever suits the data; auto: minilm where it is installed, else tiny."
        ),
    ] = "auto",
    attention: Annotated[str | None, typer.Option(help="Of decoders: causal (their own) or bidirectional.")] = None,
    method: Annotated[str, typer.Option(help="The recipe (`crosstune list methods`).")] = "recraft",
    budget: Annotated[
        str, typer.Option(help="Wall time of the whole run (4m, 90s, 1h30m), or steps per model (200steps).")
    ] = "4m",
    seeds: Annotated[str, typer.Option(help="How many seeds (3), or which (0,4,7).")] = "1",
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="The run folder; runs/NAME-METHOD-HASH otherwise.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="What selects and is reported (`crosstune list metrics`).")] = None,
    floors: Annotated[str | None, typer.Option(help="Cheap baselines: auto, none, or names.")] = None,
    controls: Annotated[str | None, typer.Option(help="Controls at equal time: auto, none, or names.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens per sample.")] = None,
    loss: Annotated[str | None, typer.Option(help="What fitting minimises (`crosstune list losses`).")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting: align.steps=30; repeatable.")
    ] = None,
    split: Annotated[str, typer.Option(help="auto, stratified, grouped, temporal or random.")] = "auto",
    fractions: Annotated[str, typer.Option(help="Train, validation, test.")] = "0.6,0.2,0.2",
    split_seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    proxy: common.Proxy = "auto",
    accept: common.Accept = None,
    time: common.Time = None,
    lengths: common.Lengths = None,
    features: common.Features = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    device: common.Device = "auto",
    processes: common.Processes = 1,
    checkpoint_every: Annotated[
        str, typer.Option(help="How often the state is kept, for `crosstune resume` (15s, 0.2s, 1m).")
    ] = "15s",
    allow_pickle: common.AllowPickle = False,
    drop_missing_target: common.DropMissing = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run in the same folder.")] = False,
    json: common.Json = False,
) -> None:
    """Make a model from a file, with floors and controls in the same budget, and say whether it was worth it.

    DATA may also name a benchmark task (suite/name); its files, split, metric and loss then follow --data and
    --protocol.
    """
    from crosstune.cli.running import go

    chosen = common.chosen_task(context, data, path, protocol, limit, taboo=OF_FILES)
    request = make_request(
        backbone=backbone, method=method, budget=budget, seeds=seeds, metric=metric, floors=floors, controls=controls,
        tokens=tokens, settings=settings, split=split, fractions=fractions, split_seed=split_seed, accept=accept,
        threads=threads, allow_pickle=allow_pickle, proxy=proxy, checkpoint_every=checkpoint_every,
        attention=attention, loss=loss, device=device, processes=processes,
    )  # fmt: skip
    loaded = None
    if chosen is not None:
        from crosstune.experiment.binding import bind, load_task

        request = bind(request, chosen)
        loaded = load_task(chosen, seed=request.split_seed)
        dataset = loaded.dataset
    else:
        dataset = common.read_data(
            data, target=target, groups=groups, time=time, lengths=lengths, features=features, task=task,
            allow_pickle=allow_pickle, drop_missing=drop_missing_target,
        )  # fmt: skip
    folder = start(dataset, request, out, given=given_flags(context), overwrite=overwrite, task=loaded)
    go(folder, as_json=json)


def given_flags(context: typer.Context) -> dict[str, str]:
    """Key of the request -> the flag by which the user set it, for those that were on the command line."""
    out = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE" and parameter.param_type_name == "option":
            key = {"checkpoint_every": "checkpoint_seconds"}.get(parameter.name or "", parameter.name or "")
            out[key] = f"flag {max(parameter.opts, key=len)}"
    return out


def make_request(
    *, backbone: str, method: str, budget: str, seeds: str, metric: str | None, floors: str | None,
    controls: str | None, tokens: int | None, settings: list[str] | None, split: str, fractions: str, split_seed: int,
    accept: list[str] | None, threads: int | None, allow_pickle: bool, proxy: str,
    checkpoint_every: str, attention: str | None = None, loss: str | None = None, device: str = "auto",
    processes: int = 1,
) -> Any:  # fmt: skip
    """The request behind the flags, checked before any data are read."""
    from pydantic import ValidationError

    from crosstune.errors import UsageError
    from crosstune.experiment import Request

    try:
        request = Request(
            backbone=backbone, method=method, budget=budget, seeds=common.parse_seeds(seeds), metric=metric,
            floors=common.parse_names(floors), controls=common.parse_names(controls), tokens=tokens,
            settings=common.parse_settings(settings), split=split, fractions=common.parse_fractions(fractions),  # type: ignore[arg-type]
            split_seed=split_seed, accept=tuple(accept or ()), threads=threads, allow_pickle=allow_pickle, proxy=proxy,
            checkpoint_seconds=common.parse_interval(checkpoint_every), attention=attention, loss=loss,  # type: ignore[arg-type]
            device=device, processes=processes,
        )  # fmt: skip
    except ValidationError as problem:
        lines = [f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in problem.errors()]
        raise UsageError("\n".join(lines), fix="see `crosstune fit --help`") from None
    request.check()
    return request


def start(
    dataset: Any, request: Any, out: str | None, *, given: dict[str, str], overwrite: bool, task: Any = None
) -> Any:
    """Prepare the run folder; says what was inferred."""
    import sys
    from pathlib import Path

    from crosstune.data import dataset_digest
    from crosstune.experiment import prepare

    request = request.settled(dataset)
    for line in describe(dataset):
        common.say(line)
    for note in task.notes if task else ():
        common.say(f"note   {note}")
    if out is None:
        out = str(
            Path("runs")
            / f"{dataset.name.replace('/', '-')}-{request.method}-{request.digest(dataset_digest(dataset))[:8]}"
        )
    folder, existed = prepare(dataset, request, out, command=sys.argv, given=given, overwrite=overwrite,
                              task=task)  # fmt: skip
    if existed:
        common.say(f"run    {folder.path} holds this very run already ({folder.record()['status']})")
    else:
        rows = folder.record()["task"]["rows"]
        strategy = folder.record()["task"]["split"]["strategy"]
        sealed = "the validation rows themselves" if folder.record()["task"]["selected_on"] == "test" else "sealed"
        common.say(
            f"split  {rows['train']} train, {rows['validation']} validation, {rows['test']} test ({sealed}); {strategy}"
        )
        for finding in folder.record()["findings"]:
            common.say(f"{finding['severity']:6} {finding['message']}")
        common.say(f"run    {folder.path}")
    return folder


def describe(dataset: Any) -> list[str]:
    """What was read, in words."""
    shape = "x".join(str(n) for n in dataset.X.shape[1:])
    lines = [f"data   {dataset.name}: {len(dataset)} rows of {dataset.modality} {shape}"]
    if dataset.lengths is not None:
        lines[0] += f", lengths {int(dataset.lengths.min())} to {int(dataset.lengths.max())}"
    lines.append(
        f"task   {dataset.kind}" + (f" ({dataset.source.get('reason')})" if dataset.source.get("reason") else "")
    )
    lines += [f"note   {note}" for note in dataset.source.get("notes") or ()]
    return lines
