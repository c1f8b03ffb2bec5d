"""Stage 0: a predictor that knows the proxy, and a penalty that holds its gradients down where it was not trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from crosstune.information.lipschitz import linear_head_gradient_norms
from crosstune.seeding import Streams
from crosstune.stages import source_head
from crosstune.stages.source_head import SourceHeadConfig, mean_hidden, source_labels
from crosstune.stages.state import State

from .problems import Recorder, backbone, bank, changed, snapshot, state


def run(config: SourceHeadConfig, seed: int = 0) -> tuple[State, dict[str, float]]:
    made, report = source_head.run(state(), config, streams=Streams(seed))
    return made, dict(report.figures)


def test_the_head_predicts_held_out_passages() -> None:
    made, figures = run(SourceHeadConfig(tau=None))
    assert made.source is not None
    assert figures["holdout_accuracy"] > 0.8
    assert figures["passages"] == 160
    held = made.source.holdout
    assert int(held.sum()) == 32
    assert made.predictor is not None
    logits = made.source.hidden[held] @ made.predictor.weight.T + made.predictor.bias
    accuracy = float((logits.argmax(1) == made.source.labels[held]).float().mean())
    assert accuracy == pytest.approx(figures["holdout_accuracy"])


def test_the_penalty_lowers_gradient_norms_at_held_out_passages() -> None:
    free, steep = run(SourceHeadConfig(tau=None))
    bound, figures = run(SourceHeadConfig(tau=0.1, rho=100.0))

    def norms(made: State) -> torch.Tensor:
        assert made.source is not None
        assert made.predictor is not None
        h, z = made.source.hidden[made.source.holdout], made.source.labels[made.source.holdout]
        return linear_head_gradient_norms(h, made.predictor.weight, made.predictor.bias, z)

    def excess(made: State) -> float:
        return float((norms(made) - 0.1).clamp_min(0).square().mean())

    # a certain head is flat almost everywhere and steep at its mistakes: the penalty works on those
    assert excess(bound) < 0.1 * excess(free)
    assert float(norms(bound).max()) < 0.2 * float(norms(free).max())
    assert figures["lipschitz"] < 0.5 * steep["lipschitz"]
    assert figures["gradient_norm_p99"] <= figures["gradient_norm_max"] <= figures["lipschitz"]
    assert figures["holdout_accuracy"] > 0.8  # flat, not ignorant


def test_the_gradient_norm_is_that_of_autograd() -> None:
    made, figures = run(SourceHeadConfig(tau=None))
    assert made.source is not None
    assert made.predictor is not None
    h = made.source.hidden.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(
        h @ made.predictor.weight.T + made.predictor.bias, made.source.labels, reduction="sum"
    )
    (gradient,) = torch.autograd.grad(loss, h)
    assert float(gradient.norm(dim=1).max()) == pytest.approx(figures["gradient_norm_max"], rel=1e-4)


def test_the_body_is_not_touched() -> None:
    made = state()
    before = snapshot(made.backbone.body) | snapshot(made.model)
    after, _ = source_head.run(made, SourceHeadConfig(), streams=Streams(0))
    assert changed(before, snapshot(after.backbone.body) | snapshot(after.model)) == set()


def test_cluster_labels_give_the_asked_number_of_classes() -> None:
    made, figures = run(SourceHeadConfig(labels="clusters:7"))
    assert made.source is not None
    assert figures["classes"] == 7 == len(made.source.classes)
    assert set(made.source.labels.tolist()) == set(range(7))


def test_clusters_are_never_more_than_a_quarter_of_the_passages() -> None:
    labels, classes = source_labels(bank(), "clusters:1000", 0)
    assert len(classes) == 40
    assert int(labels.max()) < 40


@pytest.mark.parametrize("spec", ["cluster:7", "clusters:0", "clusters:x", "", "topics "])
def test_other_label_specifications_are_refused(spec: str) -> None:
    with pytest.raises(ValidationError, match="labels"):
        SourceHeadConfig(labels=spec)


def test_same_seed_same_head_other_seed_other_holdout() -> None:
    (a, _), (b, _), (c, _) = (run(SourceHeadConfig(), seed) for seed in (0, 0, 1))
    assert a.predictor is not None
    assert b.predictor is not None
    assert torch.equal(a.predictor.weight, b.predictor.weight)
    assert a.source is not None
    assert c.source is not None
    assert not torch.equal(a.source.holdout, c.source.holdout)


def test_mean_hidden_ignores_padding_and_batching() -> None:
    source = bank()
    body = backbone().body
    alone = torch.cat([mean_hidden(body, source.tokens[i : i + 1, :k], source.mask[i : i + 1, :k])
                       for i, k in enumerate(source.mask.sum(1)[:8].tolist())])  # fmt: skip
    assert torch.allclose(source.hidden[:8], alone, atol=1e-5)


def test_the_stage_reports_itself() -> None:
    recorder = Recorder()
    made, report = source_head.run(state(monitor=recorder), SourceHeadConfig(), streams=Streams(0))
    assert report.stage == "source_head"
    assert 0 < report.steps <= 150
    assert [event["stage"] for event in recorder.of("step")] == ["source_head"]
    assert report.as_dict()["figures"]["classes"] == 4
    assert made.source is not bank()


def test_without_labels_nothing_is_learnt() -> None:
    made = state()
    empty = replace(bank(), hidden=bank().hidden[:0], labels=bank().labels[:0], holdout=bank().holdout[:0], classes=())
    made.source = empty
    after, report = source_head.run(made, SourceHeadConfig(), streams=Streams(0))
    assert after is made
    assert after.predictor is None
    assert (report.steps, report.stopped_by) == (0, "no labels")


def test_classes_and_topics_are_one() -> None:
    one, two = (run(SourceHeadConfig(labels=spec))[1] for spec in ("classes", "topics"))
    assert one == two
