"""crosstune inspect DATA"""

from __future__ import annotations

import typer

from crosstune.cli import common


def register(app: typer.Typer) -> None:
    app.command()(inspect)


def inspect(
    data: common.Data,
    target: common.Target = None,
    groups: common.Groups = None,
    task: common.Task = None,
    time: common.Time = None,
    lengths: common.Lengths = None,
    features: common.Features = None,
    accept: common.Accept = None,
    allow_pickle: common.AllowPickle = False,
    drop_missing_target: common.DropMissing = False,
    json: common.Json = False,
) -> None:
    """What is in a file, what is wrong with it, and what would be done with it. Exit code 3 when it is refused."""
    from crosstune.data import inspect as look
    from crosstune.data import split as carve
    from crosstune.experiment.preparation import refuse

    dataset = common.read_data(
        data, target=target, groups=groups, time=time, lengths=lengths, features=features, task=task,
        allow_pickle=allow_pickle, drop_missing=drop_missing_target,
    )  # fmt: skip
    parts = carve(dataset, seed=0) if dataset.y is not None else None
    found = look(dataset, parts, accept=tuple(accept or ()))
    if json:
        common.emit(found.as_dict())
        raise typer.Exit(3 if found.refused() else 0)
    from crosstune.cli.fit import describe

    print("\n".join(describe(dataset)))
    if found.classes:
        print("class  " + ", ".join(f"{name}: {count}" for name, count in found.classes.items()))
    print(f"missing {found.missing:.2%}")
    for finding in found.findings:
        print(f"{finding.severity:6} {finding.message}" + (f"  [{finding.accept}]" if finding.accept else ""))
    for line in found.plan:
        print(f"plan   {line}")
    refuse(found.refused())
