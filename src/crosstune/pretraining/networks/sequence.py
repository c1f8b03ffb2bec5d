"""Series: windows as tokens, ModernBERT's layers (``crosstune.backbones.series``)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from crosstune.backbones.sequence import SequenceBody
from crosstune.backbones.series import STRIDE, WINDOW, SeriesSource, settings
from crosstune.pretraining.networks.contract import Built, Network
from crosstune.pretraining.recipe import Recipe


class SequenceNetwork(Network):
    """x (B, 1, L)."""

    values = WINDOW

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        shape = recipe.body
        self.settings = settings(shape.width, shape.layers, shape.heads, shape.inner)
        self.body = SequenceBody("series", "ModernBertModel", self.settings, {})
        self.source = SeriesSource(shape.width, generator=torch.Generator().manual_seed(int(torch.randint(2**31, ()))))

    def tokens(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        tokens = self.source(x)
        return tokens, self.source.grid_of(tokens)

    def windows(self, x: Tensor) -> Tensor:
        plan = self.source.embedder.plan
        short = plan.padded_for((x.shape[-1],))[0] - x.shape[-1]
        return torch.nn.functional.pad(x[:, 0], (0, max(0, short))).unfold(1, WINDOW, STRIDE)

    def config(self) -> dict[str, Any]:
        return {"architectures": ["ModernBertModel"], "dtype": "float16"} | self.settings

    def tensors(self) -> dict[str, Tensor]:
        found = {name: value.detach() for name, value in self.body.model.state_dict().items()}
        return {"embeddings.tok_embeddings.weight": self.source.table()} | found


NETWORK = Built("sequence", SequenceNetwork)
