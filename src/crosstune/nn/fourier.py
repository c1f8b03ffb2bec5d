"""A Fourier neural operator (Li et al. 2021, arXiv 2010.08895) for fields on one or two axes of space.

Its weights belong to wave numbers, not to grid points, so that one model answers on grids of any resolution.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SpectralConvolution(nn.Module):
    """Multiplies the Fourier coefficients of the lowest wave numbers by matrices and drops all others.

    modes: M per axis; wave numbers |k| < M take part. weight: (K_1, ..., K_d, inputs, outputs, 2), real and imaginary
    part last, with K = 2 M - 1 along every axis but the last (0 .. M-1, then -(M-1) .. -1) and K = M along the last,
    where the coefficients of real fields determine those of -k. On a grid of N points the wave numbers below N / 2 are
    used: at N / 2 itself a sine is invisible, so that coefficient does not mean the same on a finer grid.

    With weight = identity times g(k) the layer is the convolution with the kernel whose coefficients are g, restricted
    to |k| < M: exp(-nu |2 pi k|^2 t) is the heat equation on the unit torus, exp(-2 pi i k s) a shift by s.
    """

    def __init__(self, inputs: int, outputs: int, modes: tuple[int, ...]) -> None:
        super().__init__()
        if len(modes) not in (1, 2) or min(modes) < 1:
            raise ValueError(f"modes {modes} are not one or two positive numbers")
        self.modes = modes
        counts = (*(2 * m - 1 for m in modes[:-1]), modes[-1])
        # a quarter of the variance that keeps the size of a field in either part: two make half, and the other half
        # comes from the pointwise path beside this layer
        self.weight = nn.Parameter(torch.randn(*counts, inputs, outputs, 2) / math.sqrt(4 * inputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, N_1[, N_2]) to (B, outputs, N_1[, N_2]), real."""
        sizes = x.shape[2:]
        axes = tuple(range(2, x.ndim))
        spectrum = torch.fft.rfftn(x, dim=axes, norm="forward")
        kept = [min(m, (n + 1) // 2) for m, n in zip(self.modes, sizes)]
        matrices = torch.view_as_complex(self.weight)
        out = spectrum.new_zeros(len(x), matrices.shape[-1], *spectrum.shape[2:])
        if len(kept) == 1:
            low = spectrum[..., : kept[0]]
            out[..., : kept[0]] = torch.einsum("bik,kio->bok", low, matrices[: kept[0]])
        else:
            rows = _wave_numbers(kept[0], x.device)
            low = spectrum[:, :, rows, : kept[1]]
            out[:, :, rows, : kept[1]] = torch.einsum("bikl,klio->bokl", low, matrices[rows, : kept[1]])
        return torch.fft.irfftn(out, s=sizes, dim=axes, norm="forward")


def _wave_numbers(modes: int, device: torch.device) -> Tensor:
    """0 .. M-1, -(M-1) .. -1: as indices they count from either end, in weights and in spectra alike."""
    ascending = torch.arange(modes, device=device)
    return torch.cat([ascending, torch.arange(1 - modes, 0, device=device)])


class FourierOperator(nn.Module):
    """Lifting, blocks of spectral convolution beside a pointwise map, projection; GELU between.

    inputs, outputs: channels; the position of every grid point along each axis is one more input channel. width:
    channels inside. modes: see ``SpectralConvolution``, one number per axis. padding: share of each axis by which the
    field is continued with zeros while it is in the blocks, for fields that are not periodic.
    """

    def __init__(
        self, inputs: int, outputs: int, *, width: int, modes: tuple[int, ...], blocks: int = 4, padding: float = 0.0
    ) -> None:
        super().__init__()
        self.padding = padding
        self.lift = nn.Linear(inputs + len(modes), width)
        self.spectral = nn.ModuleList(SpectralConvolution(width, width, modes) for _ in range(blocks))
        self.pointwise = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.project = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, N_1[, N_2]) to (B, outputs, N_1[, N_2]) on the same grid."""
        sizes = x.shape[2:]
        x = torch.cat([x, _positions(x)], dim=1)
        hidden = _pointwise(self.lift, x)
        if self.padding:
            ends = [part for n in reversed(sizes) for part in (0, math.ceil(n * self.padding))]
            hidden = F.pad(hidden, ends)
        last = len(self.spectral) - 1
        for i, (spectral, pointwise) in enumerate(zip(self.spectral, self.pointwise)):
            hidden = spectral(hidden) + _pointwise(pointwise, hidden)
            if i < last:
                hidden = F.gelu(hidden)
        if self.padding:
            hidden = cut(hidden, sizes)
        return _pointwise(self.project, hidden)


def cut(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The first points of every axis of space, as many as ``sizes``."""
    for axis, size in enumerate(sizes, start=2):
        x = x.narrow(axis, 0, size)
    return x


def _pointwise(layer: nn.Module, x: Tensor) -> Tensor:
    """A map of channels, applied at every point."""
    out: Tensor = layer(x.movedim(1, -1))
    return out.movedim(-1, 1)


def _positions(x: Tensor) -> Tensor:
    """(B, d, N_1[, N_2]): centres of the cells of [0, 1]^d, which lie alike on every resolution."""
    lines = [(torch.arange(n, device=x.device, dtype=x.dtype) + 0.5) / n for n in x.shape[2:]]
    return torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(len(x), *(-1,) * (x.ndim - 1))
