"""MPNet: BERT with relative position buckets, pretrained by permuted prediction."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.sequence import sequence_family


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 130, "pad_token_id": 1,
    }  # fmt: skip


FAMILY = sequence_family(
    "mpnet",
    ("mpnet",),
    "MPNetModel",
    "sequence encoder, learned and relative positions (MPNet)",
    _twin,
    options={"add_pooling_layer": False},
)
