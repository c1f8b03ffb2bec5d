"""Soft labels for targets that are not classes: neighbourhoods instead of classes.

``p(. | z'_i) = sum_j K_h(z'_i, z'_j) p_j / sum_j K_h(z'_i, z'_j)`` (Nadaraya-Watson), with targets of any kind
embedded as vectors first. ``H(z | z') = mean_i H(p(. | z'_i))``. With an indicator kernel on clusters, self
included, this is the class form exactly; leaving self out changes it by O(1 / class size).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from crosstune.errors import DataError, UsageError
from crosstune.information.entropies import marginal_entropy
from crosstune.information.joint import check_labels, check_probabilities, negative_plogp

TargetForm = Literal["regression", "multilabel", "dense"]


def embed_targets(targets: Tensor, form: TargetForm, *, components: int = 16) -> Tensor:
    """Targets as vectors (n, k), k <= components, whose distances mean similarity; float32 or float64.

    regression (n,) or (n, K) and dense (n, C, ...): flattened, each column standardised for regression (units
    differ) or only centred for fields (units agree), then principal components, scaled to unit total variance.
    multilabel (n, K) of 0/1: all columns, unscaled: the squared distance is the number of differing labels.
    """
    if form not in ("regression", "multilabel", "dense"):
        raise UsageError(f"unknown target form {form!r}", fix="use 'regression', 'multilabel' or 'dense'")
    flat = targets.reshape(targets.shape[0], -1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    if not bool(torch.isfinite(flat).all()):
        raise DataError("targets contain NaN or infinite values", fix="drop those rows first")
    if form == "multilabel":
        return flat
    flat = flat - flat.mean(dim=0)
    if form == "regression":
        spread = flat.square().mean(dim=0).sqrt()
        flat = flat / torch.where(spread > 0, spread, torch.ones_like(spread))
    if flat.shape[1] > components:
        _, _, directions = torch.linalg.svd(flat, full_matrices=False)
        flat = flat @ directions[:components].T
    total = flat.square().sum(dim=1).mean().sqrt()
    return flat / total if bool(total > 0) else flat


def kernel_weights(vectors: Tensor, *, bandwidth: float | None = None, leave_one_out: bool = True) -> Tensor:
    """Gaussian neighbourhood weights (n, n), rows sum to one, no gradient.

    bandwidth: standard deviation of the kernel in the vectors' units; default: the median distance to the
    ``ceil(sqrt(n))``-th neighbour. A row whose neighbours are all too far falls back to its nearest ones (the
    softmax of the negative squared distances never vanishes). Needs n >= 2.
    """
    n = vectors.shape[0]
    if n < 2:
        raise DataError(f"neighbourhoods need at least 2 samples, got {n}")
    if bandwidth is not None and not bandwidth > 0:
        raise UsageError(f"bandwidth is {bandwidth}, expected a positive number")
    distance = torch.cdist(vectors.detach(), vectors.detach(), compute_mode="donot_use_mm_for_euclid_dist")
    if bandwidth is None:
        rank = min(n - 1, max(1, round(n**0.5 + 0.5)))
        bandwidth = float(distance.kthvalue(rank + 1, dim=1).values.median()) or 1.0
    logits = -0.5 * (distance / bandwidth).square()
    if leave_one_out:
        logits.fill_diagonal_(-torch.inf)
    return torch.softmax(logits, dim=1)


def indicator_weights(labels: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """The indicator kernel of classes, self included: (n, n), rows sum to one."""
    labels, _ = check_labels(labels, labels.numel(), None, labels.device)
    same = (labels[:, None] == labels[None, :]).to(dtype)
    return same / same.sum(dim=1, keepdim=True)


def kernel_conditional_entropy(probs: Tensor, weights: Tensor) -> Tensor:
    """``H(z | z') = mean_i H(sum_j w_ij p_j)``, 0-d, nats, differentiable. probs (n, K), weights (n, n)."""
    probs = check_probabilities(probs)
    if weights.shape != (probs.shape[0], probs.shape[0]):
        raise DataError(f"weights have shape {tuple(weights.shape)}, expected ({probs.shape[0]}, {probs.shape[0]})")
    return negative_plogp(weights.to(probs) @ probs, dim=1).mean()


def kernel_mutual_information(probs: Tensor, weights: Tensor) -> Tensor:
    """``H(z) - H(z | z')`` with soft neighbourhoods, 0-d, nats; minimise its negative.

    Leave-one-out estimates may be slightly negative where targets say nothing about z.
    """
    return marginal_entropy(probs) - kernel_conditional_entropy(probs, weights)
