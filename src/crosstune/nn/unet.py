"""A small U-Net (Ronneberger, Fischer and Brox 2015) for fields on one or two axes of space."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crosstune.nn.fourier import cut

_MOST_GROUPS = 8


class FieldUNet(nn.Module):
    """Two convolutions per level, means over 2 points on the way down, copies on the way up, joined level by level.

    inputs, outputs: channels. axes: 1 or 2. width: channels of the finest level, doubled on each of ``depth`` coarser
    ones. periodic: convolutions go round instead of meeting zeros at the edge; shifts by multiples of 2^depth points
    then commute with the network, on grids whose sizes are multiples of 2^depth. Other sizes are continued to the
    next multiple (round, or by the last value) and cut afterwards.
    """

    def __init__(
        self, inputs: int, outputs: int, *, axes: int, width: int, depth: int = 3, periodic: bool = False
    ) -> None:
        super().__init__()
        if axes not in (1, 2):
            raise ValueError(f"a U-Net on {axes} axes is not implemented, only on 1 or 2")
        self.axes, self.depth, self.periodic = axes, depth, periodic
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _level(axes, before, after, periodic) for before, after in pairwise([inputs, *widths])
        )
        self.up = nn.ModuleList(_level(axes, after + before, before, periodic) for before, after in pairwise(widths))
        self.head = _convolution(axes, width, outputs, 1, periodic)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, N_1[, N_2]) to (B, outputs, N_1[, N_2])."""
        sizes = x.shape[2:]
        x = self._continued(x)
        levels = []
        for i, level in enumerate(self.down):
            x = level(x if i == 0 else _halved(x))
            levels.append(x)
        for level, fine in zip(reversed(self.up), reversed(levels[:-1])):
            x = level(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), fine], dim=1))
        out: Tensor = self.head(x)
        return cut(out, sizes)

    def _continued(self, x: Tensor) -> Tensor:
        multiple = 2**self.depth
        for axis in range(2, x.ndim):
            size = x.shape[axis]
            wanted = math.ceil(size / multiple) * multiple
            if wanted > size:
                index = torch.arange(wanted, device=x.device)
                x = x.index_select(axis, index % size if self.periodic else index.clamp(max=size - 1))
        return x


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool1d(x, 2) if x.ndim == 3 else F.avg_pool2d(x, 2)


def _level(axes: int, inputs: int, outputs: int, periodic: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [_convolution(axes, channels, outputs, 3, periodic), _norm(outputs), nn.GELU()]
    return nn.Sequential(*layers)


def _convolution(axes: int, inputs: int, outputs: int, size: int, periodic: bool) -> nn.Module:
    kind = nn.Conv1d if axes == 1 else nn.Conv2d
    return kind(inputs, outputs, size, padding=size // 2, padding_mode="circular" if periodic else "zeros")


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, _MOST_GROUPS), channels)
