"""The encoder of T5: relative position buckets, no limit of length by construction."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.sequence import sequence_family


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2,
    }  # fmt: skip


FAMILY = sequence_family(
    "t5",
    ("t5",),
    "T5EncoderModel",
    "encoder of T5, relative positions (T5, Flan-T5, ProstT5)",
    _twin,
)
