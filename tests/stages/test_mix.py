"""Mixing: the share that is replaced, what each label counts for, what trains, and that it can be cut in two."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crosstune.assembly import batch
from crosstune.nn.heads import token_means
from crosstune.nn.mixing import Mixed
from crosstune.nn.model import part_of
from crosstune.records import Dataset, StageReport
from crosstune.seeding import Streams
from crosstune.stages import fit, mix
from crosstune.stages.fit_config import FitConfig
from crosstune.stages.machine import Machine
from crosstune.stages.mix import MixConfig, _MixStepper, _Mixture, kept_positions, target_total
from crosstune.stages.monitor import Limit
from crosstune.stages.state import State

from .problems import Recorder, bank, changed, snapshot, state
from .test_modalities import inputs, with_target

KINDS = ["classification", "multilabel", "regression", "dense", "segmentation"]
FAST: dict[str, Any] = {"steps": 6, "levels": 3, "batch_size": 12, "warmup_steps": 1}


def run(made: State | None = None, *, seed: int = 0, **options: Any) -> tuple[State, StageReport, Recorder]:
    made = made or state(linear_part=False)
    recorder = made.monitor
    assert isinstance(recorder, Recorder)
    after, report = mix.run(made, MixConfig(**{**FAST, **options}), streams=Streams(seed))
    return after, report, recorder


def with_data(made: State, train: Dataset) -> State:
    from crosstune.assembly import build_model, plan_model
    from crosstune.metrics import default_metric

    assert train.kind is not None
    model = build_model(plan_model(train, made.backbone.body, tokens=9), made.backbone.body, train, token_rms=0.05)
    return replace(made, model=model, train=train, validation=train, metric=default_metric(train.kind))


# -- what trains --------------------------------------------------------------------------------------------------


def test_the_whole_model_trains_and_the_source_does_not() -> None:
    made = state(linear_part=False)
    assert made.source is not None
    before, body, tokens = snapshot(made.model), snapshot(made.backbone.body), made.source.tokens.clone()
    after, _, _ = run(made)
    moved = {part_of(name) for name in changed(before, snapshot(after.model))}
    assert moved == {"embedder", "body", "head"}
    assert changed(body, snapshot(after.backbone.body)) == set()
    assert torch.equal(tokens, made.source.tokens)
    assert set(snapshot(after.model)) == set(before)  # gate and source head are gone
    buffers = {name for name, _ in after.model.named_buffers()}
    assert not buffers & changed(before, snapshot(after.model))


def test_only_the_learned_gate_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[_Mixture] = []
    original = _Mixture.__init__

    def remember(self: Any, *args: Any) -> None:
        original(self, *args)
        kept.append(self)

    monkeypatch.setattr(_Mixture, "__init__", remember)
    for gate in ("learned", "cosine", "random"):
        run(gate=gate, gate_rate=0.1)
    fresh = [torch.Generator().manual_seed(Streams(0).seed_for("gate") % 2**63) for _ in kept]
    start = [torch.randn(len(m.gate.weight), generator=g) / len(m.gate.weight) ** 0.5 for m, g in zip(kept, fresh)]
    assert [torch.equal(m.gate.weight, s) for m, s in zip(kept, start)] == [False, True, True]


# -- shares -------------------------------------------------------------------------------------------------------


def test_the_replaced_share_is_the_curriculums_and_falls() -> None:
    _, report, recorder = run(steps=9, levels=3, start=0.9)
    steps = recorder.of("step")
    assert [step["share"] for step in steps] == pytest.approx([0.9] * 3 + [0.6] * 3 + [0.3] * 3)
    places = state().model.embedder.grid
    assert places is not None
    # to the nearest token of each sample
    expected = [int(step["share"] * places[0] + 0.5) / places[0] for step in steps]
    assert [step["replaced"] for step in steps] == pytest.approx(expected, abs=1e-6)
    assert report.figures["replaced_first"] > report.figures["replaced_last"]


def test_time_drives_the_curriculum_where_time_is_the_limit() -> None:
    recorder = Recorder({"mix": Limit(seconds=1.5)})
    _, report, _ = run(state(linear_part=False, monitor=recorder), steps=None)
    shares = [step["share"] for step in recorder.of("step")]
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 3
    assert report.stopped_by == "budget"
    assert report.seconds < 3


def test_a_step_that_the_time_does_not_hold_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mix._Mixing, "guess", lambda self: 100.0)
    _, report, _ = run(state(linear_part=False, monitor=Recorder({"mix": Limit(seconds=50.0)})), steps=None)
    assert (report.steps, report.stopped_by) == (0, "budget")
    assert any("no step was taken" in note and "one takes about 100.0 s" in note for note in report.notes)
    assert not any(name.endswith(("_first", "_last")) for name in report.figures)


def test_a_stage_without_any_limit_ends() -> None:
    original, mix.WITHOUT_LIMIT = mix.WITHOUT_LIMIT, 4
    try:
        _, report, recorder = run(steps=None)
    finally:
        mix.WITHOUT_LIMIT = original
    assert report.steps == 4
    assert recorder.of("step")[-1]["share"] < recorder.of("step")[0]["share"]


# -- losses -------------------------------------------------------------------------------------------------------


def stepper(made: State, **options: Any) -> _MixStepper:
    assert made.source is not None
    config = MixConfig(**{**FAST, **options})
    mixture = _Mixture(made.model.eval(), made.source, config, Streams(0))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        for parameter in [*made.model.head.parameters(), *mixture.source_head.parameters()]:
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    objective = FitConfig().objective(made)
    return _MixStepper(
        mixture, made.source, config, objective, made.train, Machine(made.model.device), lambda text: None
    )


def test_the_loss_is_the_two_labels_weighted_with_their_shares() -> None:
    """Written out by hand for one batch: cross-entropy of both heads on the mixed tokens."""
    made = state(linear_part=False)
    assert made.source is not None
    step = stepper(made, source_weight=0.5, target_weight=2.0)
    rows, donors = np.arange(8), np.arange(20, 28)
    loss = step.mixed_gradients(rows, donors, 0.5)
    x, _, y = batch(made.train, rows)
    assert y is not None
    given = made.source.tokens[donors], made.source.mask[donors]
    with torch.no_grad():
        out, logits, mixed = step.mixture(x, None, given, 0.5)
        hidden = made.model.hidden(mixed.tokens, torch.ones(mixed.tokens.shape[:2], dtype=torch.bool))
    kept = float(mixed.kept[0])
    assert torch.allclose(logits, step.mixture.source_head(hidden[-1].mean(1)), atol=1e-5)
    target = kept * float(F.cross_entropy(out, y.long()))
    source = (1 - kept) * float(F.cross_entropy(logits, made.source.labels[donors]))
    assert loss == pytest.approx(2 * target + 0.5 * source, rel=1e-5)
    assert step.parts == {
        "target": pytest.approx(target, rel=1e-5), "source": pytest.approx(source, rel=1e-5),
        "replaced": pytest.approx(1 - kept),
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_give_the_gradients_of_the_whole(kind: str) -> None:
    gradients = []
    for size in (12, 5):
        step = stepper(state(kind, linear_part=False))  # type: ignore[arg-type]
        step.size = size
        loss = step.mixed_gradients(np.arange(12), np.arange(30, 42), 0.6)
        flat = [p.grad.flatten() for p in step.mixture.parameters() if p.grad is not None]
        gradients.append((loss, torch.cat(flat)))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    assert torch.allclose(gradients[0][1], gradients[1][1], atol=1e-5)


@pytest.mark.parametrize("name", [None, "rmse", "nrmse"])
def test_positions_of_replaced_tokens_do_not_count(name: str | None) -> None:
    """Errors at positions that replaced tokens paint are invisible; the others weigh as the kept share, be it a loss
    per position or one per sample."""
    made = state("dense", linear_part=False)
    objective = FitConfig(loss=name).objective(made)
    x, _, y = batch(made.train, np.arange(4))
    assert y is not None
    tokens, mask = made.model.tokens(x)
    replaced = torch.zeros_like(mask)
    replaced[:, 3:5] = True
    kept = torch.full((4,), 0.7)
    mixed = Mixed(tokens, mask, replaced, kept)
    seen = kept_positions(made.model, mixed, (24,))
    assert 0 < int((~seen[0]).sum()) < 24
    assert made.model.scaler is not None
    out = made.model.scaler(y) + 1.0
    total = target_total(made.model, objective, out, y, mixed, (24,))
    wrong = torch.where(seen[:, None], out, out + 100.0)
    assert float(target_total(made.model, objective, wrong, y, mixed, (24,))) == pytest.approx(float(total), rel=1e-6)
    if name is None:
        # an error of one everywhere: the weighted mean is the kept share
        assert float(total / objective.count(y)) == pytest.approx(0.7, rel=1e-5)
    elif name == "rmse":
        assert float(total / objective.count(y)) == pytest.approx(0.7, rel=1e-5)
    whole = replace(mixed, replaced=torch.zeros_like(mask), kept=torch.ones(4))
    assert float(target_total(made.model, objective, out, y, whole, (24,))) == pytest.approx(
        float(objective.total(out, y)), rel=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_replaced_is_plain_training(kind: str) -> None:
    made = state(kind, linear_part=False)  # type: ignore[arg-type]
    step = stepper(made)
    loss = step.mixed_gradients(np.arange(10), np.arange(10), 0.0)
    mine = {name: p.grad for name, p in made.model.named_parameters() if p.grad is not None}
    x, _, y = batch(made.train, np.arange(10))
    assert y is not None
    made.model.zero_grad()
    plain = step.objective(made.model(x), y)
    plain.backward()
    assert loss == pytest.approx(float(plain.detach()), rel=1e-5)
    for name, parameter in made.model.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(mine[name], parameter.grad, atol=1e-6), name


def test_both_losses_fall_on_a_planted_problem() -> None:
    rates = {"body_rate": 1e-3, "embedder_rate": 3e-3, "head_rate": 1.0}
    _, _, recorder = run(steps=60, levels=1, start=0.5, batch_size=20, **rates)
    steps = recorder.of("step")
    for name in ("target", "source"):
        first, last = (np.mean([step[name] for step in part]) for part in (steps[:5], steps[-5:]))
        assert last < 0.85 * first, name


# -- every kind and shape -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("linear_part", [False, True])
def test_every_kind_of_target_goes_through_and_on(kind: str, linear_part: bool) -> None:
    made = state(kind, linear_part=linear_part)  # type: ignore[arg-type]
    after, report, _ = run(made, steps=3)
    assert report.steps == 3
    after, last = fit.run(after, FitConfig(max_steps=2, batch_size=8, head_init="zero"), streams=Streams(0))
    assert np.isfinite(last.figures["best_score"])


@pytest.mark.parametrize("modality", ["table", "mixed table", "ragged", "gaps", "grid", "volume", "one sample"])
def test_every_shape_goes_through(modality: str) -> None:
    made = with_data(state(), with_target(inputs(modality, 14), "classification"))
    _, report, recorder = run(made, steps=3)
    assert report.steps == 3
    assert all(np.isfinite(step["loss"]) for step in recorder.of("step"))


def test_ragged_class_maps_go_through() -> None:
    data = inputs("ragged", 12)
    y = (data.X[:, 0] > 0).astype(np.int64)
    assert data.lengths is not None
    y[np.arange(40)[None] >= data.lengths[:, None]] = -1
    made = with_data(state(), replace(data, y=y, kind="segmentation", classes=("low", "high")))
    _, _, recorder = run(made, steps=3)
    assert all(step["target"] > 0 and np.isfinite(step["loss"]) for step in recorder.of("step"))


# -- without labels -----------------------------------------------------------------------------------------------


def test_without_labels_the_targets_loss_alone_counts_and_the_report_says_so() -> None:
    made = state(linear_part=False)
    made.source = replace(bank(), hidden=bank().hidden[:0], labels=bank().labels[:0], classes=())
    _, report, recorder = run(made)
    assert any("no labelled source data" in note for note in report.notes)
    assert all(step["source"] == 0 and step["loss"] > 0 for step in recorder.of("step"))


def test_rows_of_a_sampled_bank_bring_their_own_labels() -> None:
    made = state(linear_part=False)
    rows = torch.tensor([7, 4, 9])
    made.source = replace(bank(), tokens=bank().tokens[rows], mask=bank().mask[rows], rows=rows,
                          means=token_means(bank().tokens, bank().mask))  # fmt: skip
    step = stepper(made)
    assert step.labels is not None
    assert step.labels.tolist() == bank().labels[rows].tolist()
    run(made)


# -- repeats, resumes ---------------------------------------------------------------------------------------------


def mixed_weights(seed: int, monitor: Recorder, **options: Any) -> dict[str, Tensor]:
    after, _, _ = run(state(linear_part=False, monitor=monitor), seed=seed, dropout=True, **options)
    return snapshot(after.model)


def test_it_repeats_bit_by_bit() -> None:
    torch.manual_seed(1)
    first = mixed_weights(0, Recorder())
    torch.manual_seed(2)
    assert changed(first, mixed_weights(0, Recorder())) == set()
    assert changed(first, mixed_weights(1, Recorder())) != set()


@pytest.mark.parametrize("gate", ["learned", "random"])
@pytest.mark.parametrize("at", [1, 4])
def test_it_resumes_bit_by_bit(gate: str, at: int) -> None:
    first = Recorder(keep=at)
    whole = mixed_weights(0, first, gate=gate)
    assert first.stored is not None
    second = Recorder(saved=first.stored)
    torch.manual_seed(99)
    assert changed(whole, mixed_weights(0, second, gate=gate)) == set()
    assert second.of("step") == first.of("step")[at:]


@pytest.mark.parametrize("broken", ["torch_rng", "gate", "optimiser"])
def test_a_checkpoint_that_lacks_a_part_is_found_out(broken: str) -> None:
    first = Recorder(keep=3)
    whole = mixed_weights(0, first, gate="random")
    saved = copy.deepcopy(first.stored)
    assert saved is not None
    if broken == "torch_rng":
        saved["torch_rng"] = torch.Generator().manual_seed(99).get_state()
    elif broken == "gate":
        saved["parts"]["gate"] = torch.Generator().manual_seed(99).get_state()
    else:
        saved["parts"]["optimiser"]["state"] = {}
    assert changed(whole, mixed_weights(0, Recorder(saved=saved), gate="random")) != set()
