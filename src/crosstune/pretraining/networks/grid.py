"""Grids: square patches as tokens, the layers of a vision transformer (``crosstune.backbones.vit``)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from crosstune.backbones.grids import GridBody
from crosstune.backbones.vit import FAMILY
from crosstune.pretraining.networks.contract import Built, Network
from crosstune.pretraining.recipe import Recipe

PATCH, SIDE = 4, 32  # pixels; the side is that of the table of positions, other sizes interpolate it
SPREAD = 0.08  # of first weights: about the root of one over the width, so that a small body learns from the first step


class GridNetwork(Network):
    """x (B, 1, H, W), sides that are multiples of ``PATCH``."""

    values = PATCH * PATCH

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        shape = recipe.body
        self.settings: dict[str, Any] = {
            "model_type": "vit", "hidden_size": shape.width, "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads, "intermediate_size": shape.inner, "image_size": SIDE,
            "patch_size": PATCH, "num_channels": 1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
            "initializer_range": SPREAD,
        }  # fmt: skip
        family = next(f for f in FAMILY if f.name == "vit")
        body = family.build(self.settings)
        assert isinstance(body, GridBody)
        self.body = body
        self.source = family.source(self.settings, body)

    def tokens(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        return self.source(x), (x.shape[2] // PATCH, x.shape[3] // PATCH)

    def windows(self, x: Tensor) -> Tensor:
        return F.unfold(x, PATCH, stride=PATCH).transpose(1, 2)

    def config(self) -> dict[str, Any]:
        return {"architectures": ["ViTModel"], "dtype": "float16"} | self.settings

    def tensors(self) -> dict[str, Tensor]:
        theta = {f"embeddings.patch_embeddings.{name}": value for name, value in self.source.state_dict().items()}
        return {name: value.detach() for name, value in (theta | dict(self.body.model.state_dict())).items()}

    def preprocessor(self) -> dict[str, Any]:
        """``preprocessor_config.json``: brightness 0 to 1 becomes -3 to 3, as formulas of spread one have it."""
        return {"image_mean": [0.5], "image_std": [1 / 6], "size": {"height": SIDE, "width": SIDE}, "do_resize": False}


NETWORK = Built("grid", GridNetwork)
