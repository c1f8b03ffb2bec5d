"""The label channel B(z' | z) and LEEP (Nguyen, Hassner, Seeger & Archambeau 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from crosstune.errors import DataError
from crosstune.information.joint import check_labels, check_probabilities, joint_distribution, sample_weights


def label_channel(
    probs: Tensor, labels: Tensor, num_labels: int | None = None, *, weights: Tensor | None = None
) -> Tensor:
    """``B[z, c] = P(z' = c | z)``: (K, C), each **row** (one source label) sums to one over target labels.

    probs: (n, K); labels: (n,) codes. A source label that is never predicted gets the marginal of z'.
    """
    joint = joint_distribution(probs, labels, num_labels, weights=weights)
    source = joint.sum(dim=0)
    prior = joint.sum(dim=1)
    seen = source > torch.finfo(joint.dtype).tiny
    channel = joint.T / torch.where(seen, source, torch.ones_like(source))[:, None]
    return torch.where(seen[:, None], channel, prior[None, :].expand_as(channel))


def composed_predictor(probs: Tensor, channel: Tensor) -> Tensor:
    """``p0(z' | u) = sum_z B(z' | z) p_s(z | u)``: (n, C), rows sum to one."""
    probs = check_probabilities(probs)
    if channel.ndim != 2 or channel.shape[0] != probs.shape[1]:
        raise DataError(
            f"channel has shape {tuple(channel.shape)}, expected (K={probs.shape[1]}, C) for probs {tuple(probs.shape)}"
        )
    return probs @ channel.to(device=probs.device, dtype=probs.dtype)


def leep(
    probs: Tensor,
    labels: Tensor,
    *,
    channel: Tensor | None = None,
    num_labels: int | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean log-likelihood ``E log p0(z' | u)`` of the composed predictor, 0-d, nats, at most 0.

    ``-leep`` is a loss. The channel is estimated from the same samples when none is given (then gradients flow
    through it too); pass a detached running estimate for small batches.
    """
    probs = check_probabilities(probs)
    if channel is None:
        channel = label_channel(probs, labels, num_labels, weights=weights)
    labels, _ = check_labels(labels, probs.shape[0], channel.shape[1], probs.device)
    predicted = composed_predictor(probs, channel).gather(1, labels[:, None]).squeeze(1)
    log_likelihood = predicted.clamp_min(torch.finfo(probs.dtype).tiny).log()
    return (log_likelihood * sample_weights(weights, probs.shape[0], probs)).sum()
