"""Stage 2: frozen is frozen, selection never loses, limits are kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from crosstune.assembly import outputs, predict
from crosstune.errors import ConfigError
from crosstune.nn.model import part_of
from crosstune.seeding import Streams
from crosstune.stages import fit, selection, stepping, trainables
from crosstune.stages.fit import FitConfig
from crosstune.stages.monitor import Limit
from crosstune.stages.state import State

from .problems import Recorder, changed, snapshot, state

KINDS = ["classification", "multilabel", "regression", "dense", "segmentation"]
STEPS = 12


def run(made: State | None = None, *, seed: int = 0, **options: Any) -> tuple[State, Any, Recorder]:
    made = made or state()
    recorder = made.monitor
    assert isinstance(recorder, Recorder)
    after, report = fit.run(made, FitConfig(**{"max_steps": STEPS, "batch_size": 16, **options}), streams=Streams(seed))
    return after, report, recorder


# -- frozen is frozen ---------------------------------------------------------------------------------------------

ALLOWED = {
    "all": lambda name: True,
    "head": lambda name: part_of(name) == "head",
    "embedder+head": lambda name: part_of(name) != "body",
    "norms": lambda name: part_of(name) != "body" or "LayerNorm" in name,
}


@pytest.mark.parametrize("trainable", list(ALLOWED))
@pytest.mark.parametrize("kind", ["classification", "dense"])
def test_what_is_frozen_stays_bit_identical(trainable: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # take the last step's model, not the selected one: that may be the first
    monkeypatch.setattr(selection.Selection, "evaluate", _keep_latest)
    made = state(kind)  # type: ignore[arg-type]
    before = snapshot(made.model)
    after, report, _ = run(made, trainable=trainable, head_rate=1.0, body_rate=1e-2, embedder_rate=1e-2)
    moved = changed(before, snapshot(after.model))
    parameters = {name for name, _ in after.model.named_parameters()}
    allowed = {name for name in parameters if ALLOWED[trainable](name)}
    buffers = {name for name in before if name.startswith("head.")}  # set by the closed form
    assert moved <= allowed | buffers
    parts = {part_of(name) for name in moved & parameters}
    assert parts == {part_of(name) for name in allowed}
    counted = sum(p.numel() for n, p in after.model.named_parameters() if n in allowed)
    assert report.figures["trained_parameters"] == counted


def _keep_latest(self: Any, model: Any, step: int, monitor: Any) -> None:
    self.best, self.best_step, self.best_score = snapshot(model), step, 0.0


def test_the_pretrained_copy_of_the_backbone_is_never_trained() -> None:
    made = state()
    before = snapshot(made.backbone.body)
    after, _, _ = run(made, trainable="all", body_rate=1e-2)
    assert changed(before, snapshot(after.backbone.body)) == set()


def test_parameters_behind_a_frozen_part_get_no_gradient() -> None:
    made = state()
    names = trainables.make_trainable(made.model, FitConfig(trainable="head"))
    assert {n for n, p in made.model.named_parameters() if p.requires_grad} == set(names)
    assert all(part_of(name) == "head" for name in names)


# -- selection ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body_rate", [3e-4, 1.0], ids=["sane", "destructive"])
def test_the_selected_model_is_never_worse_than_the_head_first_model(kind: str, body_rate: float) -> None:
    made = state(kind)  # type: ignore[arg-type]
    after, report, recorder = run(made, body_rate=body_rate, embedder_rate=body_rate, head_rate=0.1)
    error = after.metric.error
    first, best = report.figures["head_first_score"], report.figures["best_score"]
    assert error(best) <= error(first) + 1e-12
    assert after.validation.y is not None
    # the model handed back is the selected one, not the last one
    score = after.metric.score(predict(after.model, after.validation), after.validation.y)
    assert score == pytest.approx(best, abs=1e-9)
    scores = [event["score"] for event in recorder.of("validation") if math.isfinite(event["score"])]
    assert best == min(scores, key=error)
    assert after.best_score == best


def test_training_helps_where_the_head_starts_at_zero() -> None:
    after, report, _ = run(
        state(linear_part=False),
        head_init="zero",
        trainable="all",
        body_rate=1e-3,
        embedder_rate=1e-3,
        head_rate=0.3,
        max_steps=60,
    )
    assert after.metric.error(report.figures["head_first_score"]) == pytest.approx(2 / 3, abs=0.01)
    assert after.metric.error(report.figures["best_score"]) < 0.5
    assert report.figures["best_step"] > 0


def test_patience_ends_the_stage() -> None:
    _, report, _ = run(patience=1, max_steps=500, body_rate=1.0, embedder_rate=1.0)
    assert report.stopped_by == "patience"
    assert report.steps < 500


def test_steps_end_the_stage() -> None:
    _, report, recorder = run()
    assert report.steps == STEPS == len(recorder.of("step"))
    assert report.stage == "fit"


def test_the_runs_limit_goes_before_the_methods() -> None:
    _, report, _ = run(state(monitor=Recorder({"fit": Limit(steps=5)})))
    assert report.steps == 5


def test_no_time_at_all_still_gives_the_head_first_model() -> None:
    after, report, _ = run(state(monitor=Recorder({"fit": Limit(seconds=0.0)})), max_steps=None)
    assert report.steps == 0
    assert report.stopped_by == "budget"
    assert report.figures["best_score"] == report.figures["head_first_score"]
    assert after.metric.error(report.figures["best_score"]) < 0.5


def test_the_last_step_is_a_candidate_too() -> None:
    _, _, recorder = run(max_steps=13)
    assert recorder.of("validation")[-1]["step"] == 13


def test_steps_without_a_finite_gradient_are_left_out_and_counted() -> None:
    made = state("regression")
    assert made.train.y is not None
    made.train.y[:3] = np.inf
    made.model.scaler.fit(made.train.y[3:])  # type: ignore[union-attr]
    after, report, _ = run(made, head_init="zero")
    assert any("not finite" in note for note in report.notes)
    assert all(bool(torch.isfinite(p).all()) for p in after.model.parameters())


# -- pieces -------------------------------------------------------------------------------------------------------


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    factors = [trainables.warm(step, 10) * trainables.fall(step / 100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1, abs=1e-3)
    assert max(factors) == pytest.approx(1.0, abs=0.03)
    assert factors.index(max(factors)) == 9
    assert factors[-1] == pytest.approx(0, abs=1e-12)
    assert factors[9:] == sorted(factors[9:], reverse=True)
    # the closed-form head may have used half of the time: the ramp counts steps, not time
    assert trainables.warm(0, 10) * trainables.fall(0.5) < 0.1


def test_rates_go_to_their_parts() -> None:
    made = state()
    config = FitConfig(body_rate=1.0, embedder_rate=2.0, head_rate=3.0)
    names = trainables.make_trainable(made.model, config)
    groups = trainables.parameter_groups(made.model, config, names)
    owner = {id(p): n for n, p in made.model.named_parameters()}
    seen = []
    for group in groups:
        for parameter in group["params"]:
            name = owner[id(parameter)]
            seen.append(name)
            part = part_of(name)
            if part != "head":
                assert group["base"] == {"body": 1.0, "embedder": 2.0}[part]
            else:
                assert group["base"] < 3.0
            assert (group["weight_decay"] > 0) == (parameter.ndim > 1)
    assert sorted(seen) == sorted(names)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_zero_for_perfect_outputs_only(kind: str) -> None:
    made = state(kind)  # type: ignore[arg-type]
    y = torch.from_numpy(np.asarray(made.train.y))
    if kind == "classification":
        perfect = 50 * torch.nn.functional.one_hot(y.long(), 3).float()
    elif kind == "segmentation":
        perfect = 50 * torch.nn.functional.one_hot(y.clamp_min(0), 2).movedim(-1, 1).float()
    elif kind == "multilabel":
        perfect = 100 * (y - 0.5)
    else:
        assert made.model.scaler is not None
        perfect = made.model.scaler(y)
    loss = FitConfig().objective(made)
    assert float(loss(perfect, y)) == pytest.approx(0.0, abs=1e-6)
    assert float(loss(torch.zeros_like(perfect), y)) > 0.3


# -- losses by name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("classification", {"loss": "focal", "loss_gamma": 3.0}),
        ("classification", {"class_weights": "balanced"}),
        ("multilabel", {"loss": "focal"}),
        ("multilabel", {"pos_weight": 5.0}),
        ("multilabel", {"pos_weight": "balanced"}),
        ("regression", {"loss": "mae"}),
        ("regression", {"loss": "huber"}),
        *(("dense", {"loss": name}) for name in ("mae", "rmse", "relative-l2", "nrmse")),
    ],
)
def test_the_named_loss_is_what_trains_and_what_is_recorded(
    kind: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection.Selection, "evaluate", _keep_latest)
    made = [unbalanced(kind), unbalanced(kind)]
    loss, batch = (
        FitConfig(**options).objective(made[0]),
        stepping.Epochs(len(made[0].train), 16, Streams(0)["batches"]),
    )
    y = torch.from_numpy(np.asarray(made[0].train.y))
    first, start = y[torch.from_numpy(batch.next())], torch.zeros_like(outputs(made[0].model, made[0].train))
    fast = {"trainable": "head", "head_init": "zero", "head_rate": 1.0, "max_steps": 40}
    plain, _, _ = run(made[0], **fast)
    other, _, named = run(made[1], **fast, **options)
    assert named.of("step")[0]["loss"] == pytest.approx(float(loss(start[:16], first)), rel=1e-5)
    assert float(loss(outputs(other.model, other.train), y)) < 0.95 * float(loss(start, y))
    assert changed(snapshot(plain.model), snapshot(other.model)) != set()


def unbalanced(kind: str) -> State:
    made = state(kind)  # type: ignore[arg-type]
    made.train = made.train.take(np.flatnonzero((np.arange(60) % 3 < 2) | (np.arange(60) < 18)))
    return made


def test_a_loss_that_does_not_fit_is_refused_before_anything_is_trained() -> None:
    made = state("regression")
    before = snapshot(made.model)
    with pytest.raises(ConfigError, match="'focal' does not fit regression targets"):
        run(made, loss="focal")
    assert changed(before, snapshot(made.model)) == set()


def test_epochs_visit_every_row_once() -> None:
    epochs = stepping.Epochs(12, 4, np.random.default_rng(0))
    for _ in range(3):
        assert sorted(np.concatenate([epochs.next() for _ in range(3)])) == list(range(12))
