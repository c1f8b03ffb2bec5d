"""One run in one record: scores, bound, budget, verdict. What ``--json`` prints and the report is built on."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crosstune.errors import RunError
from crosstune.report.record import RunRecord, read_run
from crosstune.report.scores import ArmScore, metric_of, score_arms
from crosstune.report.verdict import Setting, Verdict, decide

STAGES = ("before", "after-align", "after-fit")


@dataclass(frozen=True)
class Term:
    """One term of the bound in nats (or a ratio), with its bootstrap interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class BoundStage:
    """The bound of one checkpoint: err_t <= err_s + tau * W1 + H(z'|z) + fitting excess (nats).

    terms: as in the run folder's "bound" events. converged: whether every transport problem converged.
    certified: whether the condition under which the bound is a guarantee was met; None where it was not recorded.
    """

    stage: str
    seed: int | None
    terms: Mapping[str, Term]
    converged: bool | None
    notes: tuple[str, ...] = ()
    certified: bool | None = None


@dataclass(frozen=True)
class Further:
    """A figure of one arm beside the metric that decides: a further metric of a task's protocol, or one of the task's
    own, such as a rollout. value: mean over seeds, None where none could be computed (``note`` says why)."""

    arm: str
    label: str
    metric: str
    value: float | None
    by_seed: Mapping[int, float]
    note: str | None = None


@dataclass(frozen=True)
class Summary:
    """What a run came to on one split. ``arms``: the method first, then controls, then floors."""

    run: str
    task: str
    kind: str
    metric: str
    direction: str
    split: str
    status: str
    method: str
    seeds: tuple[int, ...]
    arms: tuple[ArmScore, ...]
    bound: tuple[BoundStage, ...]
    budget: Mapping[str, Any]
    verdict: Verdict
    notes: tuple[str, ...] = field(default_factory=tuple)
    protocol: str = "clean"
    selected_on: str = "validation"
    further: tuple[Further, ...] = ()

    def arm(self, name: str) -> ArmScore | None:
        """The score of one arm."""
        return next((a for a in self.arms if a.arm == name), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``: NaN and infinities become null."""
        cleaned = _plain(asdict(self))
        assert isinstance(cleaned, dict)
        return cleaned


def summarise(path: str | Path, *, split: str = "validation") -> Summary:
    """The summary of the run folder ``path`` on ``split`` ("validation", or "test" after ``crosstune reveal``).

    Raises RunError: as ``read_run``; for a split other than the two; for the test split while it is sealed.
    """
    return summary_of(read_run(path), split)


def summary_of(record: RunRecord, split: str) -> Summary:
    """``summarise`` for a record that was already read."""
    if split not in ("validation", "test"):
        raise RunError(f"no split named {split!r}", fix="use 'validation' or 'test'")
    if split == "test" and not record.prediction_files("test"):
        raise RunError(
            f"the test split of {record.path} is sealed",
            cause="it has not been revealed, so no test predictions exist",
            fix=reveal_command(record),
        )
    metric = metric_of(record)
    arms = score_arms(record, split)
    rows = record.task.get("rows") or {}
    setting = Setting(
        metric=metric.name,
        direction=metric.direction,
        split=split,
        command="" if rows.get("test") == 0 else reveal_command(record),
        status=record.status,
        reveals=len(record.run.get("reveals") or ()),
        selected_on=record.selected_on,
        protocol=record.protocol,
        unlabelled=record.unlabelled,
        aligns=record.aligns,
        seeds=max([len(a.by_seed) for a in arms if a.role == "method"], default=1),
    )
    notes = [str(note) for note in record.task.get("notes") or ()]
    if record.task.get("terms"):
        notes.insert(0, f"protocol {record.protocol}: {record.task['terms']}")
    if record.ignored_lines:
        notes.append(f"{record.ignored_lines} unreadable line(s) of events.jsonl were ignored")
    return Summary(
        run=str(record.path),
        task=record.name,
        kind=record.kind,
        metric=metric.name,
        direction=metric.direction,
        split=split,
        status=record.status,
        method=record.method,
        seeds=record.seeds,
        arms=arms,
        bound=bound_stages(record),
        budget=dict(record.part("budget")),
        verdict=decide(arms, setting),
        notes=tuple(notes),
        protocol=record.protocol,
        selected_on=record.selected_on,
        further=further_of(record, split),
    )


def further_of(record: RunRecord, split: str) -> tuple[Further, ...]:
    """The entries of run.json's ``scores`` on one split, by arm and metric, in the order of the arms."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in record.run.get("scores") or ():
        if isinstance(entry, Mapping) and entry.get("split") == split and entry.get("metric") != record.metric:
            found.setdefault((str(entry.get("arm")), str(entry.get("metric"))), []).append(entry)
    order = {name: i for i, name in enumerate(record.arms)}
    out = []
    for (arm, metric), entries in sorted(found.items(), key=lambda item: order.get(item[0][0], len(order))):
        by_seed = {int(e.get("seed") or 0): float(v) for e in entries if isinstance(v := e.get("value"), int | float)}
        value = sum(by_seed.values()) / len(by_seed) if by_seed else None
        note = next((str(e["note"]) for e in entries if e.get("note")), None)
        out.append(Further(arm, record.label(arm), metric, value, by_seed, note))
    return tuple(out)


def reveal_command(record: RunRecord) -> str:
    """The command that opens the sealed test of this run."""
    return f"crosstune reveal {shlex.quote(str(record.path))}"


def bound_stages(record: RunRecord) -> tuple[BoundStage, ...]:
    """The method's bound at each stage and seed, the last event of each, in the order of training."""
    latest: dict[tuple[str, Any], BoundStage] = {}
    for event in record.events_of("bound", record.method):
        raw = event.get("terms")
        terms = {str(k): t for k, v in raw.items() if (t := _term(v)) is not None} if isinstance(raw, Mapping) else {}
        stage = str(event.get("stage", "?"))
        converged = event.get("converged")
        latest[stage, event.get("seed")] = BoundStage(
            stage=stage,
            seed=event.get("seed"),
            terms=terms,
            converged=None if converged is None else bool(converged),
            notes=tuple(str(note) for note in event.get("notes") or ()),
            certified=None if event.get("certified") is None else bool(event.get("certified")),
        )
    order = {stage: i for i, stage in enumerate(STAGES)}
    return tuple(sorted(latest.values(), key=lambda b: (b.seed or 0, order.get(b.stage, len(STAGES)))))


def _term(value: Any) -> Term | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Term(float(value))
    if not isinstance(value, Mapping) or not isinstance(value.get("value"), int | float):
        return None
    low, high = value.get("low"), value.get("high")
    return Term(
        float(value["value"]),
        float(low) if isinstance(low, int | float) else None,
        float(high) if isinstance(high, int | float) else None,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
