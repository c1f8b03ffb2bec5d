"""One arm: a method on one seed, from a fresh model to predictions. Resumable between and within its stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from crosstune.assembly import build_model, plan_model, predict
from crosstune.backbones import Backbone
from crosstune.data.vectors import target_vectors
from crosstune.experiment.bounding import measure
from crosstune.experiment.team import Team
from crosstune.methods import Method, variants
from crosstune.methods.contract import AnyStage
from crosstune.nn.model import CrossModalModel
from crosstune.records import FIELD_KINDS, IGNORED, Dataset, StageReport
from crosstune.runs.folder import RunFolder
from crosstune.runs.stopping import StopFlag
from crosstune.seeding import Streams
from crosstune.stages import align, fit, meta, mix, source_head
from crosstune.stages.align import target_labels
from crosstune.stages.monitor import Limit, Monitor
from crosstune.stages.start import Started, start_embedder
from crosstune.stages.state import SourceBank, SourcePredictor, State

RUNNERS: dict[str, Callable[..., tuple[State, StageReport]]] = {
    "source_head": source_head.run,
    "align": align.run,
    "mix": mix.run,
    "meta": meta.run,
    "fit": fit.run,
}
OTHERS = {"finetune": "plain fine-tuning"}


def label(name: str, method: Method, in_steps: bool = False) -> str:
    """How tables call an arm of a run of ``method``; the control without stage 1 says what was kept equal."""
    found = variants().get(name)
    if found is None or name == method.name:
        return found.label if found else OTHERS.get(name, name)
    if name != "no-align":
        return found.label
    text = found.label if method.reads_source else "everything trained from pretrained weights"
    return f"{text} (equal {'steps' if in_steps else 'time'})"


@dataclass(frozen=True)
class Arm:
    """name in the run folder, its method, and its limit per arm (seconds or steps)."""

    name: str
    method: Method
    role: str
    label: str
    seconds: float | None = None
    steps: int | None = None
    max_head_rows: int = 8192
    head_seconds: float | None = None  # what solving for the head may take
    selection_rows: int = 5000
    probe_rows: int = 300  # rows on which diagnostics are measured
    after_seconds: float = 0.0  # what the arm needs after fitting: predictions, bound, export

    def plan(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "method"}


class RunMonitor(Monitor):
    """Writes events and checkpoints of one arm into the run folder."""

    def __init__(
        self, folder: RunFolder, arm: str, seed: int, *, every: float, flag: StopFlag, started: float,
        notify: Callable[..., None],
    ) -> None:  # fmt: skip
        super().__init__()
        self.folder, self.arm, self.seed = folder, arm, seed
        self.every, self.flag, self.run_started, self.notify = every, flag, started, notify
        self._last = time.monotonic()
        self._cost = 0.0

    @property
    def prefix(self) -> str:
        return f"{self.arm.replace(':', '-')}.s{self.seed}"

    def event(self, kind: str, **values: Any) -> None:
        values = {
            "t": round(time.monotonic() - self.run_started, 3),
            "kind": kind,
            "arm": self.arm,
            "seed": self.seed,
        } | values
        self.folder.event(**values)
        step: Any = values.get("step")
        self.notify(progress=None if step is None else self.progress(int(step)), **values)

    def diagnostic(self, name: str, **arrays: np.ndarray) -> None:
        self.folder.diagnostic(name, self.arm, self.seed, **arrays)

    def checkpoint(self, stage: str, step: int, state: Callable[[], dict[str, Any]]) -> None:
        # writing may cost a twentieth of the time, no more
        due = time.monotonic() - self._last >= max(self.every, 20 * self._cost)
        if not (due or self.flag.raised):
            return
        before = time.monotonic()
        self.folder.save_checkpoint(f"{self.prefix}.{stage}", state())
        self._last = time.monotonic()
        self._cost = self._last - before
        self.flag.check()

    def resume(self, stage: str) -> dict[str, Any] | None:
        self._last = time.monotonic()
        return self.folder.load_checkpoint(f"{self.prefix}.{stage}")


@dataclass(frozen=True)
class ArmResult:
    """What an arm gives back: the model is in memory only for the caller to export."""

    prediction: np.ndarray
    model: CrossModalModel
    summary: dict[str, Any]
    score: float


def run_arm(
    arm: Arm, seed: int, *, folder: RunFolder, backbone: Backbone, bank: SourceBank | None, train: Dataset,
    validation: Dataset, metric: Any, tokens: int | None, checkpoint_seconds: float, flag: StopFlag,
    started: float, notify: Callable[..., None], measure_bound: bool, team: Team | None = None,
) -> ArmResult:  # fmt: skip
    """Run every stage of the arm, continuing where an earlier sitting stopped. team: processes that fit with us."""
    runners = RUNNERS if team is None else RUNNERS | {"fit": team.fit}
    arm_started = time.monotonic()
    streams = Streams(seed)
    monitor = RunMonitor(folder, arm.name, seed, every=checkpoint_seconds, flag=flag, started=started, notify=notify)
    config = plan_model(
        train, backbone.body, tokens=tokens, linear_part=arm.method.linear_part, layers=arm.method.layers,
        embedder_seed=streams.seed_for("embedder") % 2**31,
    )  # fmt: skip
    model = build_model(config, backbone.body, train, token_rms=backbone.token_rms()).to(backbone.device)
    state = State(
        model=model, backbone=backbone, train=train, validation=validation, metric=metric, monitor=monitor, source=bank,
        max_head_rows=arm.max_head_rows, head_seconds=arm.head_seconds, selection_rows=arm.selection_rows,
        probe_rows=arm.probe_rows,
    )  # fmt: skip
    # labels and clusters are drawn from their own stream, so every arm of a seed has the same
    labels = target_labels(train, 10, streams.seed_for("clusters") % 2**31)
    state = replace(state, labels=labels)
    reports: list[StageReport] = []
    spent = 0.0
    begun = folder.load_checkpoint(f"{monitor.prefix}.start")
    if begun is None:
        started_at = start_embedder(state, arm.method.start, seconds=arm.seconds)
        folder.save_checkpoint(f"{monitor.prefix}.start", asdict(started_at) | {"weights": model.embedder.state_dict()})
    else:
        model.embedder.load_state_dict(begun.pop("weights"))
        started_at = Started(**begun)
    for stage in arm.method.stages:
        done = folder.load_checkpoint(f"{monitor.prefix}.done-{stage.name}")
        if done is not None:
            state = _restore(state, done, streams)
            reports.append(StageReport(**done["report"]))
            spent += reports[-1].seconds
            continue
        flag.check()
        bounded = measure_bound and state.predictor is not None  # without labelled source data there is no bound
        used = spent + time.monotonic() - arm_started
        monitor.limits = {stage.name: _limit(arm, stage, used, _fitting_steps(reports))}
        if stage.name == "align" and bounded and not folder.has_checkpoint(f"{monitor.prefix}.align"):
            _bound(state, "before", monitor)
        state, report = runners[stage.name](state, stage, streams=streams)
        reports.append(report)
        monitor.event("stage", stage=stage.name, report=report.as_dict())
        if stage.name == "align" and bounded:
            _bound(state, "after-align", monitor)  # before the stage counts as done, or a kill here would lose it
        folder.save_checkpoint(f"{monitor.prefix}.done-{stage.name}", _stage_end(state, stage, report, streams))
    if measure_bound and state.predictor is not None:
        _bound(state, "after-fit", monitor)
    prediction = predict(state.model, validation)
    if train.kind in FIELD_KINDS:
        _fields(folder, monitor, validation, prediction)
    fit_report = reports[-1]
    total = sum(p.numel() for p in state.model.parameters())
    summary = {
        "role": arm.role, "label": arm.label, "status": "ok", "method": arm.method.name,
        "seconds": round(sum(r.seconds for r in reports), 3), "limit_seconds": arm.seconds,
        "steps": fit_report.steps, "stopped_by": fit_report.stopped_by,
        "parameters": {"total": total, "trained": fit_report.figures.get("trained_parameters", 0)},
        "stages": [r.as_dict() for r in reports],
        "start": asdict(started_at),
        "note": "; ".join(note for note in (started_at.note, *(n for r in reports for n in r.notes)) if note),
        "selected_score": state.best_score,
    }  # fmt: skip
    assert state.best_score is not None
    return ArmResult(prediction, state.model, summary, state.best_score)


def _fitting_steps(reports: list[StageReport]) -> int:
    """Steps that trained the whole model on the target already: they count against a budget in steps."""
    return sum(report.steps for report in reports if report.stage == "mix")


def _limit(arm: Arm, stage: AnyStage, used: float, steps: int) -> Limit:
    """used: seconds of the arm so far; steps: of fitting so far."""
    if arm.seconds is None:
        if stage.name == "mix":
            return Limit(steps=None if arm.steps is None else int(arm.steps * stage.share))
        return Limit(steps=None if arm.steps is None or stage.name != "fit" else max(0, arm.steps - steps))
    if stage.name == "fit":
        return Limit(seconds=max(0.5, arm.seconds - used - arm.after_seconds))
    return Limit(seconds=max(0.5, arm.seconds * getattr(stage, "share", 0.3)))


def _stage_end(state: State, stage: AnyStage, report: StageReport, streams: Streams) -> dict[str, Any]:
    saved: dict[str, Any] = {
        "report": report.as_dict(), "streams": streams.state_dict(), "best_score": state.best_score,
        "model": state.model.state_dict(),
    }  # fmt: skip
    if state.predictor is not None and state.source is not None:
        saved["predictor"] = {"weight": state.predictor.weight, "bias": state.predictor.bias}
        saved["source"] = {
            "labels": state.source.labels, "holdout": state.source.holdout, "classes": list(state.source.classes)
        }  # fmt: skip
    return saved


def _restore(state: State, saved: dict[str, Any], streams: Streams) -> State:
    streams.load_state_dict(saved["streams"])
    state.model.load_state_dict(saved["model"])
    if "predictor" in saved and state.source is not None:
        part = saved["source"]
        source = replace(state.source, labels=part["labels"], holdout=part["holdout"], classes=tuple(part["classes"]))
        state = replace(state, source=source, predictor=SourcePredictor(**saved["predictor"]))
    return replace(state, best_score=saved["best_score"])


@torch.no_grad()
def _bound(state: State, stage: str, monitor: RunMonitor) -> None:
    """Measure every term of the bound on held-out rows: validation targets, held-out source passages.

    phi is the current embedder; p_s is the frozen source predictor on the frozen pretrained body. err_t needs a
    class probability and is measured for classification only.
    """
    assert state.source is not None
    assert state.predictor is not None
    rows = state.probe_rows
    part = state.validation.take(np.arange(len(state.validation))[:: max(1, len(state.validation) // rows)][:rows])
    try:
        report = measure(
            state.model, state.backbone.body, state.source, state.predictor, part, _part_labels(state, part),
            with_error=stage == "after-fit", max_points=max(100, 2 * rows),
        )  # fmt: skip
    except Exception as problem:  # diagnostics must not cost a run; the event says what happened
        monitor.event("message", text=f"the bound could not be measured {stage}: {type(problem).__name__}: {problem}")
        return
    monitor.event("bound", stage=stage, **_flat(report.as_dict()))


def _flat(report: dict[str, Any]) -> dict[str, Any]:
    terms = {k: v for k, v in report.items() if isinstance(v, dict) and "value" in v}
    rest = {k: v for k, v in report.items() if k not in terms}
    if "terms" in rest:
        return rest
    return {"terms": terms} | rest


def _part_labels(state: State, part: Dataset) -> np.ndarray:
    """z' of other rows: their class, or the cluster of the nearest training target."""
    assert part.y is not None
    assert state.train.y is not None
    assert state.labels is not None
    if part.kind == "classification":
        return part.y.astype(np.int64)
    train, mine = target_vectors(state.train), target_vectors(part, state.train)
    count = int(state.labels.max()) + 1
    centres = np.stack([train[state.labels == k].mean(0) for k in range(count) if (state.labels == k).any()])
    distance = (mine**2).sum(1)[:, None] - 2 * mine @ centres.T + (centres**2).sum(1)[None]
    return distance.argmin(1)


def _fields(folder: RunFolder, monitor: RunMonitor, validation: Dataset, prediction: np.ndarray) -> None:
    """A few rows for pictures: quantiles of the error from best to worst."""
    assert validation.y is not None
    if validation.kind == "segmentation":
        prediction = prediction.argmax(axis=1)
        wrong = np.where(validation.y == IGNORED, np.nan, prediction != validation.y)
    else:
        wrong = np.square(prediction - validation.y)
    wrong = wrong.reshape(len(prediction), -1)
    error = np.nansum(wrong, axis=1) / np.maximum((~np.isnan(wrong)).sum(axis=1), 1)
    order = np.argsort(error)
    picks = order[np.unique(np.linspace(0, len(order) - 1, 4).astype(int))]
    folder.diagnostic(
        "fields", monitor.arm, monitor.seed, input=validation.X[picks], target=validation.y[picks],
        prediction=prediction[picks].astype(np.int64 if prediction.dtype.kind == "i" else np.float32), rows=picks,
    )  # fmt: skip
