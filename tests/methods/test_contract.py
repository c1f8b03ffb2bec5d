"""What holds for every method that discovery finds, on a tiny body: what trains, what stays, what falls, and the end.

A stage of a new kind says here, in ``CHANGES``, what it may change.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.runs.test_export import describe
from tests.stages.problems import Recorder, changed, dataset, snapshot, state
from torch import Tensor

from crosstune.assembly import batch, outputs, predict
from crosstune.backbones import Backbone, load_backbone
from crosstune.experiment.arms import RUNNERS
from crosstune.methods import Method, fit_of, get_method, methods, override
from crosstune.nn.model import CrossModalModel, part_of
from crosstune.records import StageReport
from crosstune.runs.export import load_model, save_model
from crosstune.seeding import Streams
from crosstune.stages import monitor as monitors
from crosstune.stages.adapters import adapted_layers
from crosstune.stages.monitor import Limit
from crosstune.stages.state import State

NAMES = list(methods())
Allowed = Callable[[str], bool]
CHANGES: dict[str, Allowed] = {
    "source_head": lambda name: False,
    "align": lambda name: part_of(name) == "embedder",
    "meta": lambda name: part_of(name) != "body",
    "mix": lambda name: True,
}
STEPS = 14
SMALL = {  # of settings that stages have under these names
    "steps": 5, "distortion_steps": 4, "iterations": 15, "source_points": 64, "target_points": 64, "batch_size": 16,
    "warmup_steps": 2,
}  # fmt: skip


def small(name: str, **more: Any) -> Method:
    """The method with few steps on few points; ``more``: as for ``override``, where the method has such a setting."""
    method = get_method(name)
    if fit_of(method).adapter is not None:
        pytest.importorskip("peft")
    stages = {stage.name: stage.model_dump() for stage in method.stages}
    changes = {f"{s}.{key}": value for s, d in stages.items() for key, value in SMALL.items() if key in d}
    return override(method, changes | {key: value for key, value in more.items() if key.split(".")[0] in stages})


def fresh(method: Method) -> State:
    twin = load_backbone("twin-bert", weights=method.weights, seed=1)
    made = state(linear_part=method.linear_part, monitor=Recorder())
    made.model.body.load_state_dict(twin.body.state_dict())
    return replace(made, backbone=Backbone(twin.info, copy.deepcopy(twin.body), twin.source, None))


@dataclass
class Course:
    """A method from its first stage to its last: the state before, and after each stage, with its report."""

    method: Method
    first: State
    before: dict[str, Tensor]
    after: dict[str, dict[str, Tensor]]
    reports: dict[str, StageReport]
    last: State


def course(method: Method, seed: int = 0, *, made: State | None = None, **limits: Any) -> Course:
    first = made or fresh(method)
    first.monitor.limits = dict.fromkeys(("source_head", "align", "mix", "meta", "fit"), Limit(**limits))
    if not limits:
        first.monitor.limits = {"mix": Limit(steps=STEPS // 2), "fit": Limit(steps=STEPS)}
    found = Course(method, first, snapshot(first.model), {}, {}, first)
    streams, now = Streams(seed), first
    for stage in method.stages:
        now, found.reports[stage.name] = RUNNERS[stage.name](now, stage, streams=streams)
        found.after[stage.name] = snapshot(now.model)
    found.last = now
    return found


@lru_cache(maxsize=None)
def done(name: str) -> Course:
    return course(small(name, **{"align.keep": "last"}))


def trained(method: Method, model: CrossModalModel) -> Allowed:
    """What the last stage may change, said by what its setting says."""
    what = fit_of(method).trainable
    norms = {name for name, _ in model.named_parameters() if "LayerNorm" in name}
    adapted = {f"body.{name}.weight" for name in adapted_layers(model.body, fit_of(method).adapter_rank)}  # type: ignore[arg-type]
    body: dict[str, Allowed] = {
        "all": lambda name: True, "head": lambda name: False, "norms": lambda name: name in norms,
        "lora": lambda name: name in adapted,
    }  # fmt: skip
    return lambda name: body[what](name) if part_of(name) == "body" else what != "head" or part_of(name) == "head"


@pytest.mark.parametrize("name", NAMES)
def test_each_stage_changes_what_it_may_and_the_rest_stays_to_the_bit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crosstune.stages.selection import Selection

    def keep_latest(self: Any, model: Any, step: int, monitor: Any) -> None:
        self.best, self.best_step, self.best_score = snapshot(model), step, 0.0

    monkeypatch.setattr(Selection, "evaluate", keep_latest)  # the selected model may be the first
    fast = {"fit.body_rate": 1e-2, "fit.embedder_rate": 1e-2, "fit.head_rate": 1.0, "fit.adapter_rate": 1e-2}
    method = small(name, **{"align.keep": "last", **fast})
    made = fresh(method)
    assert made.source is not None
    body, source = snapshot(made.backbone.body), made.source.tokens.clone()
    found = course(method, made=made)
    before = found.before
    parameters = {n for n, _ in found.last.model.named_parameters()}
    for stage, after in found.after.items():
        may = CHANGES[stage] if stage != "fit" else trained(method, found.last.model)
        moved = changed(before, after) & parameters
        allowed = {n for n in parameters if may(n)}
        assert moved <= allowed
        if stage != "meta" or method.weights == "pretrained":
            assert {part_of(n) for n in moved} == {part_of(n) for n in allowed}
        before = after
    assert changed(body, snapshot(found.last.backbone.body)) == set()
    assert found.last.source is not None
    assert torch.equal(source, found.last.source.tokens)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_the_task_falls(name: str) -> None:
    found = done(name)
    fresh_model = fresh(found.method)
    assert _loss(found, found.last.model) < _loss(found, fresh_model.model)
    for stage in found.method.stages:
        figures = found.reports[stage.name].figures
        if stage.name == "align" and getattr(stage, "fld", None) is None:  # of two terms, one may cost the other
            assert figures["fa_after"] < figures["fa_before"]


def _loss(found: Course, model: CrossModalModel) -> float:
    x, lengths, y = batch(found.first.train, np.arange(len(found.first.train)), "cpu")
    objective = fit_of(found.method).objective(found.first)
    with torch.no_grad():
        return float(objective.total(model.eval()(x, lengths), y) / objective.count(y))


@pytest.mark.parametrize("name", NAMES)
def test_what_fitting_selects_is_never_behind_where_it_began(name: str) -> None:
    found = done(name)
    report = found.reports["fit"]
    assert report.figures["best_score"] == found.last.best_score
    metric = found.last.metric
    assert metric.error(found.last.best_score) <= metric.error(report.figures["head_first_score"])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(name: str) -> None:
    first, again = done(name), course(done(name).method)
    assert changed(snapshot(first.last.model), snapshot(again.last.model)) == set()
    if fit_of(first.method).trainable != "head":  # in closed form, and selected, it is the same from every seed
        other = course(first.method, 1)
        assert changed(snapshot(first.last.model), snapshot(other.last.model)) != set()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_is_what_was_learned(name: str, tmp_path: Path) -> None:
    found = done(name)
    task = describe(found.first.train)
    save_model(tmp_path / "model", found.last.model, backbone=found.last.backbone, task=task, provenance={})
    again = load_model(tmp_path / "model")
    new = dataset("classification", 20, 7)
    np.testing.assert_array_equal(again.predict_canonical(new), predict(found.last.model, new))
    assert outputs(again.model, new).shape == (20, 3)
    assert not any("lora" in n for n in again.model.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_steps_end_where_they_are_told_to(name: str) -> None:
    found = course(small(name, **{"fit.patience": 1000}), steps=5)
    assert found.reports["fit"].steps == 5
    assert found.reports["fit"].stopped_by == "budget"
    for stage, report in found.reports.items():
        assert report.steps <= 5 or stage == "source_head"


@pytest.mark.parametrize("name", NAMES)
def test_seconds_end_where_they_are_told_to(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a twentieth of a second each time a stage asks."""
    ticks = count()
    monkeypatch.setattr(monitors, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 20))
    endless = {
        "align.steps": 10**6,
        "align.distortion_steps": 10**6,
        "meta.steps": 10**6,
        "mix.steps": 10**6,
        "fit.patience": 10**6,
    }
    found = course(small(name, **endless), seconds=1.5)
    for stage, report in found.reports.items():
        assert report.seconds < 2.0
        assert report.stopped_by == "budget" or stage == "source_head"
