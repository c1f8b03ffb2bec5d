"""A U-Net trained from nothing: the usual choice for maps from images to images."""

from __future__ import annotations

from typing import Any

from crosstune.floors.base import FloorSpec
from crosstune.floors.fields import another_grid
from crosstune.floors.network import NetworkFloor, Shape

_WIDTH = 16
_DEPTH = 3


class UNet(NetworkFloor):
    """Up to three halvings of the grid; convolutions go round where the fields do."""

    rate = 1e-3  # twice as much is as good on most seeds and much worse on some

    def build(self, shape: Shape) -> Any:
        from crosstune.nn.unet import FieldUNet

        return FieldUNet(
            shape.inputs, shape.outputs, axes=len(shape.sizes), width=_WIDTH, depth=_depth(shape),
            periodic=shape.periodic,
        )  # fmt: skip

    def seconds_per_step(self, shape: Shape, batch: int) -> float:
        """Per point: convolutions (width squared), norms and activations (width)."""
        per_point = 1e-7 * _WIDTH + 4e-9 * _WIDTH * (_WIDTH + shape.inputs)
        return 5.5e-3 + batch * shape.points * per_point


def _depth(shape: Shape) -> int:
    """As many halvings as leave four points of the smallest axis, at least one."""
    return max(1, min(_DEPTH, min(shape.sizes).bit_length() - 3))


FLOOR = FloorSpec(
    name="unet",
    label="U-Net",
    summary="a small U-Net trained from nothing; input and target on one grid",
    kinds=("dense",),
    modalities=("series", "grid"),
    build=UNet,
    effort=4.1,
    least=15.0,
    imports=("torch", "crosstune.nn.unet"),
    applies=another_grid,
)
