"""RoBERTa and XLM-RoBERTa: as BERT, with positions counted from behind the padding index."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.sequence import sequence_family


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 130, "type_vocab_size": 1, "pad_token_id": 1,
    }  # fmt: skip


FAMILY = sequence_family(
    "roberta",
    ("roberta", "xlm-roberta", "camembert"),
    "RobertaModel",
    "sequence encoder, learned positions (RoBERTa, XLM-R, CamemBERT)",
    _twin,
    options={"add_pooling_layer": False},
)
