"""crosstune inspect DATA"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from crosstune.cli import common

OF_FILES = ("target", "groups", "task", "time", "lengths", "features", "accept", "drop_missing_target")


def register(app: typer.Typer) -> None:
    app.command()(inspect)


def inspect(
    context: typer.Context,
    data: common.Data,
    path: common.Path = None,
    protocol: common.Protocol = None,
    limit: common.LimitRows = None,
    target: common.Target = None,
    groups: common.Groups = None,
    task: common.Task = None,
    time: common.Time = None,
    lengths: common.Lengths = None,
    features: common.Features = None,
    accept: common.Accept = None,
    allow_pickle: common.AllowPickle = False,
    backbone: Annotated[
        str | None, typer.Option(help="Also say how the data would become tokens of this body.")
    ] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens per sample, with --backbone.")] = None,
    drop_missing_target: common.DropMissing = False,
    json: common.Json = False,
) -> None:
    """What is in a file (or a task), what is wrong with it, and what would be done. Exit code 3 when it is refused."""
    from crosstune.data import inspect as look
    from crosstune.data import split as carve
    from crosstune.experiment.preparation import refuse

    chosen = common.chosen_task(context, data, path, protocol, limit, taboo=OF_FILES)
    if chosen is not None:
        return _task(chosen, json)
    dataset = common.read_data(
        data, target=target, groups=groups, time=time, lengths=lengths, features=features, task=task,
        allow_pickle=allow_pickle, drop_missing=drop_missing_target,
    )  # fmt: skip
    parts = carve(dataset, seed=0) if dataset.y is not None else None
    found = look(dataset, parts, accept=tuple(accept or ()))
    layout = [] if backbone is None else _layout(dataset, parts, backbone, tokens, allow_pickle)
    if json:
        common.emit(found.as_dict() | ({} if backbone is None else {"backbone": backbone, "layout": layout}))
        raise typer.Exit(3 if found.refused() else 0)
    from crosstune.cli.fit import describe

    print("\n".join(describe(dataset)))
    if found.classes:
        print("class  " + ", ".join(f"{name}: {count}" for name, count in found.classes.items()))
    print(f"missing {found.missing:.2%}")
    for finding in found.findings:
        print(f"{finding.severity:6} {finding.message}" + (f"  [{finding.accept}]" if finding.accept else ""))
    for line in (*found.plan, *layout):
        print(f"plan   {line}")
    refuse(found.refused())


def _layout(dataset: Any, parts: Any, backbone: str, tokens: int | None, allow_pickle: bool) -> list[str]:
    """How the training rows become tokens of a body; the data's or the weights' own error when they cannot."""
    from crosstune.assembly import layout, plan_model
    from crosstune.backbones import load_backbone
    from crosstune.errors import DataError

    if parts is None:
        raise DataError("the data have no target", cause="no key or column was named", fix="pass --target NAME")
    body = load_backbone(backbone, allow_pickle=allow_pickle).body
    train = dataset.take(parts.train)
    return layout(train, plan_model(train, body, tokens=tokens), body)


def _task(chosen: Any, json: bool) -> None:
    from crosstune.benchmarks import get_task
    from crosstune.cli.fit import describe
    from crosstune.experiment.binding import load_task, looked_at

    task = get_task(chosen.name)
    loaded = load_task(chosen)
    terms = task.terms(chosen.protocol)
    found, findings = looked_at(chosen, loaded)
    about = {
        "task": task.name,
        "title": task.title,
        "protocol": chosen.protocol,
        "terms": terms.text,
        "metric": terms.metric,
        "also": list(terms.also),
        "loss": terms.loss,
        "selected_on": terms.selected_on,
        "parts": {name: len(loaded.split.rows(name)) for name in ("train", "validation", "test")},
        "notes": list(loaded.notes),
        "traps": list(task.traps),
        "published": task.published,
    }
    if json:
        plain = [{"code": f.code, "severity": f.severity, "message": f.message} for f in findings]
        common.emit(found.as_dict() | {"findings": plain, "refused": []} | about)
        return
    print("\n".join(describe(loaded.dataset)))
    print(f"title  {task.title}: {task.summary}")
    print(f"terms  protocol {chosen.protocol}: {terms.text}")
    print(f"metric {', '.join([terms.metric, *terms.also])}; selected on {terms.selected_on}")
    print("split  " + ", ".join(f"{count} {name}" for name, count in about["parts"].items()))
    for kind in ("notes", "traps"):
        for line in about[kind]:
            print(f"{kind[:-1]:6} {line}")
    for finding in findings:
        print(f"{finding.severity:6} {finding.message}")
