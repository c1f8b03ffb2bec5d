"""Every family keeps the contract: what transformers computes, from the checkpoints people download."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tests.contracts import native

from crosstune.backbones import Backbone, load_backbone
from crosstune.backbones.load import families
from crosstune.errors import UsageError, WeightsError

FAMILIES = sorted(families())


def test_every_family_has_a_witness() -> None:
    assert set(native.CLASSES) == set(FAMILIES)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


def run(backbone: Backbone, inputs: dict[str, torch.Tensor]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    tokens, mask, grid = backbone.source_tokens(inputs)
    with torch.no_grad():
        return backbone.body.eval()(tokens, mask, grid), mask


@pytest.mark.parametrize("family", FAMILIES)
def test_body_behind_theta_equals_transformers(family: str, root: Path) -> None:
    backbone = load_backbone(str(native.folder(family, root)))
    assert backbone.info.family == family
    inputs = native.native_input(family)
    states, mask = run(backbone, inputs)
    assert len(states) == backbone.body.layers + 1
    assert [s.shape[-1] for s in states] == list(backbone.body.widths)
    want = native.native_output(family, native.model(family), inputs)
    got = states[-1]
    if family.startswith("swin"):  # brought back to the tokens' grid: every second place is the stage's own
        got = got.unflatten(1, backbone.body.native_grid)[:, ::2, ::2].flatten(1, 2)
        mask = torch.ones(got.shape[:2], dtype=torch.bool)
    assert got.shape == want.shape
    assert float((got - want)[mask].abs().max()) < 1e-5
    assert float(want.std()) > 0.01  # a witness that says something


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpoints_with_a_head_give_the_same_body(family: str, root: Path) -> None:
    """What the hub holds is a model for some task, its weights under a prefix."""
    witness = native.model(family, head=True)
    folder = native.folder(family, root, head=True)
    backbone = load_backbone(str(folder))
    inputs = native.native_input(family)
    states, mask = run(backbone, inputs)
    bare = witness.get_encoder() if family == "t5" else witness.base_model
    want = native.native_output(family, bare, inputs)
    got = states[-1]
    if family.startswith("swin"):
        got = got.unflatten(1, backbone.body.native_grid)[:, ::2, ::2].flatten(1, 2)
        mask = torch.ones(got.shape[:2], dtype=torch.bool)
    assert float((got - want)[mask].abs().max()) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_config_is_plain_and_rebuilds_the_body(family: str) -> None:
    backbone = load_backbone(f"twin-{family}")
    again = families()[family].build(json.loads(json.dumps(backbone.body.config_dict())))
    again.load_state_dict(backbone.body.state_dict())
    tokens = 0.1 * torch.randn(2, 9, backbone.body.width, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 9, dtype=torch.bool)
    with torch.no_grad():
        a, b = backbone.body.eval()(tokens, mask), again.eval()(tokens, mask)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_groups_hold_every_parameter_once_in_order(family: str) -> None:
    body = load_backbone(f"twin-{family}").body
    groups = body.groups()
    names = [name for _, members in groups for name in members]
    assert sorted(names) == sorted(name for name, _ in body.named_parameters())
    layers = [name for name, _ in groups if name.startswith("layer")]
    assert layers == [f"layer {k}" for k in range(len(body.blocks()))]
    assert all(members for name, members in groups if name.startswith("layer"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_body_holds_no_source_embedder(family: str) -> None:
    """A portable model must not carry a vocabulary or a patch projection that it never uses."""
    backbone = load_backbone(f"twin-{family}")
    tokens = 0.1 * torch.randn(2, 10, backbone.body.width, generator=torch.Generator().manual_seed(0))
    states = backbone.body.train()(tokens, torch.ones(2, 10, dtype=torch.bool), (9,))
    sum(s.square().sum() for s in states).backward()  # type: ignore[union-attr]
    unused = [n for n, p in backbone.body.named_parameters() if p.grad is None]
    assert unused == []


@pytest.mark.parametrize("family", [f for f in FAMILIES if families()[f].modality == "image"])
@pytest.mark.parametrize("grid", [(8, 8), (5, 11), (3, 2), (13,), (2, 3, 4)])
def test_grids_of_any_shape(family: str, grid: tuple[int, ...]) -> None:
    body = load_backbone(f"twin-{family}").body.eval()
    count = math.prod(grid)
    tokens = 0.1 * torch.randn(2, count + 1, body.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = body(tokens, torch.ones(2, count + 1, dtype=torch.bool), grid)
    assert all(s.shape == (2, count + 1, w) and bool(s.isfinite().all()) for s, w in zip(states, body.widths))


def test_decoders_attend_as_asked() -> None:
    for family in [f for f in FAMILIES if len(families()[f].attentions) > 1]:
        for attention, sees in (("causal", False), ("bidirectional", True)):
            body = load_backbone(f"twin-{family}", attention=attention).body.eval()
            tokens = torch.randn(1, 6, body.width, generator=torch.Generator().manual_seed(0))
            other = tokens.clone()
            other[:, -1] = torch.randn(body.width, generator=torch.Generator().manual_seed(1))
            mask = torch.ones(1, 6, dtype=torch.bool)
            with torch.no_grad():
                change = (body(tokens, mask)[-1][:, 0] - body(other, mask)[-1][:, 0]).abs().max()
            assert (float(change) > 1e-5) == sees, (family, attention)


def test_an_attention_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the attention of bert cannot be 'causal'.*\n.*\n.*bidirectional"):
        load_backbone("twin-bert", attention="causal")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "clip"}, "takes input_ids only, no embedded tokens"),
        ({"model_type": "bart", "is_encoder_decoder": True}, "encoder-decoder"),
        ({"model_type": "resnet"}, "takes pixel_values only"),
        ({"model_type": "llamma"}, "no model of type 'llamma'"),
    ],
)
def test_what_no_adapter_can_take_is_refused_with_the_reason(
    config: dict[str, object], words: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=words):
        load_backbone(str(tmp_path))
