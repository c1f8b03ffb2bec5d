"""GPT-2: a decoder with learned positions; its attention may be opened to both sides."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.sequence import sequence_family


def _twin() -> dict[str, Any]:
    return {
        "vocab_size": 512, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128, "bos_token_id": None,
        "eos_token_id": None,
    }  # fmt: skip


FAMILY = sequence_family(
    "gpt2",
    ("gpt2",),
    "GPT2Model",
    "decoder, learned positions (GPT-2, DistilGPT-2)",
    _twin,
    decoder=True,
)
