"""What a body computes: equal to transformers, blind to padding, reproducible from its seed."""

from __future__ import annotations

import pytest
import torch

from crosstune.backbones import Backbone, load_backbone
from crosstune.backbones.contract import shuffle_within_tensors
from crosstune.backbones.load import families

PASSAGES = ["Alignment of clouds.", "The quick brown fox jumps over the lazy dog, twice, and then it rests.", "x"]


@pytest.fixture(scope="module")
def minilm() -> Backbone:
    return load_backbone("minilm")


def test_minilm_equals_transformers_at_every_layer(minilm: Backbone) -> None:
    from transformers import BertModel

    witness = BertModel.from_pretrained(minilm.folder, local_files_only=True).eval()
    inputs = minilm.encode(PASSAGES, max_tokens=16)
    tokens, mask, _ = minilm.source_tokens(inputs)
    with torch.no_grad():
        ours = minilm.body.eval()(tokens, mask)
        theirs = witness(
            input_ids=inputs["input_ids"], attention_mask=mask.long(), output_hidden_states=True
        ).hidden_states
    assert len(ours) == minilm.info.layers + 1 == 7
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b)[mask].abs().max()) < 1e-5


def test_minilm_knows_that_sentences_mean_alike(minilm: Backbone) -> None:
    """The weights are what they claim to be: a sentence encoder."""
    texts = ["A man is eating pasta.", "Someone eats a plate of noodles.", "The stock market fell sharply."]
    tokens, mask, _ = minilm.source_tokens(minilm.encode(texts, max_tokens=16))
    with torch.no_grad():
        last = minilm.body.eval()(tokens, mask)[-1]
    pooled = (last * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    similarity = torch.nn.functional.cosine_similarity
    assert float(similarity(pooled[0], pooled[1], dim=0)) > float(similarity(pooled[0], pooled[2], dim=0)) + 0.3


@pytest.mark.parametrize("name", ["minilm", *(f"twin-{family}" for family in families())])
def test_padding_never_changes_valid_states(name: str) -> None:
    body = load_backbone(name).body.eval()
    generator = torch.Generator().manual_seed(0)
    tokens = 0.05 * torch.randn(2, 9, body.width, generator=generator)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 5:] = False
    longer = torch.cat([tokens, torch.randn(2, 4, body.width, generator=generator)], dim=1)
    longer[0, 5:] = 100.0
    padded = torch.cat([mask, torch.zeros(2, 4, dtype=torch.bool)], dim=1)
    with torch.no_grad():
        short, long = body(tokens, mask), body(longer, padded)
        alone = body(tokens[:1, :5], mask[:1, :5])  # the path without an attention mask
    for a, b, c in zip(short, long, alone, strict=True):
        assert torch.allclose(a[mask], b[:, :9][mask], atol=1e-5)
        assert torch.allclose(a[0, :5], c[0], atol=1e-5)
    assert len(short) == body.layers + 1


@pytest.mark.parametrize("family", list(families()))
def test_parameter_groups_name_every_parameter_once(family: str) -> None:
    body = load_backbone(f"twin-{family}").body
    grouped = [name for _, names in body.groups() for name in names]
    assert sorted(grouped) == sorted(name for name, _ in body.named_parameters())


@pytest.mark.parametrize("family", list(families()))
def test_a_body_is_rebuilt_from_its_own_config(family: str) -> None:
    body = load_backbone(f"twin-{family}").body.eval()
    again = families()[family].build(body.config_dict()).eval()
    again.load_state_dict(body.state_dict())
    tokens, mask = torch.randn(1, 4, body.width), torch.ones(1, 4, dtype=torch.bool)
    with torch.no_grad():
        assert torch.equal(body(tokens, mask)[-1], again(tokens, mask)[-1])


def test_shuffled_weights_keep_every_tensors_values_and_lose_their_order(minilm: Backbone) -> None:
    made = load_backbone("minilm", weights="shuffled", seed=1)
    pretrained = {**dict(minilm.body.named_parameters()), **dict(minilm.source.named_parameters())}
    shuffled = {**dict(made.body.named_parameters()), **dict(made.source.named_parameters())}
    assert list(pretrained) == list(shuffled)
    moved = 0
    for name, tensor in pretrained.items():
        assert torch.equal(tensor.detach().flatten().sort().values, shuffled[name].detach().flatten().sort().values)
        moved += int(not torch.equal(tensor, shuffled[name]))
    assert moved == len(pretrained)


def test_buffers_are_no_weights_and_stay_as_they_are() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(5, 5), torch.nn.BatchNorm1d(5))
    module[1].running_mean.copy_(torch.arange(5.0))  # type: ignore[union-attr,operator]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    shuffle_within_tensors(module, 3)
    after = module.state_dict()
    for name, _ in module.named_buffers():
        assert torch.equal(before[name], after[name])
    assert not torch.equal(before["0.weight"], after["0.weight"])


def test_shuffled_and_random_weights_follow_their_seed(minilm: Backbone) -> None:
    name = "model.encoder.layer.0.output.dense.weight"

    def weight(kind: str, seed: int) -> torch.Tensor:
        return dict(load_backbone("minilm", weights=kind, seed=seed).body.named_parameters())[name]  # type: ignore[arg-type]

    for kind in ("shuffled", "random"):
        first = weight(kind, 1)
        assert torch.equal(first, weight(kind, 1))
        assert not torch.equal(first, weight(kind, 2))
        assert not torch.equal(first, dict(minilm.body.named_parameters())[name])


def test_info_says_which_weights_it_holds() -> None:
    assert load_backbone("minilm", weights="random", seed=7).info.as_dict()["seed"] == 7
    assert load_backbone("minilm").info.seed is None
    assert load_backbone("twin-bert", seed=3).info.weights == "random"


@pytest.mark.parametrize(
    ("name", "weights"),
    [("twin-bert", "pretrained"), ("minilm", "pretrained"), ("minilm", "random"), ("minilm", "shuffled")],
)
def test_loading_leaves_the_global_generator_alone(name: str, weights: str) -> None:
    before = torch.random.get_rng_state()
    load_backbone(name, weights=weights)  # type: ignore[arg-type]
    assert torch.equal(before, torch.random.get_rng_state())


def test_twins_differ_by_seed() -> None:
    first, second = (load_backbone("twin-bert", seed=s).body.state_dict() for s in (0, 1))
    assert any(not torch.equal(first[k], second[k]) for k in first)


def test_text_to_tokens_is_stable_without_a_tokeniser() -> None:
    twin = load_backbone("twin-bert")
    inputs = twin.encode(PASSAGES, max_tokens=8)
    assert inputs["input_ids"].shape == (3, 8)
    assert inputs["attention_mask"].sum(1).tolist() == [3, 8, 1]
    assert torch.equal(inputs["input_ids"], twin.encode(PASSAGES, max_tokens=8)["input_ids"])
