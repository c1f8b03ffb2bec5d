"""Where the embedder begins: theta where it can be read, and by leave-one-out error where it helps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from crosstune.assembly import build_model, plan_model
from crosstune.backbones import Backbone, load_backbone
from crosstune.metrics import default_metric
from crosstune.stages.start import can_start, start_embedder
from crosstune.stages.state import State

from .problems import Recorder, dataset


def state_of(backbone: Backbone, recorder: Recorder) -> State:
    train, validation = dataset("classification", 60, 0), dataset("classification", 30, 1)
    config = plan_model(train, backbone.body, linear_part=False, embedder_seed=1)
    model = build_model(config, backbone.body, train, token_rms=backbone.token_rms()).eval()
    return State(model=model, backbone=backbone, train=train, validation=validation,
                 metric=default_metric("classification"), monitor=recorder)  # fmt: skip


def weights(state: State) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in state.model.embedder.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["twin-bert", "twin-vit"])
def test_words_and_pictures_start_no_embedder_of_series(name: str) -> None:
    state = state_of(load_backbone(name), Recorder())
    before = weights(state)
    assert not can_start(state.backbone, state.model)
    assert start_embedder(state, "theta").embedder == "random"
    assert same(before, weights(state))


def test_random_leaves_the_embedder_alone() -> None:
    state = state_of(load_backbone("tiny-sequence"), Recorder())
    before = weights(state)
    assert start_embedder(state, "random").note is None
    assert same(before, weights(state))


def test_theta_gives_the_tokens_of_theta() -> None:
    """On standardised series with windows of its own size."""
    backbone = load_backbone("tiny-sequence")
    state = state_of(backbone, Recorder())
    assert start_embedder(state, "theta").embedder == "theta"
    x = torch.from_numpy(np.asarray(state.train.X[:4], np.float32))
    with torch.no_grad():
        normal = state.model.normaliser(x)
        tokens, _ = state.model.embedder(normal)
        # windows of another size are resampled: the token of statistics is the same to rounding
        wanted = backbone.source(normal[:, :1])  # type: ignore[operator]
    if normal.shape[1] == 1:
        assert torch.allclose(tokens[:, 0], wanted[:, 0], atol=1e-4)


@pytest.mark.parametrize("useless", ["theta", "random"])
def test_best_keeps_the_one_that_the_target_can_be_fitted_on(useless: str) -> None:
    """Either is made useless in turn: all its weights zero, so that every row gets the same tokens."""
    backbone: Any = load_backbone("tiny-sequence")
    recorder = Recorder()
    state = state_of(backbone, recorder)
    if useless == "theta":
        backbone.source.read_table(torch.zeros_like(backbone.source.table()))
    else:
        with torch.no_grad():
            for parameter in state.model.embedder.parameters():
                parameter.zero_()
    before, head = weights(state), {k: v.clone() for k, v in state.model.head.state_dict().items()}
    found = start_embedder(state, "best")
    kept = found.embedder
    assert kept == ("random" if useless == "theta" else "theta")
    assert same(before, weights(state)) == (kept == "random")
    assert same(head, state.model.head.state_dict())  # judging leaves the head as it was
    event = recorder.of("start")[0]
    assert event["embedder"] == kept
    assert found.note is not None
    assert f"{event['press_theta']:.3f} as theta" in found.note
    better, worse = sorted((event["press_random"], event["press_theta"]))
    assert better < worse - 0.05


def test_a_short_limit_leaves_no_time_to_judge_both() -> None:
    recorder = Recorder()
    state = state_of(load_backbone("tiny-sequence"), recorder)
    assert start_embedder(state, "best", seconds=1e-3).embedder == "theta"
    assert recorder.of("start")[0]["press_theta"] is None
    longer = replace(state_of(load_backbone("tiny-sequence"), recorder))
    start_embedder(longer, "best", seconds=1e6)
    assert recorder.of("start")[1]["press_theta"] is not None
