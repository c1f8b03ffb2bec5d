"""The model card: Markdown with the front matter of the Hugging Face hub, written from the run folder alone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from crosstune.report.record import RunRecord, read_run
from crosstune.report.summary import Summary, reveal_command, summary_of
from crosstune.report.templating import environment

_TASKS = {
    "classification": {
        "table": "tabular-classification",
        "series": "time-series-classification",
        "grid": "image-classification",
    },
    "segmentation": {"series": "token-classification", "grid": "image-segmentation"},
    "regression": {"table": "tabular-regression", "series": "time-series-forecasting"},
}


def model_card(path: str | Path) -> str:
    """The card of the run folder ``path`` as Markdown. Raises RunError as ``read_run``."""
    record = read_run(path)
    summaries = [summary_of(record, split) for split in record.splits()] or [summary_of(record, "validation")]
    backbone = record.part("backbone")
    modality = str(record.task.get("modality") or "data")
    rows = record.task.get("rows")
    train = rows.get("train") if isinstance(rows, Mapping) else None
    folder = record.path.resolve().name  # a card travels: it names no path of the machine it was written on
    template = environment().get_template("card.md.j2")
    return str(
        template.render(
            run=record,
            summary=summaries[-1],
            summaries=summaries,
            results=[result for s in summaries if (result := _result(record, s))],
            name=record.name,
            license=_license(backbone),
            base_model=_base_model(backbone),
            backbone=str(backbone.get("name") or "not recorded"),
            paper=str(record.part("method").get("paper") or ""),
            tags=["crosstune", "cross-modal-fine-tuning", record.method, record.kind, modality],
            task_type=_TASKS.get(record.kind, {}).get(modality, "other"),
            modality={"table": "tables", "series": "series", "grid": "grids", "volume": "volumes"}.get(
                modality, modality
            ),
            selected_on=_selected_on(record),
            classes=", ".join((record.classes or ())[:20]) + (", \u2026" if len(record.classes or ()) > 20 else ""),
            train_rows=f"{train:,} rows" if isinstance(train, int) else "the training rows",
            strategy=str((record.task.get("split") or {}).get("strategy", "not recorded")),
            sealed="test" not in record.splits() and (record.task.get("rows") or {}).get("test") != 0,
            findings=[str(f.get("message")) for f in record.run.get("findings") or () if isinstance(f, Mapping)],
            data=_data(record),
            sentences=[
                s.replace(reveal_command(record), f"crosstune reveal {shlex.quote(folder)}")
                for s in summaries[-1].verdict.sentences
            ],
            folder_literal=json.dumps(folder, ensure_ascii=False),
            folder_shell=shlex.quote(folder),
        )
    )


def _data(record: RunRecord) -> list[tuple[str, str]]:
    """What is known of the training data; of its path the file name only."""
    known = {k: v for k, v in record.part("data").items() if v is not None}
    if "path" in known:
        known["path"] = PurePath(str(known["path"]).replace("\\", "/")).name
    return [(key, str(value)) for key, value in known.items()]


def _license(backbone: Mapping[str, Any]) -> str:
    return str(backbone.get("license") or "").strip().lower()


def _base_model(backbone: Mapping[str, Any]) -> str:
    """The hub id of the backbone, where one was recorded: the hub refuses anything else here."""
    for key in ("hub_id", "id", "base_model", "origin", "name"):
        match = re.search(r"(?<![\w/.-])[\w-][\w.-]*/[\w-][\w.-]*(?![\w/.-])", str(backbone.get(key) or ""))
        if match:
            return match[0]
    return ""


def _selected_on(record: RunRecord) -> str:
    for split in record.splits():
        for prediction in record.predictions_of(split, record.method).values():
            return prediction.selected_on
    return "validation"


def _result(record: RunRecord, summary: Summary) -> dict[str, Any] | None:
    method = summary.arm(summary.method)
    if method is None or method.value is None:
        return None
    return {
        "metric": summary.metric,
        "name": f"{summary.split} {summary.metric}",
        "value": f"{method.value:.6g}",
        "split": summary.split,
        "selected_on": _selected_on(record),
        "protocol": record.protocol,
        "low": None if method.low is None else f"{method.low:.6g}",
        "high": None if method.high is None else f"{method.high:.6g}",
    }
