"""ModernBERT: rotary positions, local and global attention in turn, gated feed-forward layers."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.sequence import sequence_family


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 256, "pad_token_id": 0,
        "global_attn_every_n_layers": 2, "local_attention": 16, "bos_token_id": None, "eos_token_id": None,
        "cls_token_id": None, "sep_token_id": None,
    }  # fmt: skip


FAMILY = sequence_family(
    "modernbert",
    ("modernbert",),
    "ModernBertModel",
    "sequence encoder, rotary positions, long inputs (ModernBERT)",
    _twin,
)
