"""A small fully convolutional network for series, as a yardstick (after Wang, Yan and Oates 2017, half as wide)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS, KERNELS = (64, 128, 64), (7, 5, 3)


class SeriesNet(nn.Module):
    """Three convolutions with batch normalisation, then mean and maximum over time, then a linear map.

    (B, inputs, L) -> (B, outputs). The linear map starts at zero with the given bias: the network's first answer is the
    bias alone.
    """

    def __init__(self, inputs: int, bias: Tensor) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, kernel in zip(WIDTHS, KERNELS):
            layers += [nn.Conv1d(inputs, width, kernel, padding="same", bias=False), nn.BatchNorm1d(width), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(2 * inputs, len(bias))
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.layers(x)
        return self.out(torch.cat([hidden.mean(-1), hidden.amax(-1)], dim=1))
