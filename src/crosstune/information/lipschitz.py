"""How fast the source loss can change with the features: exact bounds, per-sample norms and estimates.

Only whole-space constants (``linear_head_lipschitz``, ``entropy_lipschitz``) and the exact constant of a finite
support (``support_slopes``) carry a guarantee. Gradient norms at samples and secants along transport pairs are
estimates, and a percentile of them is not a Lipschitz constant of anything: see ``LipschitzReport``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from crosstune.errors import DataError, UsageError

PERCENTILE_STATEMENT = (
    "max is a lower bound on the Lipschitz constant over the points it was taken at; "
    "a percentile voids the guarantee of the transfer bound"
)
_BLOCK_BYTES = 64 * 2**20
_TINY = 1e-300


@dataclass(frozen=True)
class LipschitzReport:
    """Estimated slopes of a loss. ``count`` points or pairs; ``statement`` says what may be concluded."""

    max: float
    p99: float
    mean: float
    count: int
    source: str
    statement: str = PERCENTILE_STATEMENT

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def summarise(slopes: Tensor, source: str) -> LipschitzReport:
    """Maximum, 99th percentile and mean of slopes (n,)."""
    if slopes.numel() == 0:
        raise DataError(f"no slopes to summarise for {source}", fix="pass at least one point or pair")
    values = slopes.detach().double().flatten()
    p99 = float(torch.sort(values).values[min(values.numel() - 1, math.ceil(0.99 * values.numel()) - 1)])
    return LipschitzReport(
        max=float(values.max()), p99=p99, mean=float(values.mean()), count=values.numel(), source=source
    )


def _largest_singular_value(weight: Tensor) -> float:
    """Of the weight with its row mean removed: logits enter the softmax up to a constant per sample only."""
    if weight.ndim != 2:
        raise DataError(f"head weight has shape {tuple(weight.shape)}, expected (K, d)")
    centred = weight.detach().double() - weight.detach().double().mean(dim=0)
    return float(torch.linalg.matrix_norm(centred, ord=2))


def linear_head_lipschitz(weight: Tensor) -> float:
    """``sqrt(2) sigma_max``: Lipschitz constant of ``h -> -log softmax(W h + b)_z`` for any fixed z.

    weight: (K, d). The gradient is ``W^T (p - e_z)``, and ``|p - e_z|_2 <= sqrt(2)``; since ``p - e_z`` sums to
    zero, W may be replaced by W minus its row mean, which never has a larger norm. Tight for K = 2.
    """
    return math.sqrt(2.0) * _largest_singular_value(weight)


@lru_cache(maxsize=256)
def softmax_entropy_constant(k: int) -> float:
    """Bound on ``|grad_t H(softmax(t))|_2`` over all t in R^k.

    Derivation. With ``s_k = -log p_k`` and ``H = sum p s``: ``dH/dt_k = p_k (s_k - H) =: g_k``, and ``sum g = 0``.
    Let A be the indices with g > 0, of mass q and conditional entropy H_A, and B the rest. Then
    ``sum_A g = (1 - q) sum_A p s - q sum_B p s = q (1 - q) (log((1 - q) / q) + H_A - H_B)
    <= M_k := max_q q (1 - q) (log((1 - q) / q) + log(k - 1))``, because ``H_A <= log(k - 1)``, ``H_B >= 0``.
    The negative part has the same sum, and a non-negative vector's 2-norm is at most its sum, so
    ``|g|_2 <= sqrt(2) M_k``. The value ``sqrt(k / (k - 1)) M_k`` is attained (one class against a uniform rest),
    so the constant is sharp for k = 2 (0.3167) and within a factor sqrt(2) for every k. It grows like log(k).
    """
    if k < 1:
        raise UsageError(f"number of classes is {k}, expected at least 1")
    if k == 1:
        return 0.0
    return math.sqrt(2.0) * _one_versus_rest_maximum(k)


def _one_versus_rest_maximum(k: int) -> float:
    """``max_q q (1 - q) (log((1 - q) / q) + log(k - 1))``, from above: grid plus the grid's own error bound."""
    log_rest = math.log(k - 1)

    def value(q: float) -> float:
        return q * (1.0 - q) * (math.log((1.0 - q) / q) + log_rest)

    grid = max((value(i / 4096), i / 4096) for i in range(1, 4096))
    low, high = max(grid[1] - 1 / 2048, 1e-9), min(grid[1] + 1 / 2048, 1 - 1e-9)
    for _ in range(80):  # ternary search: the function is unimodal near its maximum
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if value(left) < value(right) else (low, right)
    return value((low + high) / 2)


def entropy_lipschitz(weight: Tensor) -> float:
    """Lipschitz constant of ``l_s(h) = H(softmax(W h + b))``: the expected loss when z ~ p_s(. | h).

    weight: (K, d). Chain rule: ``softmax_entropy_constant(K) * sigma_max(W - row mean)``.
    """
    return softmax_entropy_constant(weight.shape[0]) * _largest_singular_value(weight)


def linear_head_gradient_norms(features: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    """``|grad_h -log softmax(W h + b)_z|_2 = |W^T (p - e_z)|_2`` per sample, (n,), differentiable in W and b.

    features: (n, d); weight: (K, d); bias: (K,) or None; labels: (n,) codes z. Closed form, no autograd graph.
    The norm is taken in Gram form when d > K: ``(p - e)^T (W W^T) (p - e)`` costs K^2 per sample instead of K d.
    """
    logits = torch.nn.functional.linear(features, weight, bias)
    delta = torch.softmax(logits, dim=1) - torch.nn.functional.one_hot(labels, weight.shape[0]).to(logits.dtype)
    if weight.shape[1] > weight.shape[0]:
        squared = ((delta @ (weight @ weight.T)) * delta).sum(dim=1)
    else:
        squared = (delta @ weight).square().sum(dim=1)
    return squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt()


def gradient_norms(loss: Callable[[Tensor], Tensor], features: Tensor, *, create_graph: bool = False) -> Tensor:
    """Per-sample gradient norms ``|grad_u l(u_i)|_2`` over **all** non-batch axes, (n,), by autograd.

    loss: maps features (n, ...) to per-sample losses (n,), sample i depending on features[i] only (a batch norm
    in training mode would break that). The losses are summed, so the norm of a sample does not depend on the
    batch it came in. ``create_graph=True`` keeps the graph for ``hinge_penalty``.
    """
    inputs = features if features.requires_grad else features.detach().requires_grad_(True)
    with torch.enable_grad():
        losses = loss(inputs)
        if losses.shape != (features.shape[0],):
            raise DataError(
                f"loss returned shape {tuple(losses.shape)}, expected one loss per sample ({features.shape[0]},)",
                fix="use reduction='none' and average over non-batch axes",
            )
        (gradient,) = torch.autograd.grad(losses.sum(), inputs, create_graph=create_graph)
    squared = gradient.flatten(1).square().sum(dim=1)
    return squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt()


def hinge_penalty(norms: Tensor, tau: float) -> Tensor:
    """``mean_i relu(norm_i - tau)^2``, 0-d (method of RECRAFT; per-sample norms, so tau means what it says)."""
    if not tau >= 0:
        raise UsageError(f"tau is {tau}, expected a non-negative number")
    return torch.relu(norms - tau).square().mean()


def secant_slopes(losses_x: Tensor, losses_y: Tensor, distances: Tensor) -> Tensor:
    """``|l(y_k) - l(x_k)| / d_k`` for pairs, (k,); pairs at distance zero are left out (their slope is 0 / 0)."""
    if not losses_x.shape == losses_y.shape == distances.shape:
        raise DataError(
            f"losses {tuple(losses_x.shape)}, {tuple(losses_y.shape)} and distances {tuple(distances.shape)} differ"
        )
    apart = distances > 0
    return (losses_y - losses_x).abs()[apart] / distances[apart]


def support_slopes(x: Tensor, y: Tensor, losses_x: Tensor, losses_y: Tensor) -> Tensor:
    """For every y_j the largest ``|l(y_j) - l(x_i)| / |y_j - x_i|_2`` over all i: (m,), in blocks.

    Its maximum is the smallest constant tau with ``|E_y l - E_x l| <= tau W1`` guaranteed for **every** pair of
    measures on these two supports (the proof needs pairs of one x and one y only). x: (n, d), y: (m, d).
    """
    shift = x.double().mean(dim=0)
    x, y = x.double() - shift, y.double() - shift
    losses_x, losses_y = losses_x.double(), losses_y.double()
    best = torch.zeros(y.shape[0], dtype=torch.float64, device=y.device)
    step = max(1, _BLOCK_BYTES // (8 * max(1, x.shape[0])))
    for start in range(0, y.shape[0], step):
        part = slice(start, start + step)
        distance = _distances(y[part], x)
        rise = (losses_y[part, None] - losses_x[None, :]).abs()
        slope = torch.where(distance > 0, rise / distance.clamp_min(_TINY), torch.zeros_like(rise))
        best[part] = slope.max(dim=1).values
    return best


def _distances(y: Tensor, x: Tensor) -> Tensor:
    """(m, n) float64 distances: one product, with close pairs recomputed by differences (a slope divides by them)."""
    norms = y.square().sum(dim=1)[:, None] + x.square().sum(dim=1)[None, :]
    squared = (norms - 2.0 * y @ x.T).clamp_min_(0.0)
    rows, cols = torch.nonzero(squared < 1e-8 * norms, as_tuple=True)
    for start in range(0, rows.numel(), 4096):
        r, c = rows[start : start + 4096], cols[start : start + 4096]
        squared[r, c] = (y[r] - x[c]).square().sum(dim=1)
    return squared.sqrt_()
