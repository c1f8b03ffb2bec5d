"""The joint law of predicted source labels and target labels, and the input checks that everything here shares."""

from __future__ import annotations

import torch
from torch import Tensor

from crosstune.errors import DataError, UsageError

SUM_TOLERANCE = 1e-3


def check_probabilities(probs: Tensor) -> Tensor:
    """(n, K) with rows that sum to one; half precision is widened to float32. Raises ``DataError``."""
    if probs.ndim != 2 or 0 in probs.shape:
        raise DataError(f"probs has shape {tuple(probs.shape)}, expected (n, K) with n, K >= 1")
    if probs.dtype in (torch.float16, torch.bfloat16):
        probs = probs.float()
    if not probs.is_floating_point():
        raise DataError(f"probs has dtype {probs.dtype}, expected floating point")
    sums = probs.detach().sum(dim=1)
    worst = float((sums - 1.0).abs().max())
    if not worst <= SUM_TOLERANCE or bool((probs.detach() < 0).any()):
        raise DataError(
            f"rows of probs must be non-negative and sum to 1; the worst sum is off by {worst:.3g}",
            cause="logits were passed instead of probabilities, or the model has diverged",
            fix="pass torch.softmax(logits, dim=1)",
        )
    return probs


def check_labels(labels: Tensor, n: int, num_labels: int | None, device: torch.device) -> tuple[Tensor, int]:
    """Integer codes (n,) in [0, num_labels) and their number. Raises ``DataError``."""
    if labels.shape != (n,) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise DataError(
            f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype}, expected integer codes ({n},)",
            fix="for regression, multi-label or dense targets use cluster_targets or the kernel forms",
        )
    labels = labels.to(device=device, dtype=torch.int64)
    low, high = int(labels.min()), int(labels.max())
    count = high + 1 if num_labels is None else int(num_labels)
    if low < 0 or high >= count:
        raise DataError(f"labels range from {low} to {high}, expected codes from 0 to {count - 1}")
    return labels, count


def sample_weights(weights: Tensor | None, n: int, like: Tensor) -> Tensor:
    """(n,) summing to one; uniform by default."""
    if weights is None:
        return torch.full((n,), 1.0 / n, dtype=like.dtype, device=like.device)
    if weights.shape != (n,) or bool((weights < 0).any()) or not bool(weights.sum() > 0):
        raise UsageError(f"weights have shape {tuple(weights.shape)}, expected ({n},), non-negative, not all zero")
    weights = weights.to(device=like.device, dtype=like.dtype)
    return weights / weights.sum()


def joint_distribution(
    probs: Tensor, labels: Tensor, num_labels: int | None = None, *, weights: Tensor | None = None
) -> Tensor:
    """``Q(z', z) = E[1{z'} p(z | u)]``, (C, K), sums to one: rows are target labels, columns source labels."""
    probs = check_probabilities(probs)
    labels, count = check_labels(labels, probs.shape[0], num_labels, probs.device)
    w = sample_weights(weights, probs.shape[0], probs)
    joint = torch.zeros(count, probs.shape[1], dtype=probs.dtype, device=probs.device)
    return joint.index_add(0, labels, probs * w[:, None])


def negative_plogp(p: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """``-sum p log p`` in nats with 0 log 0 = 0, and a gradient that stays finite at 0."""
    safe = p.clamp_min(torch.finfo(p.dtype).tiny)
    terms = -p * safe.log()
    return terms.sum() if dim is None else terms.sum(dim=dim)
