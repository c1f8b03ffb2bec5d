"""Meta-learning of the embedder: what follows which loss, what stays, and that it can be cut in two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from crosstune.errors import ConfigError, DataError
from crosstune.information import class_alignment, uniformity
from crosstune.nn.heads import token_means
from crosstune.nn.model import part_of
from crosstune.records import StageReport
from crosstune.seeding import Streams
from crosstune.stages import fit, meta
from crosstune.stages.bilevel import losses_behind
from crosstune.stages.fit_config import FitConfig
from crosstune.stages.meta import MetaConfig, _Learning, source_rows
from crosstune.stages.monitor import Limit
from crosstune.stages.state import State

from .problems import Recorder, bank, changed, snapshot, state
from .test_mix import KINDS, with_data
from .test_modalities import inputs, with_target

FAST: dict[str, Any] = {"steps": 4, "batch_size": 12, "source_batch": 16, "warmup_steps": 1, "head_rate": 1.0}


def run(made: State | None = None, *, seed: int = 0, **options: Any) -> tuple[State, StageReport, Recorder]:
    made = made or state(linear_part=False)
    recorder = made.monitor
    assert isinstance(recorder, Recorder)
    after, report = meta.run(made, MetaConfig(**{**FAST, **options}), streams=Streams(seed))
    return after, report, recorder


def learning(made: State, **options: Any) -> _Learning:
    """The stage before its first step, with a head that knows something."""
    found = _Learning(made, MetaConfig(**{**FAST, **options}), Streams(0), [])
    with torch.no_grad():
        generator = torch.Generator().manual_seed(3)
        for parameter in made.model.head.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return found


# -- what moves ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["second", "first"])
def test_the_body_keeps_every_bit(order: str) -> None:
    made = state(linear_part=False)
    before, pretrained = snapshot(made.model), snapshot(made.backbone.body)
    after, _, _ = run(made, order=order)
    moved = changed(before, snapshot(after.model))
    assert {part_of(name) for name in moved} == {"embedder", "head"}
    assert moved >= {f"embedder.{name}" for name, _ in after.model.embedder.named_parameters()}
    assert changed(pretrained, snapshot(after.backbone.body)) == set()
    assert changed(pretrained, snapshot(after.model.body)) == set()
    assert all(p.grad is None for p in after.model.parameters())


def test_the_head_follows_the_inner_loss_only() -> None:
    """Whatever the outer loss weighs, one step from the same start gives the same head."""
    heads = []
    for weight in (0.0, 50.0):
        after, _, _ = run(steps=1, source_weight=weight)
        heads.append(snapshot(after.model.head))
    assert changed(heads[0], heads[1]) == set()


def test_the_embedder_follows_the_source_term_through_the_bodys_step() -> None:
    embedders = []
    for weight in (0.0, 50.0):
        after, _, _ = run(steps=3, source_weight=weight)
        embedders.append(snapshot(after.model.embedder))
    assert changed(embedders[0], embedders[1]) != set()


# -- gradients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["classification", "dense"])
def test_the_outer_gradient_is_the_derivative_of_the_stages_own_losses(kind: str) -> None:
    """In float64, along three directions of the embedder, against differences; the inner step's length held fixed."""
    made = state(kind, linear_part=False)  # type: ignore[arg-type]
    made.train = replace(made.train, X=made.train.X[:24], y=made.train.y[:24])  # type: ignore[index]
    made.model.double()
    assert made.source is not None
    made.source = replace(made.source, tokens=made.source.tokens.double())
    found = learning(made, inner_rate=1e-2)
    inner, target, source = (
        np.arange(12),
        np.arange(12, 24),
        source_rows(bank().labels.numpy(), 16, np.random.default_rng(0)),
    )
    lengths: dict[str, float] = {}

    def keep(gradients: dict[str, Tensor]) -> dict[str, float]:
        lengths.update(_Learning.rates(found, gradients))
        return lengths

    found.rates = keep  # type: ignore[method-assign]
    result = found.outer(inner, target, source, "second")
    fixed = dict(lengths)
    found.rates = lambda gradients: fixed  # type: ignore[method-assign]
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        ways = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in found.embedder]
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                for parameter, way in zip(found.embedder, ways):
                    parameter.add_(sign * 1e-6 * way)
            parts = found.outer(inner, target, source, "first").parts
            values.append(parts["target"] + parts["source"])
            with torch.no_grad():
                for parameter, way in zip(found.embedder, ways):
                    parameter.sub_(sign * 1e-6 * way)
        slope = sum(float((g * way).sum()) for g, way in zip(result.gradients, ways) if g is not None)
        assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-3, abs=1e-7)


def test_losses_behind_the_step_are_those_the_gradient_was_taken_of() -> None:
    found = learning(state(linear_part=False))
    inner, target, source = np.arange(12), np.arange(12, 24), np.array([0, 4, 1, 5])
    plain = losses_behind(
        lambda at: found.target_loss(at, inner), lambda at: found.losses(at, target, source), found.fast(), found.rates
    )
    assert plain == {
        k: pytest.approx(v, rel=1e-5) for k, v in found.outer(inner, target, source, "second").parts.items()
    }


def test_the_inner_step_has_the_configured_length() -> None:
    found = learning(state(linear_part=False), inner_rate=2e-3, inner_head_rate=0.5)
    rows = np.arange(12)
    gradients = found.outer(rows, rows, None, "first").inner_gradients
    rates = found.rates(gradients)
    for part, expected in (("body", 2e-3), ("head", 0.5 / found.head_width)):
        steps = torch.cat([(rates[n] * g).flatten() for n, g in gradients.items() if part_of(n) == part])
        assert float(steps.square().mean().sqrt()) == pytest.approx(expected, rel=1e-4)


def test_the_source_loss_is_that_of_the_features_the_body_gives() -> None:
    made = state(linear_part=False)
    found = learning(made)
    rows = np.array([0, 4, 1, 5, 2, 6])
    fast = {n: p for n, p in made.model.named_parameters() if part_of(n) != "embedder"}
    with torch.no_grad():
        mask = bank().mask[rows]
        features = token_means(made.backbone.body.eval()(bank().tokens[rows], mask, None)[-1], mask)
        expected = class_alignment(features, bank().labels[rows]) + uniformity(features)
        assert float(found.source_loss(fast, rows)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("source_weight", "target_weight"), [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])
def test_the_outer_loss_falls(source_weight: float, target_weight: float) -> None:
    """With the embedder that was learnt against the one that came, through an inner step from the same head."""
    _, report, _ = run(
        steps=20, source_weight=source_weight, target_weight=target_weight, learning_rate=3e-3, inner_rate=1e-3,
        head_rate=0.3, batch_size=30, source_batch=32,
    )  # fmt: skip
    figures = report.figures

    def loss(when: str) -> float:
        source = figures.get(f"source_{when}", 0.0)
        return float(target_weight * figures[f"target_{when}"] + source_weight * source)

    assert loss("after") < loss("before") - 0.01


def test_source_rows_come_in_pairs() -> None:
    labels = np.repeat(np.arange(40), 3)
    rng = np.random.default_rng(0)
    for _ in range(5):
        rows = source_rows(labels, 16, rng)
        assert len(set(rows)) == 16
        assert sorted(np.bincount(labels[rows])[np.unique(labels[rows])]) == [2] * 8
    few = source_rows(np.array([0, 0, 0, 0, 0, 1]), 4, rng)
    assert sorted(np.array([0, 0, 0, 0, 0, 1])[few]) == [0, 0, 0, 1]
    assert len(source_rows(np.zeros(3, dtype=int), 64, rng)) == 3


# -- every kind and shape -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["second", "first"])
def test_every_kind_of_target_goes_through_and_on(kind: str, order: str) -> None:
    made = state(kind)  # type: ignore[arg-type]
    after, report, recorder = run(made, steps=2, order=order)
    assert report.steps == 2
    assert report.figures["order"] == order
    assert all(np.isfinite(step["loss"]) for step in recorder.of("step"))
    after, last = fit.run(after, FitConfig(max_steps=2, batch_size=8, head_init="zero"), streams=Streams(0))
    assert np.isfinite(last.figures["best_score"])


@pytest.mark.parametrize("modality", ["table", "mixed table", "ragged", "gaps", "grid", "volume", "one sample"])
def test_every_shape_goes_through(modality: str) -> None:
    made = with_data(state(), with_target(inputs(modality, 14), "classification"))
    _, report, recorder = run(made, steps=2)
    assert report.steps == 2
    assert all(np.isfinite(step["loss"]) for step in recorder.of("step"))


# -- limits, fallbacks, refusals ----------------------------------------------------------------------------------


def test_without_labels_the_targets_loss_alone_counts_and_the_report_says_so() -> None:
    made = state(linear_part=False)
    made.source = replace(bank(), hidden=bank().hidden[:0], labels=bank().labels[:0], classes=())
    _, report, recorder = run(made)
    assert any("no labelled source data" in note for note in report.notes)
    assert all("source" not in step for step in recorder.of("step"))
    assert "source_after" not in report.figures
    made = state(linear_part=False)
    made.source = replace(bank(), hidden=bank().hidden[:0], labels=bank().labels[:0], classes=())
    with pytest.raises(ConfigError, match=r"meta\.target_weight=1") as caught:
        run(made, target_weight=0.0)
    assert "no labelled source data" in str(caught.value)


def test_no_loss_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="no outer loss to follow"):
        run(source_weight=0.0, target_weight=0.0)


def test_a_budget_of_no_time_takes_no_step() -> None:
    made = state(linear_part=False, monitor=Recorder({"meta": Limit(seconds=0.0)}))
    before = snapshot(made.model)
    after, report, _ = run(made)
    assert (report.steps, report.stopped_by) == (0, "budget")
    assert changed(before, snapshot(after.model)) == set()


def test_a_limit_in_time_that_suffices_changes_nothing() -> None:
    weights_of = [
        snapshot(run(state(linear_part=False, monitor=Recorder(limits)), steps=2)[0].model)
        for limits in ({}, {"meta": Limit(seconds=600.0)})
    ]
    assert changed(*weights_of) == set()


def test_a_step_that_the_time_does_not_hold_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Learning, "guess", lambda self: 100.0)
    _, report, _ = run(state(linear_part=False, monitor=Recorder({"meta": Limit(seconds=50.0)})))
    assert (report.steps, report.stopped_by) == (0, "budget")
    assert any("no step was taken" in note and "one takes about 100.0 s" in note for note in report.notes)


def test_a_body_without_second_derivatives_falls_back_to_first_order(monkeypatch: pytest.MonkeyPatch) -> None:
    original = meta.outer_gradient

    def lacking(*args: Any) -> Any:
        if args[-1] == "second":
            raise RuntimeError("derivative for aten::_something_backward is not implemented")
        return original(*args)

    monkeypatch.setattr(meta, "outer_gradient", lacking)
    _, report, _ = run()
    assert report.figures["order"] == "first"
    assert any("no second derivatives" in note for note in report.notes)
    assert report.steps == FAST["steps"]


def test_steps_shrink_to_what_the_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    original = _Learning.target_loss

    def limited(self: Any, fast: Any, rows: np.ndarray) -> Tensor:
        if len(rows) > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return original(self, fast, rows)

    monkeypatch.setattr(_Learning, "target_loss", limited)
    limit = 5
    _, report, _ = run(steps=2)
    assert report.figures["batch_rows"] == 3
    assert any("memory does not suffice" in note for note in report.notes)
    limit = 0
    with pytest.raises(DataError, match=r"meta\.order=first"):
        run(steps=2)


# -- repeats, resumes ---------------------------------------------------------------------------------------------


def weights(seed: int, monitor: Recorder, **options: Any) -> dict[str, Tensor]:
    after, _, _ = run(state(linear_part=False, monitor=monitor), seed=seed, **options)
    return snapshot(after.model)


def test_it_repeats_bit_by_bit() -> None:
    torch.manual_seed(1)
    first = weights(0, Recorder())
    torch.manual_seed(2)
    assert changed(first, weights(0, Recorder())) == set()
    assert changed(first, weights(1, Recorder())) != set()


@pytest.mark.parametrize("at", [1, 3])
def test_it_resumes_bit_by_bit(at: int) -> None:
    first = Recorder(keep=at)
    whole = weights(0, first)
    assert first.stored is not None
    second = Recorder(saved=first.stored)
    torch.manual_seed(99)
    assert changed(whole, weights(0, second)) == set()
    assert second.of("step") == first.of("step")[at:]


@pytest.mark.parametrize("broken", ["optimiser", "head_optimiser"])
def test_a_checkpoint_that_lacks_a_part_is_found_out(broken: str) -> None:
    first = Recorder(keep=2)
    whole = weights(0, first)
    assert first.stored is not None
    first.stored["parts"][broken]["state"] = {}
    assert changed(whole, weights(0, Recorder(saved=first.stored))) != set()
