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


def _press(
    kernel: Tensor, y: Tensor, lambdas: Sequence[float], root: Tensor | None = None
) -> tuple[float, float, Tensor]:
    """Best (error, lambda, leave-one-out predictions) for a centred kernel and centred targets.

    The constant vector is an eigenvector of value 0 and stands for the intercept, which is not penalised. It is lifted
    to a known value and taken off again in closed form: left at 0 (that is, at rounding noise), it would swamp the
    small residual leverages that arise for n < d and small penalties. root (n,): square roots of row weights, by which
    kernel and targets have been multiplied; then it is their direction that stands for the intercept.
    """
    lift = float(kernel.trace().clamp_min(1.0))
    # share of the constant in each row, and the constant's own matrix
    share: Tensor | float = 1.0 / len(y)
    constant: Tensor | float = lift / len(y)
    if root is not None:
        share = root.square() / root.square().sum()
        constant = lift * torch.outer(root, root) / root.square().sum()
    values, vectors = torch.linalg.eigh(kernel + constant)
    rotated = vectors.T @ y
    products = rotated @ rotated.T if y.shape[1] > 2 * len(y) else None
    best: tuple[float, float] | None = None
    for lam in lambdas:
        inverse = 1.0 / (values.clamp_min(0) + lam)
        diagonal = (vectors.square() * inverse[None, :]).sum(1)
        # one minus the leverage, the intercept's share included
        scale = lam / (lam * (diagonal - share / (lift + lam))).clamp_min(1e-14)
        weighted = vectors * inverse[None, :]
        if products is None:
            error = float((scale[:, None] * (weighted @ rotated)).square().mean())
        else:  # of many outputs only the sums of squares, from the products of their rows
            squares = ((weighted @ products) * weighted).sum(1).clamp_min(0)
            error = float((scale.square() * squares).mean()) / y.shape[1]
        if best is None or error < best[0]:
            best = (error, lam)
    assert best is not None
    error, lam = best
    inverse = 1.0 / (values.clamp_min(0) + lam)
    diagonal = (vectors.square() * inverse[None, :]).sum(1)
    scale = lam / (lam * (diagonal - share / (lift + lam))).clamp_min(1e-14)
    return error, lam, y - scale[:, None] * (vectors @ (inverse[:, None] * rotated))


def fit_ridge(
    blocks: Sequence[Tensor],
    y: Tensor,
    *,
    mixes: Sequence[tuple[float, ...]] | None = None,
    lambdas: Sequence[float] = LAMBDAS,
    max_rows: int = 1024,
    generator: torch.Generator | None = None,
    weights: Tensor | None = None,
) -> RidgeFit:
    """Fit ``y (n, K)`` on feature blocks ``(n, d_b)`` with an unpenalised intercept; computed and returned in float64.

    mixes: candidate kernel weights per block (default: uniform). Selection of (mix, lambda) uses leave-one-out on
    at most ``max_rows`` rows (cost max_rows^3 per mix); the final fit uses all rows, primal or dual, whichever is
    smaller. weights (n,): positive weights of the rows' squared errors, of which only the ratios matter; ``press`` is
    weighted likewise.
    """
    y = y.to(torch.float64)
    blocks = [b.to(torch.float64) for b in blocks]
    n = len(y)
    mixes = list(mixes or [tuple(1.0 / len(blocks) for _ in blocks)])
    rows = torch.arange(n)
    if n > max_rows:
        rows = torch.randperm(n, generator=generator)[:max_rows].sort().values
    # weighted least squares is the plain one on rows times the roots of their weights, centred by weighted means
    root = None if weights is None else (weights / weights.mean()).to(torch.float64).sqrt()
    mean, centres = _mean(y, root), [_mean(b, root) for b in blocks]
    centred, blocks = y - mean, [b - c for b, c in zip(blocks, centres)]
    # the leverage formula of `_press` holds for data centred on the very rows it is given
    some = None if root is None else root[rows]
    chosen, shift = [_times(b[rows] - _mean(b[rows], some), some) for b in blocks], _mean(centred[rows], some)
    kernels = _kernels(chosen)
    best: tuple[float, float, tuple[float, ...], Tensor] | None = None
    for mix in mixes:
        kernel = sum(w * k for w, k in zip(mix, kernels) if w > 0)
        error, lam, predicted = _press(kernel, _times(centred[rows] - shift, some), lambdas, some)  # type: ignore[arg-type]
        if best is None or error < best[0]:
            best = (error, lam, mix, predicted)
    assert best is not None
    press, lam, mix, predicted = best
    scales = [(w / b.square().sum(1).mean().clamp_min(1e-12)).sqrt() for w, b in zip(mix, chosen)]
    # a kernel over n rows grows with n, the penalty does not: keep the selected ratio
    solution = _solve([_times(s * b, root) for s, b in zip(scales, blocks)], _times(centred, root), lam * n / len(rows))
    solution = [s * w for s, w in zip(scales, solution)]
    return RidgeFit(
        weights=tuple(solution),
        bias=torch.stack([mean, *(-(c @ w) for c, w in zip(centres, solution))]).sum(0),
        lam=lam,
        mix=tuple(mix),
        loo=(predicted if some is None else predicted / some[:, None]) + shift + mean,
        loo_rows=rows,
        press=press,
    )


def _mean(rows: Tensor, root: Tensor | None) -> Tensor:
    if root is None:
        return rows.mean(0)
    weight = root.square()
    return (weight / weight.sum()) @ rows


def _times(rows: Tensor, root: Tensor | None) -> Tensor:
    return rows if root is None else root[:, None] * rows


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
