"""Decoders of the Llama kind: rotary positions, RMS normalisation; attention causal, or opened to both sides."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.sequence import sequence_family


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 64, "max_position_embeddings": 256, "bos_token_id": None,
        "eos_token_id": None,
    }  # fmt: skip


FAMILY = (
    sequence_family(
        "llama", ("llama",), "LlamaModel", "decoder, rotary positions (Llama, SmolLM)", _twin, decoder=True
    ),
    sequence_family(
        "mistral", ("mistral",), "MistralModel", "decoder, rotary positions (Mistral)", _twin, decoder=True
    ),
    sequence_family(
        "qwen2", ("qwen2",), "Qwen2Model", "decoder, rotary positions (Qwen2, Qwen2.5)", _twin, decoder=True
    ),
    sequence_family(
        "qwen3",
        ("qwen3",),
        "Qwen3Model",
        "decoder, rotary positions (Qwen3)",
        lambda: _twin() | {"head_dim": 16},
        decoder=True,
    ),
)
