"""crosstune list methods|backbones|tasks|kinds|metrics|losses|floors|proxies"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from crosstune.cli import common

WHAT = ("methods", "backbones", "tasks", "kinds", "metrics", "losses", "floors", "proxies")


def register(app: typer.Typer) -> None:
    app.command("list")(listing)


def listing(
    what: Annotated[str, typer.Argument(help="methods, backbones, tasks, kinds, metrics, losses, floors or proxies.")],
    json: common.Json = False,
) -> None:
    """What there is to choose from."""
    from crosstune.discovery import suggest
    from crosstune.errors import UsageError

    if what not in WHAT:
        raise UsageError(f"cannot list {what!r}", fix=suggest(what, WHAT))
    rows: list[dict[str, Any]] = globals()[f"_{what}"]()
    if json:
        common.emit(rows)
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        print(f"{row['name']:{width}}  {row['summary']}")


def _methods() -> list[dict[str, Any]]:
    from crosstune.methods import methods

    return [method.model_dump(mode="json") for method in methods().values()]


def _backbones() -> list[dict[str, Any]]:
    from crosstune.backbones import families, named

    rows: list[dict[str, Any]] = [
        {
            "name": n.name,
            "summary": n.summary,
            "repo": n.repo,
            "license": n.license,
            "sha256": n.sha256,
            "install": n.install,
        }
        for n in named().values()
    ]
    for family in families().values():
        types = ", ".join(family.model_types) or "others"
        takes: dict[str, Any] = {"pretrained on": family.modality, "takes": family.shapes,
                 "attention": list(family.attentions),
                 "model types": list(family.model_types), "twin": f"twin-{family.name}"}  # fmt: skip
        choice = f"; attention {' or '.join(family.attentions)}" if len(family.attentions) > 1 else ""
        summary = f"{family.modality}: {family.summary}; takes {family.shapes}{choice}"
        rows.append({"name": f"FOLDER or owner/name ({types})", "summary": summary} | takes)
    twins = ", ".join(f"twin-{name}" for name in families())
    rows.append({"name": "twin-FAMILY", "summary": f"tiny random bodies for trials: {twins}"})
    return rows


def _tasks() -> list[dict[str, Any]]:
    from crosstune.benchmarks import tasks

    rows = []
    for task in tasks().values():
        metrics = {name: terms.metric for name, terms in task.protocols.items()}
        made = "synthetic" if task.synthetic else "physics"
        said = ", ".join(f"{name}: {metric}" for name, metric in metrics.items())
        rows.append(
            {
                "name": task.name,
                "summary": f"{task.kind}, {task.modality}; {said}; generated data: {made}; {task.title}",
                "suite": task.suite,
                "title": task.title,
                "kind": task.kind,
                "modality": task.modality,
                "protocols": {
                    name: {"metric": t.metric, "also": list(t.also), "loss": t.loss, "selected_on": t.selected_on,
                           "text": t.text}
                    for name, t in task.protocols.items()
                },
                "generated": made,
                "published": task.published,
                "traps": list(task.traps),
            }
        )  # fmt: skip
    return rows


def _kinds() -> list[dict[str, Any]]:
    kinds = {
        "classification": "one class per row: y integer codes or names (n,)",
        "multilabel": "any number of labels per row: y of 0 and 1 (n, K)",
        "regression": "one or more values per row: y (n,) or (n, K)",
        "dense": "a field per row: y of the shape of a signal (n, C, L) or (n, C, H, W), NaN where nothing is known",
        "segmentation": "one class per position: y of integers (n, L) or (n, H, W), -1 where nothing is known",
    }
    return [{"name": name, "summary": text} for name, text in kinds.items()]


def _metrics() -> list[dict[str, Any]]:
    from crosstune.metrics import all_metrics

    return [
        {
            "name": m.name,
            "summary": m.summary,
            "direction": m.direction,
            "range": [m.low, m.high],
            "kinds": list(m.kinds),
        }
        for m in all_metrics().values()
    ]


def _losses() -> list[dict[str, Any]]:
    from crosstune.nn.losses import LOSSES

    return [
        {"name": loss.name, "summary": f"{', '.join(loss.kinds)}: {loss.summary}", "kinds": list(loss.kinds)}
        for loss in LOSSES
    ]


def _floors() -> list[dict[str, Any]]:
    from crosstune.floors import all_floors

    return [
        {"name": f.name, "summary": f.summary, "kinds": list(f.kinds), "modalities": list(f.modalities),
         "unavailable": f.unavailable()}
        for f in all_floors().values()
    ]  # fmt: skip


def _proxies() -> list[dict[str, Any]]:
    from crosstune.data.proxies import DEFAULTS
    from crosstune.discovery import discover

    rows = []
    for source in discover("crosstune.data.proxies", "PROXY").values():
        default = DEFAULTS.get(source.modality) == source.name
        rows.append(
            {"name": source.name,
             "summary": f"{source.modality}{' (auto)' if default else ''}: {source.summary}; {source.size}; "
             f"licence {source.license}",
             "modality": source.modality, "size": source.size, "license": source.license, "default": default}
        )  # fmt: skip
    rows.append(
        {"name": "PATH",
         "summary": "your own: a folder with one sub-folder per class of images, .wav or .txt files; .npz with X and "
         "y; .csv, .jsonl or .parquet with columns of text and label",
         "modality": None, "size": None, "license": "your own", "default": False}
    )  # fmt: skip
    rows.append(
        {"name": "none",
         "summary": "no labelled source data: stage 1 matches the statistics of the body's own tokens; no source head, "
         "no distortion, no bound", "modality": None, "size": None, "license": None, "default": False}
    )  # fmt: skip
    return rows
