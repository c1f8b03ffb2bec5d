"""What the objectives need of a network, whatever the kind of data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from crosstune.backbones.contract import Body
from crosstune.pretraining.recipe import Recipe


class Network(nn.Module):
    """theta and a body, trained together.

    values: how many numbers ``windows`` gives per place.
    """

    body: Body
    values: int

    def tokens(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """x (B, C, *size) -> tokens (B, T, width) and the grid of their places: the last prod(grid) tokens belong to
        places, one before them may belong to none."""
        raise NotImplementedError

    def windows(self, x: Tensor) -> Tensor:
        """The raw values at every place, (B, prod(grid), values), of about unit spread: what hidden tokens stand
        for."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """``config.json`` of a folder that ``transformers.AutoModel`` and ``load_backbone`` read."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """``model.safetensors`` of that folder: names as transformers has them, theta included."""
        raise NotImplementedError

    def preprocessor(self) -> dict[str, Any] | None:
        """``preprocessor_config.json`` of that folder, for kinds whose inputs are scaled before theta sees them."""
        return None


class NetworkKind(Protocol):
    """name: of the recipe's kind."""

    name: str

    def build(self, recipe: Recipe) -> Network: ...


@dataclass(frozen=True)
class Built:
    """A kind of network whose making is a function."""

    name: str
    build: Any
