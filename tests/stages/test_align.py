"""Stage 1: what moves, what must not, what falls, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from crosstune.errors import ConfigError
from crosstune.information import conditional_entropy, marginal_entropy, mutual_information
from crosstune.nn.heads import FieldHead
from crosstune.records import StageReport, TargetKind
from crosstune.seeding import Streams
from crosstune.stages import align
from crosstune.stages.align import AlignConfig, _Problem, target_labels, token_means
from crosstune.stages.candidates import Candidates
from crosstune.stages.closed_form import fit_head
from crosstune.stages.closed_form_fields import token_error
from crosstune.stages.state import State

from .problems import Recorder, backbone, bank, changed, dataset, snapshot, state

FAST: dict[str, Any] = {
    "steps": 6, "distortion_steps": 4, "source_points": 128, "target_points": 64, "batch_size": 24, "keep": "last",
}  # fmt: skip


def run(seed: int = 0, *, made: State | None = None, **options: Any) -> tuple[State, StageReport, Recorder]:
    made = made or state(predictor=True)
    recorder = made.monitor
    assert isinstance(recorder, Recorder)
    after, report = align.run(made, AlignConfig(**{**FAST, **options}), streams=Streams(seed))
    return after, report, recorder


# -- what moves ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["sequential", "joint", "constrained", "alternating"])
@pytest.mark.parametrize("space", ["tokens", "means", "hidden"])
def test_only_the_embedder_moves(schedule: str, space: str) -> None:
    made = state(predictor=True)
    assert made.predictor is not None
    assert made.source is not None
    frozen = snapshot(made.backbone.body), made.predictor.weight.clone(), made.predictor.bias.clone()
    source = made.source.hidden.clone(), made.source.tokens.clone()
    before = snapshot(made.model)
    after, _, _ = run(made=made, schedule=schedule, space=space)
    moved = changed(before, snapshot(after.model))
    embedder = {f"embedder.{name}" for name, _ in after.model.embedder.named_parameters()}
    assert moved == embedder
    assert changed(frozen[0], snapshot(after.backbone.body)) == set()
    assert after.predictor is not None
    assert after.source is not None
    assert torch.equal(frozen[1], after.predictor.weight)
    assert torch.equal(frozen[2], after.predictor.bias)
    assert torch.equal(source[0], after.source.hidden)
    assert torch.equal(source[1], after.source.tokens)


def test_the_freezing_check_sees_one_changed_bit() -> None:
    body = backbone().body
    before = snapshot(body)
    after = {name: tensor.clone() for name, tensor in before.items()}
    name = next(iter(after))
    after[name].view(-1)[0] = torch.nextafter(after[name].view(-1)[0], torch.tensor(9.0))
    assert changed(before, after) == {name}


def test_no_gradient_is_left_behind() -> None:
    after, _, _ = run()
    assert all(p.grad is None for p in after.backbone.body.parameters())
    assert all(p.grad is None for p in after.model.body.parameters())


# -- what falls ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fa", "space"),
    [("exact", "tokens"), ("exact", "means"), ("exact", "hidden"), ("sinkhorn", "tokens"), ("sliced", "tokens"),
     ("mmd", "tokens"), ("otdd", "means"), ("moments", "tokens")],
)  # fmt: skip
def test_alignment_falls(fa: str, space: str) -> None:
    _, report, _ = run(fa=fa, space=space, fld=None, steps=25)
    assert report.figures["fa_after"] < 0.95 * report.figures["fa_before"]


def test_euclidean_cost_falls_too() -> None:
    _, report, _ = run(cost="euclidean", fld=None, steps=25)
    assert report.figures["fa_after"] < report.figures["fa_before"]


@pytest.mark.parametrize("fld", ["mutual", "conditional", "leep"])
def test_distortion_falls(fld: str) -> None:
    _, report, _ = run(fa=None, fld=fld, distortion_steps=25, learning_rate=1e-2)
    assert report.figures["fld_after"] < report.figures["fld_before"] - 0.02


@pytest.mark.parametrize("kind", ["multilabel", "regression", "dense", "segmentation"])
def test_targets_that_are_not_classes_are_clustered(kind: str) -> None:
    made = state(kind, predictor=True)  # type: ignore[arg-type]
    after, report, _ = run(made=made, clusters=4)
    assert after.labels is not None
    assert set(after.labels) <= set(range(4))
    assert np.isfinite(report.figures["fld_after"])


def test_cluster_labels_depend_on_their_seed_alone() -> None:
    data = dataset("dense", 40, 0)
    np.random.seed(1)  # noqa: NPY002 (the global generator must not matter)
    first = target_labels(data, 5, 7)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, target_labels(data, 5, 7))


# -- conditional entropy can be cheated, mutual information cannot -------------------------------------------------


def _distortions(fld: str, hidden: torch.Tensor) -> float:
    made = state(predictor=True)
    made.labels = target_labels(made.train, 3, 0)
    problem = _Problem(made, AlignConfig(**{**FAST, "fld": fld}), Streams(0))
    return float(problem.distortion(hidden, problem.labels))


def test_a_collapsed_embedder_satisfies_conditional_entropy_only() -> None:
    """Everything sent to one certain source class: H(z|z') = 0, its minimum, although z says nothing about z'."""
    predictor = state(predictor=True).predictor
    assert predictor is not None
    corner = 1000 * (predictor.weight[0] - predictor.weight[1:].mean(0))
    collapsed = corner.expand(60, -1)
    assert _distortions("conditional", collapsed) == pytest.approx(0.0, abs=1e-3)
    assert _distortions("mutual", collapsed) == pytest.approx(0.0, abs=1e-3)  # its maximum
    assert _distortions("leep", collapsed) == pytest.approx(np.log(3), abs=1e-3)  # its worst, H(z')
    generator = torch.Generator().manual_seed(0)
    spread = bank().hidden[torch.randint(0, 160, (60,), generator=generator)]
    assert _distortions("mutual", spread) <= 1e-6


def _informative(fld: str) -> tuple[float, float]:
    """I(z; z') and H(z) after minimising one distortion for a while."""
    made = state(predictor=True)
    after, _, _ = run(made=made, fa=None, fld=fld, distortion_steps=60, learning_rate=2e-2, batch_size=60)
    problem = _Problem(after, AlignConfig(**FAST), Streams(0))
    assert after.predictor is not None
    with torch.no_grad():
        hidden = problem.hidden(*problem.tokens(np.arange(60)))
        probs = (hidden @ after.predictor.weight.T + after.predictor.bias).softmax(-1)
    return float(mutual_information(probs, problem.labels, num_labels=3)), float(marginal_entropy(probs))


def test_training_on_conditional_entropy_collapses_where_mutual_information_does_not() -> None:
    collapsed, kept = _informative("conditional"), _informative("mutual")
    assert collapsed[1] < 0.5 * kept[1]  # the marginal H(z) dies
    assert kept[0] > 2 * collapsed[0] + 0.05  # so z can no longer say anything about z'


def test_mutual_is_conditional_minus_the_marginal() -> None:
    probs = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    labels = torch.arange(30) % 3
    given = conditional_entropy(probs, labels, direction="z_given_label", num_labels=3)
    difference = given - marginal_entropy(probs)
    assert float(-mutual_information(probs, labels, num_labels=3)) == pytest.approx(float(difference), abs=1e-6)


# -- when ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("sequential", ["fa"] * 6 + ["fld"] * 4),
        ("joint", ["fa+fld"] * 6),
        ("constrained", ["fa"] * 6 + ["fa+fld"] * 4),
        ("alternating", ["fa", "fld"] * 5),
    ],
)
def test_schedules_activate_the_right_terms(schedule: str, expected: list[str]) -> None:
    _, report, recorder = run(schedule=schedule)
    steps = recorder.of("step")
    assert ["+".join(term for term in ("fa", "fld") if term in step) for step in steps] == expected
    assert report.steps == len(expected)


@pytest.mark.parametrize(("options", "term"), [({"fld": None}, "fa"), ({"fa": None}, "fld")])
def test_a_term_left_out_never_appears(options: dict[str, Any], term: str) -> None:
    _, _, recorder = run(**options)
    assert {t for step in recorder.of("step") for t in ("fa", "fld") if t in step} == {term}


class Hurried(Recorder):
    """A stage whose time is over after ten steps: each takes a tenth of it."""

    def progress(self, step: int) -> float:
        return step / 10

    def remaining(self) -> float:
        return 1e9


def test_distortion_keeps_its_share_where_time_ends_first() -> None:
    made = replace(state(predictor=True), monitor=Hurried())
    _, report, recorder = run(made=made, steps=60, distortion_steps=15, keep="best")
    active = ["+".join(term for term in ("fa", "fld") if term in step) for step in recorder.of("step")]
    assert active == ["fa"] * 8 + ["fld"] * 2
    assert report.stopped_by == "budget"
    assert [event["step"] for event in recorder.of("candidate")] == [0, 4, 8, 10]


def test_the_joint_loss_is_the_weighted_sum() -> None:
    _, _, recorder = run(schedule="joint", weight=0.3)
    for step in recorder.of("step"):
        assert step["loss"] == pytest.approx(step["fa"] + 0.3 * step["fld"], rel=1e-5)


def test_the_constraint_keeps_alignment_where_a_free_distortion_loses_it() -> None:
    options: dict[str, Any] = {"steps": 25, "distortion_steps": 30, "learning_rate": 2e-2, "fld": "mutual"}
    _, free, _ = run(schedule="sequential", **options)
    _, held, _ = run(schedule="constrained", tolerance=0.05, **options)
    assert held.figures["fa_after"] < 0.9 * free.figures["fa_after"]


# -- batches ------------------------------------------------------------------------------------------------------


def test_batches_are_balanced_over_classes() -> None:
    made = state(predictor=True)
    made.labels = np.array([0] * 50 + [1] * 6 + [2] * 4)
    problem = _Problem(made, AlignConfig(**{**FAST, "batch_size": 12}), Streams(0))
    for _ in range(5):
        rows = problem.rows()
        assert len(set(rows)) == 12
        assert np.bincount(made.labels[rows], minlength=3).tolist() == [4, 4, 4]


def test_small_classes_give_what_they_have() -> None:
    made = state(predictor=True)
    made.labels = np.array([0] * 57 + [1] * 3)
    problem = _Problem(made, AlignConfig(**{**FAST, "batch_size": 20}), Streams(0))
    assert np.bincount(made.labels[problem.rows()]).tolist() == [17, 3]


def test_token_means_ignore_padding() -> None:
    tokens = torch.randn(2, 4, 3)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    expected = torch.stack([tokens[0, :2].mean(0), tokens[1].mean(0)])
    assert torch.allclose(token_means(tokens, mask), expected, atol=1e-6)


# -- reports, limits, refusals --------------------------------------------------------------------------------------


def test_the_stage_reports_itself() -> None:
    _, report, recorder = run()
    assert report.stage == "align"
    assert report.stopped_by == "steps"
    assert {"fa_before", "fa_after", "fld_before", "fld_after", "spread_ratio_before", "spread_ratio_after"} <= set(
        report.figures
    )
    assert report.figures["converged"] is True
    arrays = recorder.arrays["alignment"]
    assert arrays["before"].shape == arrays["after"].shape
    assert len(arrays["labels"]) == len(arrays["after"])
    assert not np.array_equal(arrays["before"], arrays["after"])


def test_a_contracted_cloud_is_called_by_its_name() -> None:
    """Few points, many steps: mini-batch transport pulls the target points together, and the report says so."""
    _, report, _ = run(fld=None, steps=80, target_points=4, batch_size=4, learning_rate=3e-2, space="means")
    assert report.figures["spread_ratio_after"] < 0.5
    assert any("contracted" in note for note in report.notes)


def test_a_budget_of_no_time_takes_no_step() -> None:
    from crosstune.stages.monitor import Limit

    made = state(predictor=True, monitor=Recorder({"align": Limit(seconds=0.0)}))
    before = snapshot(made.model)
    after, report, _ = run(made=made)
    assert report.steps == 0
    assert report.stopped_by == "budget"
    assert changed(before, snapshot(after.model)) == set()


def test_nothing_to_minimise_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither FA nor FLD"):
        run(fa=None, fld=None)


def test_distortion_without_a_source_predictor_is_refused() -> None:
    with pytest.raises(ConfigError, match="SourceHeadConfig"):
        run(made=state())


def test_alignment_alone_needs_no_source_predictor() -> None:
    _, report, _ = run(made=state(), fld=None)
    assert report.figures["fa_after"] < report.figures["fa_before"]


# -- without labelled source data ---------------------------------------------------------------------------------


def test_without_labels_mean_and_spread_of_the_tokens_are_matched() -> None:
    """Whatever was configured: hidden features and source classes are not there to be aligned with."""
    made = state()
    made.source = replace(bank(), hidden=bank().hidden[:0], labels=bank().labels[:0], classes=())
    after, report, _ = run(made=made, space="hidden", fa="exact", steps=40, learning_rate=1e-2)
    assert report.steps == 40
    assert report.figures["fa_after"] < 0.5 * report.figures["fa_before"]
    assert "fld_after" not in report.figures
    assert any("no labelled source data" in note for note in report.notes)
    source = bank().tokens[bank().mask]
    x = torch.from_numpy(dataset("classification", 60, 0).X)
    after.model.eval()
    tokens, mask = after.model.tokens(x, None)
    fresh = state().model.eval()
    before, _ = fresh.tokens(x, None)

    def gap(points: torch.Tensor) -> float:
        mean, spread = points.mean(0) - source.mean(0), points.std(0) - source.std(0)
        return float((mean.square().sum() + spread.square().sum()).detach())

    assert gap(tokens[mask]) < 0.5 * gap(before[mask])


def test_tokens_of_some_rows_carry_the_labels_of_those_rows() -> None:
    rows = torch.tensor([3, 8, 21])
    part = replace(bank(), tokens=bank().tokens[rows], mask=bank().mask[rows], rows=rows,
                   means=token_means(bank().tokens, bank().mask))  # fmt: skip
    points, labels = part.token_points()
    assert torch.equal(points, bank().tokens[rows][bank().mask[rows]])
    assert labels.tolist() == bank().labels[rows].repeat_interleave(bank().mask[rows].sum(1)).tolist()
    assert len(part.token_means()) == len(part.labels)


# -- what is kept --------------------------------------------------------------------------------------------------


def loo_error(made: State) -> float:
    generator = np.random.Generator(np.random.PCG64(0))
    return fit_head(made.model, made.train, max_rows=512, generator=generator).relative_press


def test_an_alignment_that_costs_more_than_it_brings_is_undone() -> None:
    made = state(predictor=True)
    before = snapshot(made.model)
    after, report, recorder = run(
        1, made=made, keep="best"
    )  # draws with which every step makes the head's error larger
    errors = {e["step"]: e["relative_press"] for e in recorder.events if e["kind"] == "candidate"}
    assert errors[0] < min(error for step, error in errors.items() if step)
    assert changed(before, snapshot(after.model)) == set()
    assert report.figures["kept_step"] == 0
    assert "kept the embedder of step 0 of 10" in " ".join(report.notes)


@pytest.mark.parametrize("rate", [3e-3, 100.0])
def test_the_kept_embedder_is_the_best_of_those_judged(rate: float) -> None:
    after, report, recorder = run(learning_rate=rate, keep="best")
    errors = {e["step"]: e["relative_press"] for e in recorder.events if e["kind"] == "candidate"}
    assert set(errors) == {0, 3, 6, 10}
    assert errors[report.figures["kept_step"]] == min(errors.values())
    assert loo_error(after) == pytest.approx(min(errors.values()), rel=1e-6)


def test_judging_changes_neither_the_head_nor_the_steps() -> None:
    made, other = state(predictor=True), state(predictor=True)
    head = {name: value.clone() for name, value in made.model.head.state_dict().items()}
    _, _, judged = run(made=made, keep="best")
    _, _, plain = run(made=other, keep="last")
    assert all(torch.equal(value, made.model.head.state_dict()[name]) for name, value in head.items())
    losses = [[e["loss"] for e in r.events if e["kind"] == "step"] for r in (judged, plain)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kind", ["dense", "segmentation"])
def test_embedders_of_fields_are_compared_by_what_single_tokens_paint(kind: TargetKind) -> None:
    made = state(kind, predictor=True)
    head = {name: value.clone() for name, value in made.model.head.state_dict().items()}
    after, report, recorder = run(made=made, learning_rate=1.0, keep="best")
    errors = {e["step"]: e["relative_press"] for e in recorder.events if e["kind"] == "candidate"}
    assert len(set(errors.values())) == 4
    assert all(0 < error < 3 for error in errors.values())
    assert errors[report.figures["kept_step"]] == min(errors.values())
    assert all(torch.equal(value, after.model.head.state_dict()[name]) for name, value in head.items())
    again = Candidates(after)
    assert again.judge(0) == pytest.approx(min(errors.values()), rel=1e-5)


def test_tokens_that_hold_their_window_paint_it_and_tokens_of_noise_do_not() -> None:
    made = state("dense", predictor=True)
    head, rows = made.model.head, np.arange(len(made.train))
    assert isinstance(head, FieldHead)
    target = made.train.X[:, :1]  # the field to paint is the signal itself
    same = replace(made.train, y=target)
    shuffled = replace(made.train, y=np.random.default_rng(0).permutation(target))
    errors = [token_error(made.model, head, data, rows, torch.Generator().manual_seed(0)) for data in (same, shuffled)]
    assert errors[0] < 0.6 * errors[1]
    assert 0.8 < errors[1] < 1.3  # nothing to be learnt: no better than the mean
