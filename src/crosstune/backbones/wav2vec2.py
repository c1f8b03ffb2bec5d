"""Wav2Vec2 and HuBERT: convolutional features of a wave, then a sequence encoder with convolutional positions."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from crosstune.backbones.contract import Body, Family, Native, Source
from crosstune.backbones.sequence import UNLIMITED, make_config
from crosstune.backbones.transformers_io import load_model, plain_config


class WaveSource(Source):
    """theta of audio bodies: convolutional features of normalised waves (n, samples), projected to tokens."""

    def __init__(self, extractor: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.extractor, self.projection = extractor, projection
        self.native = Native("audio", channels=1)

    def forward(self, waves: Tensor) -> Tensor:
        out = self.projection(self.extractor(waves).transpose(1, 2))
        return out[0] if isinstance(out, tuple) else out


class WaveBody(Body):
    """The encoder of a transformers Wav2Vec2-like model."""

    def __init__(self, family: str, model_class: str, config: dict[str, Any]) -> None:
        super().__init__()
        self.family = family
        cls = getattr(importlib.import_module("transformers"), model_class)
        self.hf_config = make_config(cls, config)
        self.model = cls(self.hf_config).encoder
        count = int(self.hf_config.num_hidden_layers)
        self.width = int(self.hf_config.hidden_size)
        self.widths = (self.width,) * (count + 1)
        self.max_tokens = UNLIMITED

    def encode(self, tokens: Tensor, mask: Tensor | None, grid: tuple[int, ...], lead: int) -> tuple[Tensor, ...]:
        encoder, attention = self.model, None
        if mask is not None:
            # the convolution over positions must not see what stands in the padding
            tokens = tokens.masked_fill(~mask[:, :, None], 0.0)
            attention = torch.zeros(len(mask), 1, 1, mask.shape[1], dtype=tokens.dtype, device=tokens.device)
            attention = attention.masked_fill(~mask[:, None, None], torch.finfo(tokens.dtype).min)
            attention = attention.expand(-1, 1, mask.shape[1], -1)
        states = tokens + encoder.pos_conv_embed(tokens)
        first = not self.hf_config.do_stable_layer_norm
        states = encoder.dropout(encoder.layer_norm(states) if first else states)
        found = [states]
        for layer in encoder.layers:
            out = layer(found[-1], attention_mask=attention)
            found.append(out[0] if isinstance(out, tuple) else out)
        if not first:
            found[-1] = encoder.layer_norm(found[-1])
        return tuple(found)

    def blocks(self) -> list[nn.Module]:
        return list(self.model.layers)

    def config_dict(self) -> dict[str, Any]:
        return plain_config(self.hf_config) | {"do_stable_layer_norm": self.hf_config.do_stable_layer_norm}


def _family(name: str, model_class: str, summary: str) -> Family:
    def build(config: dict[str, Any]) -> Body:
        return WaveBody(name, model_class, config)

    def model_of(config: dict[str, Any]) -> Any:
        cls = getattr(importlib.import_module("transformers"), model_class)
        return cls(make_config(cls, config))

    def load(folder: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Body, nn.Module]:
        cls = getattr(importlib.import_module("transformers"), model_class)
        model = load_model(cls, folder, config, tensors, unused=("masked_spec_embed", "adapter."))
        body = build(config)
        body.model.load_state_dict(model.encoder.state_dict(), strict=True)
        return body, WaveSource(model.feature_extractor, model.feature_projection)

    def source(config: dict[str, Any], body: Body) -> nn.Module:
        model = model_of(config)
        return WaveSource(model.feature_extractor, model.feature_projection)

    return Family(name=name, model_types=(name,), modality="audio", summary=summary, build=build, load=load,
                  twin=_twin, source=source)  # fmt: skip


def _twin() -> dict[str, Any]:
    return {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
        "conv_dim": [16, 16, 16], "conv_kernel": [10, 8, 4], "conv_stride": [5, 8, 4], "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "vocab_size": 32, "mask_time_prob": 0.0,
        "mask_feature_prob": 0.0,
    }  # fmt: skip


FAMILY = (
    _family("wav2vec2", "Wav2Vec2Model", "audio encoder, convolutional positions (Wav2Vec2, XLS-R)"),
    _family("hubert", "HubertModel", "audio encoder, convolutional positions (HuBERT)"),
)
