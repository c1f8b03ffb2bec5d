"""DeBERTa v2 and v3: disentangled attention over relative positions."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.sequence import sequence_family


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 128, "pad_token_id": 0, "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "max_relative_positions": -1,
        "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True, "type_vocab_size": 0,
    }  # fmt: skip


FAMILY = sequence_family(
    "deberta",
    ("deberta-v2",),
    "DebertaV2Model",
    "sequence encoder, relative positions (DeBERTa v2, v3)",
    _twin,
)
