"""BERT-like sequence encoders: learned absolute positions, post-layer-normalisation, bidirectional attention."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.sequence import sequence_family


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 128, "type_vocab_size": 2, "pad_token_id": 0,
    }  # fmt: skip


FAMILY = sequence_family(
    "bert",
    ("bert",),
    "BertModel",
    "sequence encoder, learned positions (BERT, MiniLM, BGE, E5 ...)",
    _twin,
    options={"add_pooling_layer": False},
)
