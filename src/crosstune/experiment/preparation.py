"""Before a run: the data checked, the split carved, the folder written, all or nothing."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import crosstune
from crosstune.benchmarks import TaskData
from crosstune.data import dataset_digest, inspect, split
from crosstune.errors import DataError
from crosstune.experiment.binding import described, looked_at, origin_of
from crosstune.experiment.circumstances import hardware, versions
from crosstune.experiment.place import holds, writing
from crosstune.experiment.request import Request, origins
from crosstune.metrics import default_metric, get_metric
from crosstune.records import Dataset, Split
from crosstune.runs.folder import SCHEMA, RunFolder
from crosstune.stages.fit import FitConfig


def prepare(
    dataset: Dataset,
    request: Request,
    out: str | Path,
    *,
    command: list[str] | None = None,
    given: dict[str, str] | None = None,
    overwrite: bool = False,
    parts: Split | None = None,
    task: TaskData | None = None,
) -> tuple[RunFolder, bool]:
    """Check the data, carve the split, write the folder. Gives the folder and whether it already held this very run.

    task: the loaded data of ``request.task``, whose split and protocol are then the run's.

    Raises DataError (exit code 3) listing every refused finding with the flag that accepts it; RunError when the
    folder holds something else.
    """
    if dataset.y is None or dataset.kind is None:
        raise DataError("the data have no target", cause="no key or column was named", fix="pass --target NAME")
    request = request.settled(dataset)
    method = request.resolved_method()
    budget = request.parsed_budget()
    metric = get_metric(request.metric, dataset.kind) if request.metric else default_metric(dataset.kind)
    for stage in method.stages:
        if isinstance(stage, FitConfig):
            stage.check(dataset.kind)
    digest = dataset_digest(dataset)
    folder = RunFolder(out)
    parts = task.split if task else parts
    identity = request.digest(digest + (split_digest(parts) if task and parts else ""))
    if holds(folder, identity, overwrite=overwrite):
        return folder, True
    carved = parts or split(dataset, seed=request.split_seed, fractions=request.fractions, strategy=request.split)
    benchmark: dict[str, Any] = {"protocol": "clean", "selected_on": "validation"}
    if task is not None and request.task is not None:
        benchmark = described(request.task, task)
        _, findings = looked_at(request.task, task)
        refuse(tuple(f for f in findings if f.severity == "refuse"))
    else:
        inspection = inspect(dataset, carved, accept=request.accept)
        refuse(inspection.refused())
        findings = list(inspection.findings)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    source = dict(dataset.source)
    record = {
        "schema": SCHEMA,
        "crosstune": crosstune.__version__,
        "created": now,
        "finished": None,
        "status": "running",
        "identity": identity,
        "command": command or [],
        "request": request.model_dump(mode="json"),
        "task": {
            "name": dataset.name,
            "kind": dataset.kind,
            "metric": metric.name,
            "direction": metric.direction,
            "classes": list(dataset.classes) if dataset.classes else None,
            "shape": [int(n) for n in dataset.X.shape[1:]],
            "ragged": dataset.lengths is not None,
            "modality": dataset.modality,
            "rows": {n: len(carved.rows(n)) for n in ("train", "validation", "test")},
            "split": {"strategy": carved.strategy, "seed": carved.seed, "warnings": list(carved.warnings)},
            "target_names": list(dataset.target_names) if dataset.target_names else None,
            "columns": list(dataset.columns) if dataset.columns else None,
            "categories": {str(k): list(v) for k, v in dataset.categories.items()},
            "reason": source.get("reason"),
            **benchmark,
        },
        "data": {key: source.get(key) for key in ("path", "format", "bytes", "sha256", "key")} | {"digest": digest},
        "findings": [
            {"code": f.code, "severity": f.severity, "message": f.message, "accept": f.accept}
            for f in findings
        ],
        "backbone": None,
        "proxy": None,
        "method": {} if request.only_floors else {
            "name": method.name, "summary": method.summary, "paper": method.paper,
            "stages": [s.model_dump(mode="json") for s in method.stages],
        },
        "config": origins(request, origin_of(request) | (given or {}), metric=metric.name, task=dataset.kind,
                          split=carved.strategy),
        "budget": {"asked": budget.text, "seconds": budget.seconds, "steps": budget.steps, "used": 0.0, "parts": {}},
        "seeds": list(request.seeds),
        "arms": {},
        "scores": [],
        "plan": None,
        "versions": versions(),
        "hardware": hardware(request.device) | ({"threads": request.threads} if request.threads else {}),
        "reveals": [],
    }  # fmt: skip
    with writing(folder, identity, overwrite=overwrite):
        folder.save_split(carved)
        for name in ("train", "validation", "test"):
            if len(carved.rows(name)):
                folder.save_part(name, dataset.take(carved.rows(name)))
        folder.write_record(record)
    return folder, False


def split_digest(parts: Split) -> str:
    """sha256 of the row numbers of the three parts."""
    digest = hashlib.sha256()
    for name in ("train", "validation", "test"):
        digest.update(np.ascontiguousarray(parts.rows(name), dtype=np.int64).tobytes() + b";")
    return digest.hexdigest()


def refuse(findings: tuple[Any, ...]) -> None:
    """Raise for findings that stop a run, all of them at once."""
    if findings:
        lines = [f"- {f.message}" for f in findings]
        flags = " ".join(dict.fromkeys(f.accept for f in findings if f.accept))
        raise DataError(
            "the data were refused:\n" + "\n".join(lines),
            cause="the result would be misleading, not wrong by accident",
            fix=f"mend the data, or accept the risk with {flags}" if flags else "mend the data",
        )
