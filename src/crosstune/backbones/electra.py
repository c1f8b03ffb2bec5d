"""ELECTRA discriminators: as BERT, with tokens narrower than hidden states."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.sequence import sequence_family


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "embedding_size": 16, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 128, "pad_token_id": 0,
    }  # fmt: skip


FAMILY = sequence_family(
    "electra",
    ("electra",),
    "ElectraModel",
    "sequence encoder, learned positions, narrow tokens (ELECTRA)",
    _twin,
)
