"""DistilBERT: BERT distilled to half its layers, without token types."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.sequence import sequence_family


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings":
        128, "pad_token_id": 0,
    }  # fmt: skip


FAMILY = sequence_family(
    "distilbert",
    ("distilbert",),
    "DistilBertModel",
    "sequence encoder, learned positions (DistilBERT)",
    _twin,
)
