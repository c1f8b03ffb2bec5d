"""Vision transformers: ViT, DeiT and DINOv2, which differ in their special tokens and in scales per layer."""

from __future__ import annotations

from typing import Any

from crosstune.backbones.grids import GridBody, grid_family


class DeitBody(GridBody):
    """With a distillation token behind the class token."""

    specials = ("cls_token", "distillation_token")


def _twin() -> dict[str, Any]:
    return {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 32,
        "patch_size": 4,
    }  # fmt: skip


def _dino_twin() -> dict[str, Any]:
    return {k: v for k, v in _twin().items() if k != "intermediate_size"} | {"mlp_ratio": 2}


FAMILY = (
    grid_family("vit", ("vit",), "ViTModel", "vision transformer (ViT, DINO)", _twin),
    grid_family("deit", ("deit",), "DeiTModel", "distilled vision transformer (DeiT)", _twin, body=DeitBody),
    grid_family(
        "dinov2", ("dinov2",), "Dinov2Model", "self-supervised vision transformer (DINOv2)", _dino_twin, options={}
    ),
)
