"""Input and target normalisation that lives inside the model, so that a saved model takes raw data.

Statistics come from training rows only. Missing values are filled with the training mean and, where training had
any, announced to the embedder by an indicator channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class InputNormaliser(nn.Module):
    """Per-channel standardisation of (B, C, ...) or per-column standardisation of (B, F).

    One mean and one standard deviation per channel keep amplitudes comparable between samples: instance-wise
    normalisation would destroy exactly what many targets depend on.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int, *, missing: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.missing = missing
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))

    @property
    def out_channels(self) -> int:
        return self.channels * (2 if self.missing else 1)

    def fit(self, x: np.ndarray, lengths: np.ndarray | None = None, *, skip: tuple[int, ...] = ()) -> InputNormaliser:
        """Estimate from training data (N, C, ...) or (N, F); NaN and padding are left out.

        skip: channels left as they are (category codes).
        """
        if lengths is not None:
            valid = np.arange(x.shape[-1])[None, None, :] < lengths[:, None, None]
            x = np.where(valid, x, np.nan)
        means, scales = np.zeros(self.channels), np.ones(self.channels)
        for channel in sorted(set(range(self.channels)) - set(skip)):
            values = np.asarray(x[:, channel], dtype=np.float64)
            values = values[np.isfinite(values)]
            if values.size:
                means[channel] = values.mean()
                spread = values.std()
                # a constant channel is centred, not divided by rounding noise
                scales[channel] = spread if spread > 1e-12 * max(1.0, abs(means[channel])) else 1.0
        self.mean.copy_(torch.from_numpy(means))
        self.scale.copy_(torch.from_numpy(scales))
        return self

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        lost = ~torch.isfinite(x)
        z = (torch.where(lost, self.mean.view(shape), x) - self.mean.view(shape)) / self.scale.view(shape)
        return torch.cat([z, lost.to(z.dtype)], dim=1) if self.missing else z


MARGIN = 0.5  # of the span of the training targets


class TargetScaler(nn.Module):
    """Standardises regression outputs (per output) and fields (per channel, NaN left out); ``inverse`` gives original
    units. ``within``: limited to what the training targets span and ``MARGIN`` of it on either side, known in
    forecasting as an insanity filter: a linear map answers a row far from all training rows with any number at all."""

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("scale", torch.ones(outputs))
        self.register_buffer("low", torch.full((outputs,), -torch.inf))
        self.register_buffer("high", torch.full((outputs,), torch.inf))

    def fit(self, y: np.ndarray) -> TargetScaler:
        axes = (0, *range(2, y.ndim))
        values = np.asarray(y, dtype=np.float64)
        known = np.isfinite(values)
        if known.all():
            mean, spread = values.mean(axes), values.std(axes)
        else:
            count = np.maximum(known.sum(axes), 1)
            mean = np.where(known, values, 0.0).sum(axes) / count
            gap = np.where(known, values - mean.reshape(1, -1, *[1] * (y.ndim - 2)), 0.0)
            spread = np.sqrt(np.square(gap).sum(axes) / count)
        self.mean.copy_(torch.from_numpy(mean))
        seen = known.any(axes)
        least = np.where(seen, np.where(known, values, np.inf).min(axes), -np.inf)
        most = np.where(seen, np.where(known, values, -np.inf).max(axes), np.inf)
        self.low.copy_(torch.from_numpy(least - MARGIN * (most - least)))
        self.high.copy_(torch.from_numpy(most + MARGIN * (most - least)))
        self.scale.copy_(torch.from_numpy(np.where(spread > 1e-12 * np.maximum(1.0, np.abs(mean)), spread, 1.0)))
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in ("low", "high"):  # models saved before these existed have no limits
            state_dict.setdefault(prefix + name, getattr(self, name))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _shape(self, y: Tensor) -> tuple[int, ...]:
        return (1, -1) + (1,) * (y.ndim - 2)

    def forward(self, y: Tensor) -> Tensor:
        shape = self._shape(y)
        return (y - self.mean.view(shape).to(y.device)) / self.scale.view(shape).to(y.device)

    def inverse(self, z: Tensor) -> Tensor:
        shape = self._shape(z)
        return z * self.scale.view(shape).to(z.device) + self.mean.view(shape).to(z.device)

    def within(self, y: Tensor) -> Tensor:
        """In original units."""
        shape = self._shape(y)
        return torch.maximum(torch.minimum(y, self.high.view(shape).to(y)), self.low.view(shape).to(y))
