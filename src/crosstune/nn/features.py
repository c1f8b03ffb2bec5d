"""Features of the raw signal for the linear part of a model: ``floor(x) + head(body(phi(x)))``."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RawFeatures(nn.Module):
    """Normalised raw input -> (B, d). Fixed-size signals are flattened (pooled first when larger than ``limit``);
    ragged series are resampled to ``samples`` points; tables pass through with one-hot categories."""

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        ragged: bool = False,
        categories: dict[int, int] | None = None,
        limit: int = 4096,
        samples: int = 64,
    ) -> None:
        super().__init__()
        self.shape, self.ragged, self.samples = tuple(shape), ragged, samples
        self.categories = dict(categories or {})
        channels, size = shape[0], shape[1:]
        self.pooled: tuple[int, ...] | None = None
        if len(shape) == 1:
            self.width = 2 * channels - len(self.categories) + sum(self.categories.values())
        elif ragged:
            self.width = channels * samples + 1
        else:
            total = math.prod(shape)
            if total > limit:
                shrink = (total / limit) ** (1 / len(size))
                self.pooled = tuple(max(1, int(n / shrink)) for n in size)
                self.width = channels * math.prod(self.pooled)
            else:
                self.width = total

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if len(self.shape) == 1:
            return self._table(x)
        if self.ragged and lengths is not None:
            position = torch.linspace(0, 1, self.samples, device=x.device)[None, :] * (lengths[:, None] - 1)
            left = position.floor().long().clamp(0, x.shape[-1] - 1)
            right = torch.minimum(left + 1, (lengths[:, None] - 1).clamp_min(0))
            fraction = (position - left)[:, None, :]
            take = lambda index: x.gather(2, index[:, None, :].expand(-1, x.shape[1], -1))  # noqa: E731
            values = take(left) * (1 - fraction) + take(right) * fraction
            return torch.cat([values.flatten(1), lengths[:, None].clamp_min(1).to(x.dtype).log()], dim=1)
        if self.pooled is not None:
            x = F.interpolate(x, size=self.pooled, mode="area")
        elif tuple(x.shape[2:]) != self.shape[1:]:
            # a field at another resolution: bring it to the one the linear part was fitted at
            mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.ndim]
            x = F.interpolate(x, size=self.shape[1:], mode=mode, align_corners=False)
        return x.flatten(1)

    def _table(self, x: Tensor) -> Tensor:
        columns = self.shape[0]
        values, lost = x[:, :columns], x[:, columns:]
        parts = []
        for column in range(columns):
            if column in self.categories:
                size = self.categories[column]
                code = values[:, column].round().long().clamp(0, size - 1)
                parts.append(F.one_hot(code, size).to(x.dtype) * (1 - lost[:, column : column + 1]))
            else:
                parts.append(values[:, column : column + 1])
        return torch.cat([*parts, lost], dim=1)
