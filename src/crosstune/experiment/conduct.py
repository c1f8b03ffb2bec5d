"""A run from data to a finished folder: floors, the method, its controls; within the budget; resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import crosstune
from crosstune.assembly import batch, build_model, plan_model
from crosstune.backbones import Backbone, load_backbone
from crosstune.data import dataset_digest, inspect, split
from crosstune.errors import BudgetError, DataError, Interrupted
from crosstune.experiment.arms import Arm, ArmResult, StopFlag, control, label, run_arm
from crosstune.experiment.place import holds, unwritable, writing
from crosstune.experiment.request import Request, origins
from crosstune.experiment.source import source_bank
from crosstune.floors import FloorResult, FloorRun, default_floors
from crosstune.methods import Method
from crosstune.metrics import Metric, default_metric, get_metric
from crosstune.records import Dataset, Split
from crosstune.runs.export import save_model
from crosstune.runs.folder import SCHEMA, RunFolder
from crosstune.stages.state import SourceBank

Notify = Callable[..., None]
FLOOR_SHARE = 0.25  # of the budget at most; floors run beside the preparation of the backbone
REPORT_SECONDS = 5.0  # kept free for drawing the report


def silent(**unused: Any) -> None:
    """The default for ``notify``: nothing is shown."""


@dataclass
class _Run:
    """Everything the parts of a run share."""

    folder: RunFolder
    request: Request
    notify: Notify
    flag: StopFlag
    started: float
    before: float  # seconds used by earlier sittings
    train: Dataset
    validation: Dataset
    metric: Metric
    record: dict[str, Any] = field(default_factory=dict)

    def used(self) -> float:
        return self.before + time.monotonic() - self.started

    def event(self, kind: str, **values: Any) -> None:
        values = {"t": round(self.used(), 3), "kind": kind} | values
        self.folder.event(**values)
        self.notify(**values)

    def save(self, **changes: Any) -> None:
        self.record |= changes
        self.record["budget"]["used"] = round(self.used(), 2)
        self.folder.write_record(self.record)


def prepare(
    dataset: Dataset,
    request: Request,
    out: str | Path,
    *,
    command: list[str] | None = None,
    given: dict[str, str] | None = None,
    overwrite: bool = False,
    parts: Split | None = None,
) -> tuple[RunFolder, bool]:
    """Check the data, carve the split, write the folder. Gives the folder and whether it already held this very run.

    Raises DataError (exit code 3) listing every refused finding with the flag that accepts it; RunError when the
    folder holds something else.
    """
    if dataset.y is None or dataset.kind is None:
        raise DataError("the data have no target", cause="no key or column was named", fix="pass --target NAME")
    method = request.resolved_method()
    budget = request.parsed_budget()
    metric = get_metric(request.metric, dataset.kind) if request.metric else default_metric(dataset.kind)
    digest = dataset_digest(dataset)
    identity = request.digest(digest)
    folder = RunFolder(out)
    if holds(folder, identity, overwrite=overwrite):
        return folder, True
    carved = parts or split(dataset, seed=request.split_seed, fractions=request.fractions, strategy=request.split)
    inspection = inspect(dataset, carved, accept=request.accept)
    refuse(inspection.refused())
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
            "protocol": "clean",
            "target_names": list(dataset.target_names) if dataset.target_names else None,
            "columns": list(dataset.columns) if dataset.columns else None,
            "categories": {str(k): list(v) for k, v in dataset.categories.items()},
            "reason": source.get("reason"),
        },
        "data": {key: source.get(key) for key in ("path", "format", "bytes", "sha256", "key")} | {"digest": digest},
        "findings": [
            {"code": f.code, "severity": f.severity, "message": f.message, "accept": f.accept}
            for f in inspection.findings
        ],
        "backbone": None,
        "method": {"name": method.name, "summary": method.summary, "paper": method.paper,
                   "stages": [s.model_dump(mode="json") for s in method.stages]},
        "config": origins(request, given or {}, metric=metric.name, task=dataset.kind, split=carved.strategy),
        "budget": {"asked": budget.text, "seconds": budget.seconds, "steps": budget.steps, "used": 0.0, "parts": {}},
        "seeds": list(request.seeds),
        "arms": {},
        "plan": None,
        "versions": versions(),
        "hardware": hardware() | ({"threads": request.threads} if request.threads else {}),
        "reveals": [],
    }  # fmt: skip
    with writing(folder, identity, overwrite=overwrite):
        folder.save_split(carved)
        for name in ("train", "validation", "test"):
            if len(carved.rows(name)):
                folder.save_part(name, dataset.take(carved.rows(name)))
        folder.write_record(record)
    return folder, False


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


def execute(folder: RunFolder, *, notify: Notify = silent, started: float | None = None) -> None:
    """Run (or go on with) a prepared folder until it is complete. Interrupted (exit 130) keeps the checkpoint;
    BudgetError (exit 5) when the time ended before there was a model."""
    started = time.monotonic() if started is None else started
    go_on = f"continue with `crosstune resume {folder.path}`"
    try:
        folder.lock()
    except OSError as problem:
        raise unwritable(problem, folder, "make it writable, or copy it to where you can write") from None
    # a kill leaves run.json behind the clock; the last event knows better
    before = max(float(folder.record()["budget"]["used"]), folder.last_time())
    try:
        with StopFlag(lambda: notify(kind="message", text="stopping at the next step; once more to stop now")) as flag:
            _execute(folder, notify, started, before, flag)
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


def _execute(folder: RunFolder, notify: Notify, started: float, before: float, flag: StopFlag) -> None:
    record = folder.record()
    request = Request.model_validate(record["request"])
    # as many as the run began with: sums in another order would make other weights
    torch.set_num_threads(record["hardware"]["threads"])
    metric = get_metric(record["task"]["metric"], record["task"]["kind"])
    run = _Run(
        folder, request, notify, flag, started, before,
        folder.part("train"), folder.part("validation"), metric, record,
    )  # fmt: skip
    run.save(status="running")
    budget = request.parsed_budget()
    method = request.resolved_method()
    floors = _start_floors(run, budget.seconds)
    try:
        run.event("message", text=f"loading backbone {request.backbone}")
        backbone = load_backbone(request.backbone, weights="pretrained", allow_pickle=request.allow_pickle)
        run.save(backbone=backbone.info.as_dict())
        _take_floors(run, floors)
        bank = None
        if any(stage.name == "source_head" for stage in method.stages):
            run.event("message", text="source features through the pretrained body")
            bank = source_bank(backbone, request.proxy, on_share=_sharing(run, floors))
        _take_floors(run, floors, wait=True)
    finally:
        if floors is not None:
            floors.stop()
    flag.check()
    arms = _plan(run, method, backbone, bank)
    _run_arms(run, arms, method, backbone, bank)
    run.record["budget"]["parts"] |= {"total": round(run.used(), 2)}
    folder.drop_checkpoints("")
    run.save(status="complete", finished=datetime.now(UTC).isoformat(timespec="seconds"))
    run.event("message", text="complete")


# -- floors ---------------------------------------------------------------------------------------------------------


def _start_floors(run: _Run, seconds: float | None) -> FloorRun | None:
    names = default_floors(run.train) if run.request.floors == "auto" else run.request.floors
    names = tuple(n for n in names if f"floor:{n}" not in run.record["arms"])
    if not names:
        return None
    limit = None if seconds is None else max(3.0, FLOOR_SHARE * seconds)
    return FloorRun.start(
        run.train, {"validation": run.validation}, names, seed=run.request.seeds[0], seconds=limit, threads=1
    )


def _sharing(run: _Run, floors: FloorRun | None) -> Callable[[float], None]:
    """Progress of the source features; floors that finish meanwhile are shown at once, and Ctrl-C is heard."""

    def on_share(share: float) -> None:
        run.flag.check()
        _take_floors(run, floors)
        run.notify(kind="waiting", text=f"source features {share:.0%}")

    return on_share


def _take_floors(run: _Run, floors: FloorRun | None, *, wait: bool = False) -> None:
    while floors is not None:
        for result in floors.poll():
            # Ctrl-C reaches the child as well: what it breaks is not the floor's failure
            if result.status == "ok" or not run.flag.raised:
                _keep_floor(run, result)
        run.flag.check()
        if not wait or floors.done:
            return
        current = floors.current()
        run.notify(kind="waiting", text=f"floor {current[0]}: {current[1]}" if current else "floors")
        time.sleep(0.1)


def _keep_floor(run: _Run, result: FloorResult) -> None:
    arm, seed = f"floor:{result.name}", run.request.seeds[0]
    score = None
    if result.status == "ok":
        prediction = result.predictions["validation"]
        run.folder.save_predictions(
            "validation", arm, seed, rows=_rows(run, "validation"), prediction=prediction, data=run.validation,
            metric=run.metric.name, selected_on="train",
        )  # fmt: skip
        score = run.metric.score(prediction, np.asarray(run.validation.y))
    run.record["arms"][arm] = {"role": "floor", **result.as_dict()}
    run.save()
    run.event("floor", arm=arm, label=result.label, status=result.status, seconds=result.seconds, score=score,
              metric=run.metric.name, note=result.note)  # fmt: skip


def _rows(run: _Run, part: str) -> np.ndarray:
    with np.load(run.folder.path / "split.npz") as saved:
        return saved[part]


# -- arms -----------------------------------------------------------------------------------------------------------


def _plan(run: _Run, method: Method, backbone: Backbone, bank: SourceBank | None) -> list[Arm]:
    """Limits for every arm, made once and kept with the run: a resumed run follows the same plan."""
    names = list(method.controls if run.request.controls == "auto" else run.request.controls)
    methods = {method.name: method} | {name: control(method, name) for name in names}
    if run.record["plan"] is None:
        run.record["plan"] = _allot(run, methods, backbone)
        run.save()
    plan = run.record["plan"]
    return [Arm(method=methods[name], **plan["arms"][name]) for name in methods if name in plan["arms"]]


def _allot(run: _Run, methods: dict[str, Method], backbone: Backbone) -> dict[str, Any]:
    """Equal time for the method and each of its controls: unequal time would decide the comparison.

    When the time does not suffice for all, controls are dropped from the last, and the record says so.
    """
    budget, seeds = run.request.parsed_budget(), len(run.request.seeds)
    shared: dict[str, Any] = {"max_head_rows": 8192, "selection_rows": 5000, "probe_rows": 300, "after_seconds": 0.0}
    names, dropped, each, rate = list(methods), [], None, 1.0
    if budget.seconds is not None:
        rate = _rows_per_second(run, backbone)
        left = budget.seconds - run.used() - REPORT_SECONDS
        each = left / (seeds * len(names))
        after = 0.5 + 2.0 * len(run.validation) / rate  # the last selection and the predictions
        while len(names) > 1 and each < 3.0 + after:
            dropped.append(names.pop())
            each = left / (seeds * len(names))
        if each < 1.0:
            raise BudgetError(
                f"budget {budget.text} ended before there was a model ({run.used():.0f} s went into preparation)",
                cause="loading the backbone and the data took all of it",
                fix=f"--budget {max(30, int(4 * run.used()))}s or more",
            )
        shared = {
            "max_head_rows": int(min(8192, max(256, 0.5 * each * rate))),
            "selection_rows": int(min(5000, max(100, 0.04 * each * rate))),
            "probe_rows": int(min(300, max(48, 0.02 * each * rate))),
            "after_seconds": after,
        }
    arms = {}
    for name in names:
        own = methods[name].name == run.record["method"]["name"] and name == next(iter(methods))
        extra = 0.0
        if own and budget.seconds is not None and methods[name].aligns:
            extra = 0.5 + 2.0 * shared["probe_rows"] / rate  # the bound after fitting
        arms[name] = shared | {
            "name": name, "role": "method" if own else "control", "label": label(name, budget.steps is not None),
            "seconds": each, "steps": budget.steps, "after_seconds": shared["after_seconds"] + extra,
        }  # fmt: skip
    return {"arms": arms, "dropped": dropped}


def _rows_per_second(run: _Run, backbone: Backbone) -> float:
    """Measured on a throw-away model: rows of this data through embedder, body and head, forward only."""
    config = plan_model(run.train, backbone.body, tokens=run.request.tokens, linear_part=False)
    model = build_model(config, backbone.body, run.train, token_rms=0.05).eval()
    rows = np.arange(min(32, len(run.train)))
    x, lengths, _ = batch(run.train, rows)
    with torch.no_grad():
        model(x, lengths)
        times = []
        for _ in range(3):
            before = time.monotonic()
            model(x, lengths)
            times.append(time.monotonic() - before)
    return max(1.0, len(rows) / max(1e-4, sorted(times)[1]))


def _run_arms(run: _Run, arms: list[Arm], method: Method, backbone: Backbone, bank: SourceBank | None) -> None:
    for dropped in run.record["plan"]["dropped"]:
        run.record["arms"].setdefault(
            dropped, {"role": "control", "label": label(dropped), "status": "skipped",
                      "note": "the budget was too short for this control"})  # fmt: skip
    random_body: dict[int, Backbone] = {}
    best: float | None = run.record.get("exported", {}).get("error")
    todo = [(seed, arm) for seed in run.request.seeds for arm in arms
            if seed not in run.record["arms"].get(arm.name, {}).get("done_seeds", [])]  # fmt: skip
    for index, (seed, arm) in enumerate(todo):
        fitted = _within_time(run, arm, len(todo) - index)
        if fitted is None:
            continue
        arm = fitted
        body = backbone
        if arm.method.weights != "pretrained":
            body = random_body.setdefault(
                    seed, load_backbone(run.request.backbone, weights=arm.method.weights, seed=seed,
                                        allow_pickle=run.request.allow_pickle))  # fmt: skip
        began = time.monotonic()
        run.event("arm-start", arm=arm.name, seed=seed, label=arm.label, seconds=arm.seconds)
        result = run_arm(
                arm, seed, folder=run.folder, backbone=body, bank=bank, train=run.train,
                validation=run.validation, metric=run.metric, tokens=run.request.tokens,
                checkpoint_seconds=run.request.checkpoint_seconds, flag=run.flag, started=run.started - run.before,
                notify=run.notify, measure_bound=arm.role == "method" and arm.method.aligns,
            )  # fmt: skip
        best = _finish_arm(run, arm, seed, result, body, best, time.monotonic() - began)


def _within_time(run: _Run, arm: Arm, arms_left: int) -> Arm | None:
    """The arm with its limit cut to an equal part of the time that is really left; None (and a record of it) when a
    control has none. The machine may have slowed down since the plan was made, and the budget holds all the same."""
    seconds = run.request.parsed_budget().seconds
    if seconds is None or arm.seconds is None:
        return arm
    left = seconds - run.used() - REPORT_SECONDS
    share = min(arm.seconds, left / arms_left)
    if arm.role == "control" and share < 0.75 * arm.seconds:
        note = f"left out: {max(0.0, share):.0f} s remained where {arm.seconds:.0f} s were planned"
        entry = {"role": "control", "label": arm.label, "status": "skipped", "note": note}
        run.record["arms"].setdefault(arm.name, entry)
        run.save()
        run.event("message", text=f"{arm.label} {note}")
        return None
    return dataclasses.replace(arm, seconds=max(1.0, share))


def _finish_arm(
    run: _Run, arm: Arm, seed: int, result: ArmResult, backbone: Backbone, best: float | None, seconds: float
) -> float | None:
    run.folder.save_predictions(
        "validation", arm.name, seed, rows=_rows(run, "validation"), prediction=result.prediction, data=run.validation,
        metric=run.metric.name, selected_on="validation",
    )  # fmt: skip
    provenance = {"run": run.record["created"], "arm": arm.name, "seed": seed, "data": run.record["data"],
                  "crosstune": crosstune.__version__, "selected_on": "validation"}  # fmt: skip
    score = run.metric.score(result.prediction, np.asarray(run.validation.y))
    # every arm's model is kept: after the seal is opened, controls are scored on the test rows too
    save_model(run.folder.path / "arms" / f"{arm.name}.s{seed}", result.model, backbone=backbone,
               task=run.record["task"], provenance=provenance)  # fmt: skip
    error = run.metric.error(score)
    if arm.role == "method" and (best is None or error < best):
        save_model(run.folder.path / "model", result.model, backbone=backbone, task=run.record["task"],
                   provenance=provenance)  # fmt: skip
        best = error
        run.record["exported"] = {"arm": arm.name, "seed": seed, "error": error}
    entry = run.record["arms"].get(arm.name, {}).get("done_seeds", [])
    run.record["arms"][arm.name] = result.summary | {"done_seeds": [*entry, seed]}
    parts = run.record["budget"]["parts"]
    parts[arm.name] = round(parts.get(arm.name, 0.0) + seconds, 2)
    run.save()
    run.folder.drop_checkpoints(f"{arm.name}.s{seed}.")
    run.event("arm", arm=arm.name, seed=seed, label=arm.label, score=score, metric=run.metric.name, seconds=seconds,
              stopped_by=result.summary["stopped_by"])  # fmt: skip
    return best


# -- circumstances --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)  # reading the metadata of a dozen packages takes longer than a small fit
def versions() -> dict[str, str]:
    """Versions of everything that can change a figure."""
    from importlib.metadata import PackageNotFoundError, version

    out = {"python": platform.python_version()}
    for name in ("torch", "transformers", "numpy", "scipy", "scikit-learn", "POT", "pyarrow", "aeon"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out


def hardware() -> dict[str, Any]:
    """What the run ran on."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as handle:
            model = next(line.split(":", 1)[1].strip() for line in handle if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "platform": platform.platform(), "cpu": model, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "device": "cpu", "executable": Path(sys.executable).name,
    }  # fmt: skip
