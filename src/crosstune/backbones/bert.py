"""BERT-like sequence encoders: learned absolute positions, post-layer-normalisation, bidirectional attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from crosstune.backbones.contract import Body, Family
from crosstune.errors import DataError

_KEPT = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "initializer_range", "layer_norm_eps", "pad_token_id",
)  # fmt: skip


class BertBody(Body):
    """transformers' ``BertModel`` without word embeddings and pooler. Tokens enter where word embeddings would."""

    family = "bert"

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        from transformers import BertConfig
        from transformers.models.bert.modeling_bert import BertModel

        self.hf_config = BertConfig(**{k: v for k, v in config.items() if k != "architectures"})
        # the source embedder lives outside of the body: build it with one row instead of a vocabulary
        small = BertConfig(**{**self.hf_config.to_dict(), "vocab_size": 1, "pad_token_id": 0})
        self.model = BertModel(small, add_pooling_layer=False)
        del self.model.embeddings.word_embeddings
        self.model.embeddings.word_embeddings = None  # type: ignore[assignment]
        self._measure()

    def _measure(self) -> None:
        self.width = self.hidden = int(self.hf_config.hidden_size)
        self.layers = int(self.hf_config.num_hidden_layers)
        self.max_tokens = int(self.hf_config.max_position_embeddings)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        if tokens.shape[1] > self.max_tokens:
            raise DataError(
                f"{tokens.shape[1]} tokens exceed the body's limit of {self.max_tokens}",
                cause="a series much longer than those the model was fitted on",
                fix="cut or resample the series, or fit again with longer series in the training data",
            )
        # a batch without padding needs no mask: attention is faster and the result the same
        attention = None if bool(mask.all()) else mask.to(torch.long)
        out = self.model(inputs_embeds=tokens, attention_mask=attention, output_hidden_states=True)
        return tuple(out.hidden_states)

    def groups(self) -> list[tuple[str, list[str]]]:
        names = [name for name, _ in self.named_parameters()]
        found = [("embeddings", [n for n in names if ".embeddings." in n])]
        for layer in range(self.layers):
            found.append((f"layer {layer}", [n for n in names if f".layer.{layer}." in n]))
        return found

    def config_dict(self) -> dict[str, Any]:
        return {key: getattr(self.hf_config, key) for key in _KEPT}


def _load(folder: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Body, nn.Module]:
    body = BertBody(config)
    stripped = {name.removeprefix("bert."): tensor.to(torch.float32) for name, tensor in tensors.items()}
    words = stripped.pop("embeddings.word_embeddings.weight")
    expected = set(body.model.state_dict())
    body.model.load_state_dict({k: v for k, v in stripped.items() if k in expected}, strict=True)
    return body, nn.Embedding.from_pretrained(words, freeze=True)


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 128, "type_vocab_size": 2, "pad_token_id": 0,
    }  # fmt: skip


FAMILY = Family(
    name="bert",
    model_types=("bert",),
    modality="text",
    summary="sequence encoder, learned positions (BERT, MiniLM, BGE, E5 ...)",
    build=BertBody,
    load=_load,
    twin=_twin,
)
