"""Ridge regression in closed form with leave-one-out selection: the first step of fitting, seconds instead of epochs.

With ``K = X X'`` (rows centred) and ``G = K + lam I``, the dual coefficients are ``A = G^-1 Y`` and the
leave-one-out residuals are ``A_ij / (G^-1)_ii`` (Allen's PRESS; Golub, Heath & Wahba 1979). One eigendecomposition
serves every ``lam``. Several feature blocks are combined by the weights of their kernels, chosen by the same
leave-one-out error: with weight one on the linear block the model *is* the linear floor, so it never starts below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LAMBDAS: tuple[float, ...] = tuple(10.0**e for e in (-6, -5, -4, -3, -2.5, -2, -1.5, -1, -0.5, 0, 1, 2))


@dataclass(frozen=True)
class RidgeFit:
    """weights: one (d_b, K) matrix per block, on the *standardised* features; bias (K,). ``loo`` (n, K) are
    leave-one-out predictions of the rows used for selection (all rows when n <= max_rows)."""

    weights: tuple[Tensor, ...]
    bias: Tensor
    lam: float
    mix: tuple[float, ...]
    loo: Tensor
    loo_rows: Tensor
    press: float


def _kernels(blocks: Sequence[Tensor]) -> list[Tensor]:
    kernels = []
    for block in blocks:
        kernel = block @ block.T
        kernels.append(kernel / kernel.diagonal().mean().clamp_min(1e-12))
    return kernels


def _press(kernel: Tensor, y: Tensor, lambdas: Sequence[float]) -> tuple[float, float, Tensor]:
    """Best (error, lambda, leave-one-out predictions) for centred targets."""
    values, vectors = torch.linalg.eigh(kernel)
    rotated = vectors.T @ y
    best: tuple[float, float, Tensor] | None = None
    n = len(y)
    for lam in lambdas:
        inverse = 1.0 / (values.clamp_min(0) + lam)
        coefficients = vectors @ (inverse[:, None] * rotated)
        diagonal = (vectors.square() * inverse[None, :]).sum(1)
        # the mean is estimated too: 1/n of leverage on top of the kernel's (exact for a centred kernel)
        leverage = (1 - lam * diagonal + 1.0 / n).clamp_max(1 - 1e-6)
        residual = lam * coefficients / (1 - leverage)[:, None]
        error = float(residual.square().mean())
        if best is None or error < best[0]:
            best = (error, lam, y - residual)
    assert best is not None
    return best


def fit_ridge(
    blocks: Sequence[Tensor],
    y: Tensor,
    *,
    mixes: Sequence[tuple[float, ...]] | None = None,
    lambdas: Sequence[float] = LAMBDAS,
    max_rows: int = 1024,
    generator: torch.Generator | None = None,
) -> RidgeFit:
    """Fit ``y (n, K)`` on centred feature blocks ``(n, d_b)``; float32 or float64, returned in the same type.

    mixes: candidate kernel weights per block (default: uniform). Selection of (mix, lambda) uses leave-one-out on
    at most ``max_rows`` rows (cost max_rows^3 per mix); the final fit uses all rows, primal or dual, whichever is
    smaller.
    """
    y = y.to(torch.float64)
    blocks = [b.to(torch.float64) for b in blocks]
    n = len(y)
    mixes = list(mixes or [tuple(1.0 / len(blocks) for _ in blocks)])
    rows = torch.arange(n)
    if n > max_rows:
        rows = torch.randperm(n, generator=generator)[:max_rows].sort().values
    mean = y.mean(0)
    centred = y - mean
    kernels = _kernels([b[rows] for b in blocks])
    best: tuple[float, float, tuple[float, ...], Tensor] | None = None
    for mix in mixes:
        kernel = sum(w * k for w, k in zip(mix, kernels) if w > 0)
        error, lam, predicted = _press(kernel, centred[rows], lambdas)  # type: ignore[arg-type]
        if best is None or error < best[0]:
            best = (error, lam, mix, predicted)
    assert best is not None
    press, lam, mix, predicted = best
    scales = [(w / b[rows].square().sum(1).mean().clamp_min(1e-12)).sqrt() for w, b in zip(mix, blocks)]
    # a kernel over n rows grows with n, the penalty does not: keep the selected ratio
    weights = _solve([s * b for s, b in zip(scales, blocks)], centred, lam * n / len(rows))
    return RidgeFit(
        weights=tuple(s * w for s, w in zip(scales, weights)),
        bias=mean,
        lam=lam,
        mix=tuple(mix),
        loo=predicted + mean,
        loo_rows=rows,
        press=press,
    )


def _solve(blocks: Sequence[Tensor], y: Tensor, lam: float) -> list[Tensor]:
    x = torch.cat(list(blocks), dim=1)
    n, d = x.shape
    if n <= d:
        gram = x @ x.T
        gram.diagonal().add_(lam)
        w = x.T @ torch.cholesky_solve(y, _cholesky(gram))
    else:
        gram = x.T @ x
        gram.diagonal().add_(lam)
        w = torch.cholesky_solve(x.T @ y, _cholesky(gram))
    return list(w.split([b.shape[1] for b in blocks]))


def _cholesky(matrix: Tensor) -> Tensor:
    jitter = 1e-10 * matrix.diagonal().mean()
    for _ in range(6):
        factor, info = torch.linalg.cholesky_ex(matrix)
        if int(info) == 0:
            return factor
        matrix = matrix.clone()
        matrix.diagonal().add_(jitter)
        jitter = jitter * 100
    return torch.linalg.cholesky(matrix)
