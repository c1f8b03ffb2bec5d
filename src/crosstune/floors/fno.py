"""A Fourier neural operator trained from nothing: the usual choice for fields that follow a differential equation."""

from __future__ import annotations

import math
from typing import Any

from crosstune.floors.base import FloorSpec
from crosstune.floors.fields import another_grid
from crosstune.floors.network import NetworkFloor, Shape

_WIDTH = {1: 32, 2: 24}
_MODES = {1: 16, 2: 12}
_PADDING = 0.125


class Fno(NetworkFloor):
    """Four Fourier layers with grid positions as extra channels; fields that do not wrap round are padded by an eighth.

    Answers on the grid of the query, whatever the grid of training was.
    """

    any_resolution = True

    def build(self, shape: Shape) -> Any:
        from crosstune.nn.fourier import FourierOperator

        padding = 0.0 if shape.periodic else _PADDING
        return FourierOperator(
            shape.inputs, shape.outputs, width=_WIDTH[len(shape.sizes)], modes=_modes(shape), padding=padding
        )

    def seconds_per_step(self, shape: Shape, batch: int) -> float:
        """Per point: pointwise maps (width squared) and transforms (width); plus the update of the weights."""
        axes = len(shape.sizes)
        width = _WIDTH[axes]
        per_point = {1: 5e-8, 2: 8e-8}[axes] * width + 8.5e-10 * width * (width + shape.inputs)
        weights = 4 * width**2 * math.prod(_modes(shape)) * 2 ** (axes - 1)
        return 2.5e-3 + 2e-8 * weights + batch * shape.points * per_point * (1 + _PADDING) ** axes


def _modes(shape: Shape) -> tuple[int, ...]:
    most = _MODES[len(shape.sizes)]
    return tuple(max(1, min(most, (n + 1) // 2)) for n in shape.sizes)


FLOOR = FloorSpec(
    name="fno",
    label="Fourier neural operator",
    summary="a small Fourier neural operator trained from nothing; input and target on one grid",
    kinds=("dense",),
    modalities=("series", "grid"),
    build=Fno,
    effort=4.0,
    least=15.0,
    imports=("torch", "crosstune.nn.fourier"),
    applies=another_grid,
)
