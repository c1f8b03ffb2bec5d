"""Heads: from the body's hidden states (all layers) to outputs, with an optional linear part on the raw signal.

Both heads are linear in fixed features, so that their first fit is closed form; fine-tuning then moves everything.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosstune.nn.patching import PatchPlan

Hidden = tuple[Tensor, ...]


class Standardiser(nn.Module):
    """Buffers that centre and scale features by training statistics; constant features become zero."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        self.mean.copy_(features.mean(0))
        spread = features.std(0, correction=0)
        alive = spread > 1e-6 * (1 + self.mean.abs())
        self.scale.copy_(torch.where(alive, 1.0 / spread.clamp_min(1e-12), torch.zeros_like(spread)))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) * self.scale


def token_means(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean over valid tokens: (B, T, D) and mask (B, T) -> (B, D)."""
    weights = mask.to(tokens.dtype)[:, :, None]
    return (tokens * weights).sum(1) / weights.sum(1).clamp_min(1)


def pool_layers(hidden: Hidden, mask: Tensor) -> Tensor:
    """Masked mean and maximum over tokens of every hidden state: (B, 2 * sum of widths)."""
    parts = []
    for states in hidden:
        parts.append(token_means(states, mask))
        parts.append(states.masked_fill(~mask[:, :, None], -torch.inf).amax(1))
    return torch.cat(parts, dim=1)


class PooledHead(nn.Module):
    """Outputs (B, K) from features pooled over tokens of all layers, plus a linear map of raw features (B, R)."""

    def __init__(self, widths: tuple[int, ...], outputs: int, raw_width: int = 0) -> None:
        super().__init__()
        self.outputs, self.raw_width = outputs, raw_width
        width = 2 * sum(widths)
        self.features = Standardiser(width)
        self.linear = nn.Linear(width, outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        if raw_width:
            self.raw_features = Standardiser(raw_width)
            self.skip = nn.Linear(raw_width, outputs, bias=False)
            nn.init.zeros_(self.skip.weight)

    def pool(self, hidden: Hidden, mask: Tensor) -> Tensor:
        return pool_layers(hidden, mask)

    def forward(self, hidden: Hidden, mask: Tensor, raw: Tensor | None, size: tuple[int, ...] = ()) -> Tensor:
        out = self.linear(self.features(self.pool(hidden, mask)))
        if self.raw_width and raw is not None:
            out = out + self.skip(self.raw_features(raw))
        return out


class FieldHead(nn.Module):
    """Fields (B, C', *out) from tokens: each token paints a window, overlapping windows are blended.

    Windows follow the embedder's plan scaled to the output's resolution; blending weights are a raised cosine
    (Hann) normalised to a partition of unity. The linear part is a low-rank operator on the raw field.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        plan: PatchPlan,
        out_channels: int,
        out_size: tuple[int, ...],
        raw_width: int = 0,
        rank: int = 0,
        ragged: bool = False,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.ragged = ragged
        self.plan, self.out_channels, self.out_size = plan, out_channels, tuple(out_size)
        self.out_stride = tuple(max(1, math.ceil(s * o / n)) for s, n, o in zip(plan.stride, plan.size, out_size))
        self.out_window = tuple(max(1, round(w * q / s)) for w, q, s in zip(plan.window, self.out_stride, plan.stride))
        self.raw_width, self.rank = raw_width, rank
        width = sum(widths)
        self.features = Standardiser(width)
        self.linear = nn.Linear(width, out_channels * math.prod(self.out_window))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        if raw_width:
            self.raw_features = Standardiser(raw_width)
            self.skip_in = nn.Linear(raw_width, rank, bias=False)
            # as torch does it, but from a named stream: a run is a function of its seed
            nn.init.kaiming_uniform_(self.skip_in.weight, a=math.sqrt(5), generator=generator)
            self.skip_out = nn.Linear(rank, out_channels * math.prod(out_size))
            nn.init.zeros_(self.skip_out.weight)
            nn.init.zeros_(self.skip_out.bias)

    def token_features(self, hidden: Hidden, tokens: int) -> Tensor:
        """(B, tokens, sum of widths): the grid's tokens only, without the statistics token before them. Hierarchical
        bodies give every scale at the tokens' grid."""
        return torch.cat([states[:, 1 : 1 + tokens] for states in hidden], dim=-1)

    def _geometry(self, size: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Grid, painted extent and exact extent before resampling, for an input of this size."""
        grid = self.plan.grid_for(size)
        painted = tuple((g - 1) * q + w for g, q, w in zip(grid, self.out_stride, self.out_window))
        inner = tuple(
            min(p, max(1, round(n * q / s))) for n, q, s, p in zip(size, self.out_stride, self.plan.stride, painted)
        )
        return grid, painted, inner

    def _final(self, size: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(1, round(o * n / m)) for o, n, m in zip(self.out_size, size, self.plan.size))

    def _blend(self) -> Tensor:
        """Hann weights over one window, (prod(window),); never zero."""
        weight = torch.ones(1)
        for w in self.out_window:
            axis = torch.sin(math.pi * (torch.arange(w) + 0.5) / w).square() + 1e-3
            weight = (weight[:, None] * axis[None, :]).reshape(-1)
        return weight

    def _two(self, values: tuple[int, ...]) -> tuple[int, int]:
        return (1, values[0]) if len(values) == 1 else (values[0], values[1])

    def paint(self, patches: Tensor, size: tuple[int, ...], mask: Tensor | None = None) -> Tensor:
        """(B, tokens, C' * prod(window)) -> (B, C', *final extent). mask: (B, tokens), tokens that paint at all; where
        none of them does the field is zero."""
        grid, painted, inner = self._geometry(size)
        blend = self._blend().to(patches)
        columns = patches.unflatten(-1, (self.out_channels, -1)) * blend
        if mask is not None:
            columns = columns * mask.to(columns.dtype)[:, :, None, None]
        columns = columns.flatten(2).transpose(1, 2)
        extent, window, stride = self._two(painted), self._two(self.out_window), self._two(self.out_stride)
        field = F.fold(columns, output_size=extent, kernel_size=window, stride=stride)
        every = blend[None, :, None].expand(1, -1, math.prod(grid))
        if mask is not None:
            every = every * mask.to(every.dtype)[:, None, :]
        field = field / F.fold(every, output_size=extent, kernel_size=window, stride=stride).clamp_min(1e-9)
        if len(size) == 1:
            field = field[:, :, 0]
        field = field[(slice(None), slice(None), *[slice(0, n) for n in inner])]
        final = self._final(size)
        if tuple(field.shape[2:]) != final:
            mode = {1: "linear", 2: "bilinear"}[len(size)]
            field = F.interpolate(field, size=final, mode=mode, align_corners=False)
        return field

    def target_patches(self, y: Tensor, size: tuple[int, ...]) -> Tensor:
        """The windows each token should paint: (B, C', *final) -> (B, tokens, C' * prod(window)).

        Samples behind the field's border repeat the border.
        """
        _, painted, inner = self._geometry(size)
        if tuple(y.shape[2:]) != inner:
            mode = {1: "linear", 2: "bilinear"}[len(size)]
            y = F.interpolate(y, size=inner, mode=mode, align_corners=False)
        pad = [amount for n, p in zip(reversed(inner), reversed(painted)) for amount in (0, p - n)]
        y = F.pad(y, pad, mode="replicate")
        y = y[:, :, None] if len(size) == 1 else y
        columns = F.unfold(y, kernel_size=self._two(self.out_window), stride=self._two(self.out_stride))
        return columns.transpose(1, 2)

    def linear_part(self, raw: Tensor, size: tuple[int, ...]) -> Tensor:
        field = self.skip_out(self.skip_in(self.raw_features(raw)))
        field = field.unflatten(-1, (self.out_channels, *self.out_size))
        final = self._final(size)
        if final != self.out_size:
            mode = {1: "linear", 2: "bilinear"}[len(size)]
            field = F.interpolate(field, size=final, mode=mode, align_corners=False)
        return field

    def forward(self, hidden: Hidden, mask: Tensor, raw: Tensor | None, size: tuple[int, ...] = ()) -> Tensor:
        tokens = math.prod(self.plan.grid_for(size))
        patches = self.linear(self.features(self.token_features(hidden, tokens)))
        out = self.paint(patches, size, mask[:, 1 : 1 + tokens] if self.ragged else None)
        if self.raw_width and raw is not None:
            out = out + self.linear_part(raw, size)
        return out
