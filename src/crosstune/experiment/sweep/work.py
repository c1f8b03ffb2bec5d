"""One job from its description to its records: a run folder prepared, executed, its test scored once, all resumable."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

import crosstune
from crosstune.backbones import Backbone
from crosstune.backbones.contract import Weights
from crosstune.benchmarks import TaskData
from crosstune.errors import RunError
from crosstune.experiment.binding import load_task
from crosstune.experiment.bodies import Bodies
from crosstune.experiment.conduct import execute, open_backbone
from crosstune.experiment.preparation import prepare
from crosstune.experiment.request import Request, TaskChoice
from crosstune.experiment.sealed import reveal
from crosstune.experiment.sitting import silent
from crosstune.experiment.sweep.energy import Energy
from crosstune.experiment.sweep.jobs import Job, task_of
from crosstune.experiment.sweep.memory import Peak
from crosstune.methods import get_method
from crosstune.metrics import get_metric
from crosstune.nn.devices import resolve_device
from crosstune.runs.folder import RunFolder, claim

JOBS = "jobs"
PATIENCE = 60.0  # seconds; a process whose sweep was killed is gone within a few
_PAUSE = 0.2


def run_job(
    job: Job, out: str | Path, *, opens_test: bool = True, notify: Callable[..., None] = silent
) -> list[dict[str, Any]]:
    """Do the job, or what is left of it, and give its records.

    The test is scored when all is fitted and selected, through ``reveal``, which the run's own record keeps; without
    ``opens_test`` it stays sealed. Raises what preparing and executing a run raise.
    """
    folder = RunFolder(Path(out) / JOBS / job.key)
    request = job.request()
    _await_predecessor(folder)
    begun = (folder.path / "run.json").exists()
    with Energy(_gpus(request)) as energy, Peak() as peak:
        folder = _prepared(folder, request)
        record = folder.record()
        if record["status"] != "complete":
            _prepare_shared(Request.model_validate(record["request"]))
            execute(folder, notify=notify, load=kept_backbone)
            record = folder.record()
        fitted = any(e["role"] != "floor" or e["status"] == "ok" for e in record["arms"].values())
        if opens_test and fitted and not _test_is_scored(record):
            record = reveal(folder.path, again=bool(record["reveals"]), notify=notify).record()
    cost = dict(record.get("cost") or {})
    if peak.mib > float(cost.get("peak_mib") or 0.0):
        cost["peak_mib"] = peak.mib
    if not begun:  # a job in several sittings has lost what a kill kept from being written
        cost |= {"energy_joules": energy.joules, "energy_from": energy.source}
    if cost != record.get("cost"):
        record = folder.update(cost=cost)
    return records_of(job, record)


def _await_predecessor(folder: RunFolder) -> None:
    """Wait until a process that had this job before, and whose sweep or machine was lost, is really gone. RunError as
    ``claim`` when it is not within ``PATIENCE``."""
    lock, until = folder.path / ".lock", time.monotonic() + PATIENCE
    while lock.exists():
        try:
            held = claim(lock)
            if (folder.path / "run.json").exists():
                lock.unlink(missing_ok=True)  # else it stays: it tells a folder in the making from one of other files
            os.close(held)
            return
        except RunError:
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE)
        except OSError:
            return  # whoever writes next says what is wrong


def _gpus(request: Request) -> list[str]:
    """Ids of the NVIDIA devices that a job computes on."""
    if request.only_floors:
        return []
    device = resolve_device(request.device)
    return [f"GPU-{torch.cuda.get_device_properties(device).uuid}"] if device.type == "cuda" else []


def _prepared(folder: RunFolder, request: Request) -> RunFolder:
    """The folder of the job. A floor that failed is begun anew (whoever asks for the job again wants that), and so is
    a run left unfinished by another version of crosstune, whose runs have other identities; what is finished stays."""
    assert request.task is not None
    anew = False
    if (folder.path / "run.json").exists() and folder.record()["status"] == "complete":
        anew = any(arm["status"] in ("failed", "timeout") for arm in folder.record()["arms"].values())
        if not anew:
            return folder  # nothing to compute: the data need not be read
    data = _loaded(request.task.model_dump_json(), request.split_seed)
    command = ["crosstune", "bench", "run"]
    try:
        return prepare(data.dataset, request, folder.path, command=command, task=data, overwrite=anew)[0]
    except RunError as problem:
        if "already holds another run" not in problem.problem:
            raise
        return prepare(data.dataset, request, folder.path, command=command, task=data, overwrite=True)[0]


def _test_is_scored(record: dict[str, Any]) -> bool:
    """Whether nothing is left to do about the test: no test rows, or scored already. A look that was interrupted is
    completed, and recorded as the second one that it is."""
    return not record["task"]["rows"]["test"] or any(e["split"] == "test" for e in record.get("scores") or ())


def _prepare_shared(request: Request) -> None:
    """What jobs have in common is made before the clock of any of them starts, or the first would have less time than
    the others: the backbone in this process, the source features in the cache."""
    if request.only_floors:
        return
    torch.set_num_threads(request.threads or torch.get_num_threads())
    bodies = Bodies(request, kept_backbone(request), kept_backbone)
    method = request.resolved_method()
    for seed in request.seeds:
        bodies.body(method, seed)
        bodies.bank(method, seed)


@lru_cache(maxsize=1)
def _loaded(choice: str, seed: int) -> TaskData:
    """Jobs that follow each other are mostly of one task: its rows are read once."""
    return load_task(TaskChoice.model_validate_json(choice), seed=seed)


@lru_cache(maxsize=2)
def _kept(plain: str, weights: Weights, seed: int) -> Backbone:
    return open_backbone(Request.model_validate_json(plain), weights=weights, seed=seed)


def kept_backbone(request: Request, *, weights: Weights = "pretrained", seed: int = 0) -> Backbone:
    """The backbone on its device, loaded once per process: models are built on copies of its body."""
    which = Request(
        backbone=request.backbone, allow_pickle=request.allow_pickle, attention=request.attention, device=request.device
    )
    return _kept(which.model_dump_json(), weights, seed)


def head_of(job: Job) -> dict[str, Any]:
    """What every record of a job begins with. weights: that a method's body starts from, None for floors."""
    task = task_of(job)
    method = get_method(job.contestant) if job.role == "method" else None
    return {
        "job": job.key, "suite": job.task.split("/")[0], "task": job.task, "modality": task.modality,
        "kind": task.kind, "method": job.contestant, "role": job.role,
        "weights": None if method is None else job.settings.get("weights", method.weights),
        "backbone": job.backbone, "seed": job.seed, "protocol": job.protocol, "budget": job.budget,
        "settings": dict(job.settings) or None, "limit": dict(job.limit) or None, "data": job.origin,
        "crosstune": crosstune.__version__,
    }  # fmt: skip


def records_of(job: Job, record: dict[str, Any]) -> list[dict[str, Any]]:
    """One entry per score of a finished run; one without a value where there is none, with its reason."""
    arms = record["arms"]
    name, arm = next(iter(arms.items())) if arms else ("", {})
    cost = record.get("cost") or {}
    common = head_of(job) | {
        "status": arm.get("status", "failed"), "note": arm.get("note") or None, "seconds": arm.get("seconds"),
        "run_seconds": record["budget"]["used"], "peak_mib": cost.get("peak_mib"),
        "energy_joules": cost.get("energy_joules"), "energy_from": cost.get("energy_from"),
        "steps": arm.get("steps"), "stopped_by": arm.get("stopped_by"), "versions": record["versions"],
        "hardware": record.get("hardware"),
    }  # fmt: skip
    lines = []
    for entry in record.get("scores") or ():
        if entry["arm"] != name:
            continue
        value = entry.get("value")
        error, direction = _error(entry["metric"], value)
        lines.append(
            common
            | {
                "metric": entry["metric"], "primary": entry["metric"] == record["task"]["metric"],
                "direction": direction, "split": entry["split"], "selected_on": entry["selected_on"],
                "value": value, "error": error, "low": entry.get("low"), "high": entry.get("high"),
                "rows": entry.get("rows"), "note": entry.get("note") or common["note"],
            }
        )  # fmt: skip
    return lines or [common | without_score(record["task"]["metric"])]


def without_score(metric: str | None) -> dict[str, Any]:
    return {
        "metric": metric, "primary": True, "direction": None, "split": None, "selected_on": None, "value": None,
        "error": None, "low": None, "high": None, "rows": None,
    }  # fmt: skip


def failed(job: Job, status: str, note: str) -> list[dict[str, Any]]:
    """The record of a job that has no run to speak of."""
    plain = {
        "status": status, "note": note, "seconds": None, "run_seconds": None, "peak_mib": None,
        "energy_joules": None, "energy_from": None, "steps": None, "stopped_by": None, "versions": None,
        "hardware": None,
    }  # fmt: skip
    return [head_of(job) | plain | without_score(None)]


def _error(name: str, value: float | None) -> tuple[float | None, str | None]:
    """The lower-is-better form, for metrics; a task's own figures (a rollout) are errors as they are."""
    from crosstune.errors import UsageError

    try:
        metric = get_metric(name)
    except UsageError:
        return value, "lower"
    return (None if value is None else metric.error(value)), metric.direction
