"""Conditional entropy and mutual information between predicted source labels z and target labels z'.

With pseudo-labels ``z | u ~ p_s(. | u)`` on target samples and ``Q(z', z) = E[1{z'} p_s(z | u)]``, in nats:

* ``H(z | z') = sum_c pi_c H(E[p_s | z' = c])`` ("conditional": what the public RECRAFT code minimises; it is
  zero whenever all predictions collapse to one source class);
* ``I(z; z') = H(z) - H(z | z')`` ("mutual": minimise ``-I``);
* ``H(z' | z) = H(z') + H(z | z') - H(z)``: the term of the transfer bound. It differs from ``-I`` by the
  constant H(z').

Bias. The plug-in entropy of a mean of n predictions is low by ``sum_z Var(p_z) / (2 n pbar_z)`` to first order
(delta method: ``E f(pbar) - f(p) = f''(p) Var(p) / 2n`` with ``f = -p log p``; for one-hot rows this is the
correction of Miller 1955 and Madow). ``bias_correction=True`` adds it back, per class for ``H(z | z')``.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from crosstune.errors import DataError, UsageError
from crosstune.information.joint import (
    check_labels,
    check_probabilities,
    joint_distribution,
    negative_plogp,
    sample_weights,
)

Direction = Literal["z_given_label", "label_given_z"]


def entropy(p: Tensor, *, dim: int = -1) -> Tensor:
    """Shannon entropy ``-sum p log p`` in nats along ``dim``; 0 log 0 = 0. p: (..., K), sums to one."""
    return negative_plogp(p, dim=dim)


def label_entropy(labels: Tensor, num_labels: int | None = None) -> float:
    """Plug-in entropy H(z') of integer labels (n,), nats."""
    labels, count = check_labels(labels, labels.numel(), num_labels, labels.device)
    share = torch.bincount(labels, minlength=count).double() / labels.numel()
    return float(negative_plogp(share))


def label_floor(labels: Tensor, num_source_labels: int, num_labels: int | None = None) -> float:
    """``H(z') - log K``, nats: no source predictor with K labels can bring ``H(z' | z)`` below it.

    Because ``H(z' | z) = H(z') - I(z; z')`` and ``I <= H(z) <= log K``. Negative values mean no floor.
    """
    if num_source_labels < 1:
        raise UsageError(f"number of source labels is {num_source_labels}, expected at least 1")
    return label_entropy(labels, num_labels) - math.log(num_source_labels)


def marginal_entropy(probs: Tensor, *, weights: Tensor | None = None, bias_correction: bool = False) -> Tensor:
    """``H(z) = H(E[p_s])`` of the mean prediction, 0-d, nats. probs: (n, K)."""
    probs = check_probabilities(probs)
    mean = (probs * sample_weights(weights, probs.shape[0], probs)[:, None]).sum(dim=0)
    value = negative_plogp(mean)
    if bias_correction:
        _refuse_weights(weights)
        zeros = torch.zeros(probs.shape[0], dtype=torch.int64, device=probs.device)
        value = value + _plugin_bias(probs, zeros, 1).squeeze(0)
    return value


def conditional_entropy(
    probs: Tensor,
    labels: Tensor,
    *,
    direction: Direction = "z_given_label",
    num_labels: int | None = None,
    bias_correction: bool = False,
    weights: Tensor | None = None,
) -> Tensor:
    """``H(z | z')`` (default) or ``H(z' | z)``, 0-d, nats, differentiable with respect to ``probs``.

    probs: (n, K), rows sum to one. labels: (n,) integer codes z'. weights: (n,) sample weights, optional.
    Classes without samples carry no mass and change nothing. Raises ``DataError`` on malformed input and
    ``UsageError`` on an unknown direction.
    """
    if direction not in ("z_given_label", "label_given_z"):
        raise UsageError(f"unknown direction {direction!r}", fix="use 'z_given_label' or 'label_given_z'")
    joint = joint_distribution(probs, labels, num_labels, weights=weights)
    given = joint.sum(dim=1 if direction == "z_given_label" else 0)
    value = negative_plogp(joint) - negative_plogp(given)
    if not bias_correction:
        return value
    _refuse_weights(weights)
    within, label_term = _conditional_bias(check_probabilities(probs), labels, joint.shape[0])
    value = value + within
    if direction == "label_given_z":
        total = _plugin_bias(check_probabilities(probs), torch.zeros_like(labels), 1).squeeze(0)
        value = value - total + label_term
    return value


def mutual_information(
    probs: Tensor,
    labels: Tensor,
    *,
    num_labels: int | None = None,
    bias_correction: bool = False,
    weights: Tensor | None = None,
) -> Tensor:
    """``I(z; z') = H(z) - H(z | z')``, 0-d, nats, >= 0 without correction. Arguments as ``conditional_entropy``."""
    conditional = conditional_entropy(
        probs, labels, num_labels=num_labels, bias_correction=bias_correction, weights=weights
    )
    return marginal_entropy(probs, weights=weights, bias_correction=bias_correction) - conditional


def _refuse_weights(weights: Tensor | None) -> None:
    if weights is not None:
        raise UsageError("bias_correction is derived for equal weights", fix="drop weights or bias_correction")


def _plugin_bias(probs: Tensor, labels: Tensor, count: int) -> Tensor:
    """``sum_z Var(p_z) / (2 n_c pbar_cz)`` per class, (C,); zero for classes with fewer than two samples."""
    sizes = torch.bincount(labels, minlength=count).to(probs.dtype)
    sums = torch.zeros(count, probs.shape[1], dtype=probs.dtype, device=probs.device).index_add(0, labels, probs)
    mean = sums / sizes.clamp_min(1.0)[:, None]
    squares = torch.zeros_like(sums).index_add(0, labels, (probs - mean[labels]).square())
    variance = squares / (sizes - 1.0).clamp_min(1.0)[:, None]
    positive = mean > torch.finfo(probs.dtype).eps
    ratio = torch.where(positive, variance / torch.where(positive, mean, torch.ones_like(mean)), torch.zeros_like(mean))
    return torch.where(sizes > 1, ratio.sum(dim=1) / (2.0 * sizes.clamp_min(1.0)), torch.zeros_like(sizes))


def _conditional_bias(probs: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Corrections of ``H(z | z')`` and of ``H(z')`` (Miller-Madow), both to be added."""
    labels = labels.to(probs.device)
    sizes = torch.bincount(labels, minlength=count).to(probs.dtype)
    n = probs.shape[0]
    if n < 2:
        raise DataError(f"bias correction needs at least 2 samples, got {n}")
    within = (sizes / n * _plugin_bias(probs, labels, count)).sum()
    occupied = float((sizes > 0).sum())
    return within, torch.as_tensor((occupied - 1.0) / (2.0 * (n - 1)), dtype=probs.dtype, device=probs.device)
