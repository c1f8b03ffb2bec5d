"""Bodies that are transformers models taking ``inputs_embeds``: one class for encoders and decoders of text.

A family's file names the model class and its tiny twin; everything else follows from the configuration.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from crosstune.backbones.contract import Body, Family, Modality
from crosstune.backbones.transformers_io import load_model, plain_config

UNLIMITED = 4096  # tokens, where the architecture sets no limit: attention's cost does


class SequenceBody(Body):
    """A transformers model without its word embeddings. Tokens enter where word embeddings would.

    config: as ``config_dict`` gives it. model_class: name in ``transformers``. attention: "causal" or "bidirectional"
    for decoders, None for encoders.
    """

    def __init__(self, family: str, model_class: str, config: dict[str, Any], options: dict[str, Any]) -> None:
        super().__init__()
        kept = dict(config)
        attention = kept.pop("attention", None)
        self.family = family
        self.attention = attention
        cls = getattr(importlib.import_module("transformers"), model_class)
        self.hf_config = make_config(cls, kept)
        # the source embedder lives outside of the body: build it with as few rows as the padding index allows
        small = make_config(cls, kept | smallest_vocabulary(self.hf_config))
        self.model = cls(small, **options)
        words = self.model.get_input_embeddings()
        self.width = int(words.weight.shape[1])
        drop_module(self.model, words)
        count = int(self.hf_config.num_hidden_layers)
        self.widths = (int(self.hf_config.hidden_size),) * (count + 1)
        self.max_tokens = longest(self.hf_config)

    def encode(self, tokens: Tensor, mask: Tensor | None, grid: tuple[int, ...], lead: int) -> tuple[Tensor, ...]:
        attention = None if mask is None else mask.to(torch.long)
        extra: dict[str, Any] = {}
        if self.attention is not None:
            extra["use_cache"] = False
        if self.attention == "bidirectional":
            # a mask of four axes is taken as it is: the causal one is never made
            seen = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device) if mask is None else mask
            attention = seen[:, None, None, :].expand(-1, 1, tokens.shape[1], -1)
            attention = torch.zeros(attention.shape, dtype=tokens.dtype, device=tokens.device).masked_fill(
                ~attention, torch.finfo(tokens.dtype).min
            )
        out = self.model(inputs_embeds=tokens, attention_mask=attention, output_hidden_states=True, **extra)
        return (*out.hidden_states[:-1], out.last_hidden_state)

    def blocks(self) -> list[nn.Module]:
        return longest_list(self.model, int(self.hf_config.num_hidden_layers))

    def config_dict(self) -> dict[str, Any]:
        config = plain_config(self.hf_config)
        return config if self.attention is None else config | {"attention": self.attention}


def make_config(cls: Any, values: dict[str, Any]) -> Any:
    """The configuration object of a transformers model class from plain values."""
    return cls.config_class(**{k: v for k, v in values.items() if k not in ("architectures", "model_type")})


def smallest_vocabulary(config: Any) -> dict[str, Any]:
    """Changes that make the word embeddings as small as the padding index allows (positions may count from it)."""
    padding = getattr(config, "pad_token_id", None)
    changes: dict[str, Any] = {"vocab_size": 1 if padding is None or padding < 0 else padding + 1}
    if changes["vocab_size"] > 1024:  # a padding index at the end of the vocabulary is a row like any other
        changes |= {"vocab_size": 1, "pad_token_id": None}
    for name in ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        if getattr(config, name, None) is not None:
            changes[name] = None
    return changes


def longest(config: Any) -> int:
    """The most tokens the architecture takes."""
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        limit = getattr(config, name, None)
        if limit and limit > 0:
            # RoBERTa's and MPNet's positions count from behind the padding index
            offset = config.pad_token_id + 1 if config.model_type in COUNT_FROM_PADDING else 0
            return min(int(limit) - offset, UNLIMITED)
    return UNLIMITED


COUNT_FROM_PADDING = (
    "roberta",
    "xlm-roberta",
    "camembert",
    "mpnet",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "data2vec-text",
)


def drop_module(model: nn.Module, target: nn.Module) -> None:
    """Replace a sub-module by None wherever it hangs in the model, and embeddings that share its weights."""
    weight = getattr(target, "weight", None)
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            if child is target or (isinstance(child, nn.Embedding) and child.weight is weight):
                setattr(owner, name, None)


def longest_list(model: nn.Module, count: int) -> list[nn.Module]:
    """The ModuleList of ``count`` layers that holds the most parameters."""
    lists = [list(m) for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    return max(lists, key=_size, default=[])


def _size(modules: list[nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def random_words(config: dict[str, Any], body: Body) -> nn.Module:
    """Word embeddings with random weights, for twins."""
    rows = int(config.get("vocab_size", 512))
    return nn.Embedding.from_pretrained(torch.randn(rows, body.width) * 0.05, freeze=True)


def sequence_family(
    name: str, model_types: tuple[str, ...], model_class: str, summary: str, twin: Callable[[], dict[str, Any]], *,
    options: dict[str, Any] | None = None, decoder: bool = False, unused: tuple[str, ...] = (),
    modality: Modality = "text",
) -> Family:  # fmt: skip
    """A family of models that take ``inputs_embeds``. options: of the model's constructor; unused: beginnings of names
    of weights that a checkpoint may lack, such as a pooler's."""
    keywords = dict(options or {})

    def build(config: dict[str, Any]) -> Body:
        return SequenceBody(name, model_class, config, keywords)

    def load(
        folder: str, config: dict[str, Any], tensors: dict[str, Tensor], attention: str | None = None
    ) -> tuple[Body, nn.Module]:
        cls = getattr(importlib.import_module("transformers"), model_class)
        model = load_model(cls, folder, config, tensors, unused=unused, options=keywords)
        values = plain_config(model.config)
        body = build(values | {"attention": attention or "causal"} if decoder else values)
        words = model.get_input_embeddings()
        if words is None or not hasattr(words, "weight"):
            raise ValueError(f"{type(model).__name__} has no word embeddings")
        kept = set(body.model.state_dict())
        body.model.load_state_dict({k: v for k, v in model.state_dict().items() if k in kept}, strict=True)
        return body, nn.Embedding.from_pretrained(words.weight.detach().clone(), freeze=True)

    return Family(
        name=name, model_types=model_types, modality=modality, summary=summary, build=build, load=load, twin=twin,
        source=random_words, attentions=("causal", "bidirectional") if decoder else ("bidirectional",),
    )  # fmt: skip
