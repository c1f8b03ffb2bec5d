"""A run from a prepared folder to a finished one: floors, the method, its controls; within the budget; resumable."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

import crosstune
from crosstune.assembly import layout, plan_model
from crosstune.backbones import Backbone, load_backbone
from crosstune.backbones.contract import Weights
from crosstune.errors import Interrupted, RunError, UsageError
from crosstune.experiment.arms import Arm, ArmResult, label, run_arm
from crosstune.experiment.bodies import Bodies, Load
from crosstune.experiment.floor_race import sharing, start_floors, take_floors
from crosstune.experiment.place import unwritable
from crosstune.experiment.plan import plan_arms, within_time
from crosstune.experiment.request import Request
from crosstune.experiment.scoring import keep_scores, own_scores, predictor, scores_of
from crosstune.experiment.sitting import Notify, Sitting, scored_rows, silent, validation_rows
from crosstune.experiment.source import Origin
from crosstune.experiment.team import Team
from crosstune.methods import Method
from crosstune.metrics import get_metric
from crosstune.nn.devices import resolve_device
from crosstune.runs.export import save_model
from crosstune.runs.folder import RunFolder
from crosstune.runs.stopping import StopFlag


def open_backbone(request: Request, *, weights: Weights = "pretrained", seed: int = 0) -> Backbone:
    """The backbone that a request names, with the weights of an arm, on the device asked for."""
    return load_backbone(
        request.backbone, weights=weights, seed=seed, allow_pickle=request.allow_pickle, attention=request.attention
    ).to(resolve_device(request.device))


def execute(
    folder: RunFolder, *, notify: Notify = silent, started: float | None = None,
    load: Load = open_backbone,
) -> None:  # fmt: skip
    """Run (or go on with) a prepared folder until it is complete. Interrupted (exit 130) keeps the checkpoint;
    BudgetError (exit 5) when the time ended before there was a model. load: gives the backbone with the weights of
    an arm; many runs in one process may share one."""
    started = time.monotonic() if started is None else started
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"a run is one process, and {os.environ['WORLD_SIZE']} were started",
            cause="torchrun or `accelerate launch`",
            fix="start crosstune by itself: --processes N starts those that share the fitting",
        )
    go_on = f"continue with `crosstune resume {folder.path}`"
    try:
        folder.lock()
    except OSError as problem:
        raise unwritable(problem, folder, "make it writable, or copy it to where you can write") from None
    # a kill leaves run.json behind the clock; the last event knows better
    before = max(float(folder.record()["budget"]["used"]), folder.last_time())
    try:
        with StopFlag(lambda: notify(kind="message", text="stopping at the next step; once more to stop now")) as flag:
            _execute(folder, notify, started, before, flag, load)
    except (KeyboardInterrupt, Interrupted):
        _end(folder, "interrupted", before + time.monotonic() - started)
        raise Interrupted(
            f"interrupted; {str(folder.path)!r} keeps everything up to the last checkpoint", fix=go_on
        ) from None
    except BaseException as failure:
        with contextlib.suppress(OSError):  # a full disk must not hide what went wrong
            _end(folder, "failed", before + time.monotonic() - started)
        if isinstance(failure, OSError):
            raise unwritable(failure, folder, f"make room or mend the permissions, then {go_on}") from failure
        raise
    finally:
        folder.unlock()


def _end(folder: RunFolder, status: str, used: float) -> None:
    record = folder.record()
    folder.update(status=status, budget=record["budget"] | {"used": round(used, 2)})


def _execute(
    folder: RunFolder,
    notify: Notify,
    started: float,
    before: float,
    flag: StopFlag,
    load: Load,
) -> None:
    record = folder.record()
    request = Request.model_validate(record["request"])
    # as many as the run began with: sums in another order would make other weights
    torch.set_num_threads(record["hardware"]["threads"])
    metric = get_metric(record["task"]["metric"], record["task"]["kind"])
    validation = folder.part("validation")
    scored = scored_rows(len(validation), request.parsed_budget().seconds, request.split_seed)
    if len(scored) < len(validation):
        note = f"{len(scored):,} of {len(validation):,} validation rows are scored, to keep the budget"
        known = record["task"]["split"]["warnings"]
        record["task"]["split"]["warnings"] = known if note in known else [*known, note]
        notify(kind="message", text=note)
        validation = validation.take(scored)
    run = Sitting(
        folder, request, notify, flag, started, before,
        folder.part("train"), validation, metric, record,
    )  # fmt: skip
    run.save(status="running")
    budget = request.parsed_budget()
    if request.only_floors:
        return _floors_alone(run, budget.seconds)
    method = request.resolved_method()
    floors = start_floors(run, budget.seconds)
    try:
        run.event("message", text=f"loading backbone {request.backbone}")
        backbone = load(request)
        tokens = layout(run.train, plan_model(run.train, backbone.body, tokens=request.tokens), backbone.body)
        run.save(backbone=backbone.info.as_dict(), layout=tokens)
        for line in tokens:
            run.event("message", text=line)
        take_floors(run, floors)
        bodies = Bodies(request, backbone, load, lambda origin: _keep_origin(run, origin))
        if method.reads_source:
            run.event("message", text=f"source features through the {method.weights} body")
            bodies.bank(method, request.seeds[0], on_share=sharing(run, floors))
        take_floors(run, floors, wait=True)
    finally:
        if floors is not None:
            floors.stop()
    flag.check()
    with contextlib.ExitStack() as stack:
        if request.processes > 1:
            run.event("message", text=f"starting the other {request.processes - 1} of {request.processes} processes")
            run.team = stack.enter_context(
                Team(request.processes, folder, scored, resolve_device(request.device), torch.get_num_threads())
            )
            run.team.join()
        _run_arms(run, plan_arms(run, method, backbone), method, bodies)
    _complete(run)


def _floors_alone(run: Sitting, seconds: float | None) -> None:
    floors = start_floors(run, seconds)
    try:
        take_floors(run, floors, wait=True)
    finally:
        if floors is not None:
            floors.stop()
    run.flag.check()
    _complete(run)


def _complete(run: Sitting) -> None:
    run.record["budget"]["parts"] |= {"total": round(run.used(), 2)}
    run.folder.drop_checkpoints("")
    run.save(status="complete", finished=datetime.now(UTC).isoformat(timespec="seconds"))
    run.event("message", text="complete")


def _keep_origin(run: Sitting, origin: Origin) -> None:
    """Into the record; RunError when an earlier sitting of the run had other source data."""
    known = run.record.get("proxy")
    if known and known["digest"] != origin.digest:
        raise RunError(
            f"the source proxy {origin.asked} is not what it was when the run began",
            cause="its files were changed, or another version of crosstune made it",
            fix="restore them, or start the run again with --overwrite",
        )
    if origin.name is not None:  # without labels stage 1 says so itself
        run.event("message", text=f"source proxy {origin.name}: {origin.rows:,} examples in {origin.classes} classes")
    run.save(proxy=origin.as_dict())


def _run_arms(run: Sitting, arms: list[Arm], method: Method, bodies: Bodies) -> None:
    for dropped in run.record["plan"]["dropped"]:
        run.record["arms"].setdefault(
            dropped, {"role": "control", "label": label(dropped, method), "status": "skipped",
                      "note": "the budget was too short for this control"})  # fmt: skip
    best: float | None = run.record.get("exported", {}).get("error")
    todo = [(seed, arm) for seed in run.request.seeds for arm in arms
            if seed not in run.record["arms"].get(arm.name, {}).get("done_seeds", [])]  # fmt: skip
    for index, (seed, arm) in enumerate(todo):
        fitted = within_time(run, arm, len(todo) - index)
        if fitted is None:
            continue
        arm = fitted
        body, bank = bodies.body(arm.method, seed), bodies.bank(arm.method, seed)
        began = time.monotonic()
        run.event("arm-start", arm=arm.name, seed=seed, label=arm.label, seconds=arm.seconds)
        result = run_arm(
                arm, seed, folder=run.folder, backbone=body, bank=bank, train=run.train,
                validation=run.validation, metric=run.metric, tokens=run.request.tokens,
                checkpoint_seconds=run.request.checkpoint_seconds, flag=run.flag, started=run.started - run.before,
                notify=run.notify,
                measure_bound=run.request.bound and arm.role == "method" and arm.method.aligns, team=run.team,
            )  # fmt: skip
        best = _finish_arm(run, arm, seed, result, body, best, time.monotonic() - began)


def _further(run: Sitting, arm: Arm, seed: int, result: ArmResult) -> list[dict[str, Any]]:
    """The further metrics of a task's protocol and its own figures, on validation."""
    scores = scores_of(
        run.record, result.prediction, run.validation, "validation", arm.name, seed, run.selected_on
    )  # fmt: skip
    return scores + own_scores(run.request, run.record, predictor(result.model, run.validation), "validation",
                               arm.name, seed, run.notify)  # fmt: skip


def _finish_arm(
    run: Sitting, arm: Arm, seed: int, result: ArmResult, backbone: Backbone, best: float | None, seconds: float
) -> float | None:
    run.folder.save_predictions(
        "validation", arm.name, seed, rows=validation_rows(run), prediction=result.prediction,
        data=run.validation, metric=run.metric.name, selected_on=run.selected_on, protocol=run.protocol,
    )  # fmt: skip
    provenance = {"run": run.record["created"], "arm": arm.name, "seed": seed, "data": run.record["data"],
                  "crosstune": crosstune.__version__, "selected_on": run.selected_on}  # fmt: skip
    score = run.metric.score(result.prediction, np.asarray(run.validation.y), run.validation.units)
    # every arm's model is kept: after the seal is opened, controls are scored on the test rows too
    save_model(run.folder.path / "arms" / f"{arm.name}.s{seed}", result.model, backbone=backbone,
               task=run.record["task"], provenance=provenance)  # fmt: skip
    error = run.metric.error(score)
    if arm.role == "method" and (best is None or error < best):
        save_model(run.folder.path / "model", result.model, backbone=backbone, task=run.record["task"],
                   provenance=provenance)  # fmt: skip
        best = error
        run.record["exported"] = {"arm": arm.name, "seed": seed, "error": error}
    keep_scores(run.record, _further(run, arm, seed, result))
    entry = run.record["arms"].get(arm.name, {}).get("done_seeds", [])
    run.record["arms"][arm.name] = result.summary | {"done_seeds": [*entry, seed]}
    parts = run.record["budget"]["parts"]
    parts[arm.name] = round(parts.get(arm.name, 0.0) + seconds, 2)
    run.save()
    run.folder.drop_checkpoints(f"{arm.name}.s{seed}.")
    run.event("arm", arm=arm.name, seed=seed, label=arm.label, score=score, metric=run.metric.name, seconds=seconds,
              stopped_by=result.summary["stopped_by"])  # fmt: skip
    return best
