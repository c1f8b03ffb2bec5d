"""Embedders phi: from a raw modality to tokens (B, T, D) in the body's input space.

Design constraint (``x``, ``-x``, ``5x`` and ``x + c`` must give different tokens, by a margin, even behind the
body's layer normalisation): a token is a projection of the window's values, their compressed values, level and
spread, plus a random bias of the source tokens' scale. Without the bias, layer normalisation would keep only the
direction of the projection and amplitude would be lost.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosstune.nn.patching import PatchPlan


def window_mask(lengths: Tensor, size: int) -> Tensor:
    """(B, L) booleans: True where the sample is real, False where it is padding."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def _spread(second_moment: Tensor, mean: Tensor) -> Tensor:
    # the clamp keeps the gradient of the square root finite on constant windows
    return (second_moment - mean.square()).clamp_min(1e-8).sqrt()


class Embedder(nn.Module):
    """Base of all embedders: ``forward(x, lengths) -> (tokens (B, T, D), mask (B, T))`` and a scale to calibrate."""

    width: int
    scale: Tensor  # (2,): factors of the projection and of the biases
    grid: tuple[int, ...] | None = None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    @torch.no_grad()
    def calibrate(self, x: Tensor, lengths: Tensor | None, *, rms: float) -> None:
        """Scale the projection so that tokens of ``x`` have about the root mean square of the source tokens.

        Half of the energy comes from the data, half from biases, so that layer normalisation can tell amplitudes.
        """
        raise NotImplementedError


class PatchEmbedder(Embedder):
    """One token of global statistics, then the windows of a (B, C, *spatial) signal (1-D, 2-D or 3-D).

    The statistics token comes first: bodies with positions would see it elsewhere in every batch if it stood behind
    the windows, whose number depends on the batch's padding.

    Features of a window, per channel: its values, ``asinh`` of its values (compresses large amplitudes so that they
    stay distinguishable), its mean and its standard deviation. The statistics token holds the instance's mean,
    spread, minimum, maximum per channel and, for ragged series, the log length.
    """

    def __init__(self, channels: int, plan: PatchPlan, width: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.channels, self.plan, self.width = channels, plan, width
        self.grid = plan.grid
        volume = math.prod(w // plan.pool for w in plan.window)
        self.features = channels * (2 * volume + 2)
        self.statistics = 4 * channels + 1

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator))

        self.weight = nn.Parameter(normal(width, self.features).data / math.sqrt(self.features))
        self.bias = normal(width)
        self.statistics_weight = nn.Parameter(normal(width, self.statistics).data / math.sqrt(self.statistics))
        self.statistics_bias = normal(width)
        # one learned table per axis: cheap, and grids of other sizes are reached by interpolation
        self.positions = nn.ParameterList([nn.Parameter(torch.zeros(width, g)) for g in self.grid])
        self.register_buffer("scale", torch.ones(2))

    def _windows(self, x: Tensor) -> Tensor:
        """(B, C, *spatial) -> (B, tokens, C, volume)."""
        size = tuple(x.shape[2:])
        padded = self.plan.padded_for(size)
        pad = [amount for n, p in zip(reversed(size), reversed(padded)) for amount in (0, max(0, p - n))]
        x, pool = F.pad(x, pad), self.plan.pool
        if pool > 1:
            x = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(size) - 1](x, pool)
        for axis, (w, s) in enumerate(zip(self.plan.window, self.plan.stride)):
            x = x.unfold(2 + axis, w // pool, s // pool)
        spatial = len(size)
        x = x.flatten(2 + spatial).flatten(2, 1 + spatial)  # (B, C, tokens, volume)
        return x.transpose(1, 2)

    def _positions(self, grid: tuple[int, ...], *, ragged: bool) -> Tensor:
        total: Tensor | None = None
        for axis, (table, n) in enumerate(zip(self.positions, grid)):
            if ragged:
                # position k must mean the same whatever the padding of the batch: look up, never stretch
                table = table[:, torch.arange(n, device=table.device).clamp_max(table.shape[1] - 1)]
            elif table.shape[1] != n:
                table = F.interpolate(table[None], size=n, mode="linear", align_corners=False)[0]
            shape = [1] * len(grid) + [self.width]
            shape[axis] = n
            part = table.t().reshape(shape)
            total = part if total is None else total + part
        assert total is not None
        return total.reshape(-1, self.width)

    def raw_features(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Window features (B, T, P), statistics (B, S) and token mask (B, T)."""
        batch = len(x)
        if lengths is None:
            flat = x.flatten(2)
            mean, spread = flat.mean(-1), _spread(flat.square().mean(-1), flat.mean(-1))
            low, high = flat.amin(-1), flat.amax(-1)
            log_length = x.new_zeros(batch, 1)
            windows = self._windows(x)
            mask = torch.ones(batch, windows.shape[1], dtype=torch.bool, device=x.device)
            inside = self._windows(torch.ones_like(x[:1, :1]))
        else:
            valid = window_mask(lengths, x.shape[-1])[:, None, :]
            x = torch.where(valid, x, torch.zeros_like(x))
            count = lengths.clamp_min(1).to(x.dtype)[:, None]
            mean = x.sum(-1) / count
            spread = _spread(x.square().sum(-1) / count, mean)
            low = torch.where(valid, x, torch.full_like(x, torch.inf)).amin(-1)
            high = torch.where(valid, x, torch.full_like(x, -torch.inf)).amax(-1)
            # relative to the length the plan was made for: 0 for a typical series
            log_length = (count / self.plan.size[-1]).log()
            windows = self._windows(x)
            inside = self._windows(valid.to(x.dtype))
            # as many windows as cover the row alone: one more for a batch's padding would change the sample
            window, stride = self.plan.window[-1], self.plan.stride[-1]
            needed = ((lengths - window + stride - 1).div(stride, rounding_mode="floor") + 1).clamp_min(1)
            mask = torch.arange(windows.shape[1], device=x.device)[None, :] < needed[:, None]
        w_count = inside.sum(-1).clamp_min(self.plan.pool ** -len(self.plan.window))
        w_mean = windows.sum(-1) / w_count
        # where values are pooled, the spread still is that of the samples
        squares = windows.square() if self.plan.pool == 1 else self._windows(x.square())
        w_spread = _spread(squares.sum(-1) / w_count, w_mean)
        if self.plan.pool > 1:
            # a pooled value at the signal's end is a mean over what is real, not over the padding
            windows = windows / inside.clamp_min(self.plan.pool ** -len(self.plan.window))
        features = torch.cat(
            [windows.flatten(2), windows.asinh().flatten(2), w_mean.flatten(2), w_spread.flatten(2)], dim=-1
        )
        statistics = torch.cat([mean, spread, low.asinh(), high.asinh(), log_length], dim=-1)
        return features, statistics, mask

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features, statistics, mask = self.raw_features(x, lengths)
        tokens = self.scale[0] * F.linear(features, self.weight) + self.scale[1] * self.bias
        grid = self.plan.grid_for(tuple(x.shape[2:]))
        tokens = tokens + self.scale[1] * self._positions(grid, ragged=lengths is not None)
        summary = self.scale[0] * F.linear(statistics, self.statistics_weight) + self.scale[1] * self.statistics_bias
        tokens = torch.cat([summary[:, None, :], tokens], dim=1)
        return tokens, torch.cat([mask.new_ones(len(mask), 1), mask], dim=1)

    @torch.no_grad()
    def calibrate(self, x: Tensor, lengths: Tensor | None, *, rms: float) -> None:
        features, _, mask = self.raw_features(x, lengths)
        projected = F.linear(features, self.weight)[mask]
        share = rms / math.sqrt(2)
        self.scale[0] = share / projected.square().mean().sqrt().clamp_min(1e-6)
        self.scale[1] = share


class TableEmbedder(Embedder):
    """One token per column of a table (B, F), plus none for statistics: columns are already few and named.

    A numeric column's token is ``bias_c + [v, asinh(4 v), sin, cos (pi v / 2)] @ weight_c``; a categorical column's
    token is a row of its table; a missing value has a vector of its own per column.
    ``x`` is standardised by the normaliser; categorical columns arrive as raw codes.
    """

    frequencies = (0.5,)
    offsets: Tensor
    sizes: Tensor

    def __init__(self, columns: int, categories: dict[int, int], width: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.columns, self.width = columns, width
        self.categories = dict(categories)
        self.features = 2 + 2 * len(self.frequencies)

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator))

        self.weight = nn.Parameter(normal(columns, self.features, width).data / math.sqrt(self.features))
        self.bias = normal(columns, width)
        # zero: a column that was never empty in training then gets its neutral token, not noise
        self.missing = nn.Parameter(torch.zeros(columns, width))
        total = sum(self.categories.values())
        self.table = normal(max(1, total), width)
        offsets = torch.full((columns,), -1, dtype=torch.long)
        sizes = torch.ones(columns, dtype=torch.long)
        start = 0
        for column, size in sorted(self.categories.items()):
            offsets[column], sizes[column] = start, size
            start += size
        self.register_buffer("offsets", offsets)
        self.register_buffer("sizes", sizes)
        self.register_buffer("scale", torch.ones(2))
        self.grid = (columns,)

    def _numeric(self, x: Tensor) -> Tensor:
        waves = [f(math.pi * q * x) for q in self.frequencies for f in (torch.sin, torch.cos)]
        return torch.stack([x, (4 * x).asinh() / 2, *waves], dim=-1)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lost = x[:, self.columns :] > 0.5 if x.shape[1] == 2 * self.columns else None
        x = x[:, : self.columns]
        tokens = self.scale[0] * torch.einsum("bcf,cfd->bcd", self._numeric(x), self.weight)
        if self.categories:
            categorical = self.offsets >= 0
            codes = torch.minimum(x.round().clamp_min(0).long(), self.sizes - 1) + self.offsets.clamp_min(0)
            looked_up = self.scale[1] * F.embedding(codes, self.table)
            tokens = torch.where(categorical[None, :, None], looked_up, tokens)
        tokens = tokens + self.scale[1] * self.bias
        if lost is not None:
            tokens = torch.where(lost[:, :, None], (self.scale[1] * (self.bias + self.missing))[None], tokens)
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=x.device)

    @torch.no_grad()
    def calibrate(self, x: Tensor, lengths: Tensor | None, *, rms: float) -> None:
        numeric = self.offsets < 0
        share = rms / math.sqrt(2)
        self.scale[1] = share
        if bool(numeric.any()):
            features = self._numeric(x[:, : self.columns])[:, numeric]
            projected = torch.einsum("bcf,cfd->bcd", features, self.weight[numeric])
            self.scale[0] = share / projected.square().mean().sqrt().clamp_min(1e-6)
