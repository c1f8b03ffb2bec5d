"""Minibatch estimates whose gradients are unbiased, or whose bias is known.

The entropy of a batch mean is biased, and so is its gradient: ``E[grad H(p_batch)] != grad H(p)``. Two remedies:

* ``RunningLabelStatistics``: with running statistics q held fixed, ``-sum_z log q_z p_z`` is linear in the batch
  mean, so its batch gradient is an unbiased estimate of the gradient of the cross-entropy ``-sum_z log q_z p_z`` of
  the population, which is the gradient of H at q = p (the term ``-sum_z grad p_z`` is zero);
* ``collision_probability``: ``sum_z p_z^2`` is quadratic, so a U-statistic estimates it without bias.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from crosstune.errors import DataError, UsageError
from crosstune.information.channel import leep
from crosstune.information.joint import check_labels, check_probabilities, joint_distribution

Objective = Literal["conditional", "mutual", "label_given_z", "leep"]
OBJECTIVES = ("conditional", "mutual", "label_given_z", "leep")
_SMALLEST = 1e-8


class RunningLabelStatistics:
    """Exponential moving average of the joint law Q(z', z), and losses that use it as a constant.

    momentum m: each batch enters with weight ``1 - m``; the average is divided by ``1 - m^t`` (no start-up bias).
    """

    def __init__(self, num_source_labels: int, num_labels: int, *, momentum: float = 0.95) -> None:
        if not 0.0 <= momentum < 1.0:
            raise UsageError(f"momentum is {momentum}, expected at least 0 and below 1")
        if num_source_labels < 1 or num_labels < 1:
            raise UsageError(f"got {num_source_labels} source and {num_labels} target labels, expected at least 1 each")
        self.num_source_labels, self.num_labels, self.momentum = num_source_labels, num_labels, momentum
        self._sum = torch.zeros(num_labels, num_source_labels, dtype=torch.float64)
        self._weight = 0.0

    @property
    def ready(self) -> bool:
        """Whether any batch has been seen."""
        return self._weight > 0.0

    @property
    def joint(self) -> Tensor:
        """Current estimate of Q(z', z), (C, K) float64, sums to one."""
        if not self.ready:
            raise UsageError("running label statistics are empty", fix="call update() or reset_to() first")
        return self._sum / self._weight

    @property
    def channel(self) -> Tensor:
        """B(z' | z), (K, C): rows sum to one."""
        joint = self.joint
        source = joint.sum(dim=0)
        share = joint.T / source.clamp_min(_SMALLEST)[:, None]
        return torch.where(source[:, None] > _SMALLEST, share, joint.sum(dim=1)[None, :])

    @torch.no_grad()
    def update(self, probs: Tensor, labels: Tensor) -> None:
        """Fold a batch in: probs (n, K), labels (n,). No gradient is kept."""
        batch = self._joint(probs, labels)
        self._sum = self.momentum * self._sum.to(batch.device) + (1.0 - self.momentum) * batch
        self._weight = self.momentum * self._weight + (1.0 - self.momentum)

    @torch.no_grad()
    def reset_to(self, probs: Tensor, labels: Tensor) -> None:
        """Replace the average by the exact statistics of a whole pass over the data."""
        self._sum, self._weight = self._joint(probs, labels), 1.0

    def loss(self, probs: Tensor, labels: Tensor, *, objective: Objective = "mutual") -> Tensor:
        """A 0-d loss, nats: a mean over samples given the statistics, so batch gradients are unbiased given them.

        Its value is that of the whole data when the statistics are. "conditional": estimates H(z|z'); "mutual":
        ``-I(z; z')``; "label_given_z": H(z'|z) (the same gradient); "leep": ``-LEEP`` with the running channel.
        """
        if objective not in OBJECTIVES:
            raise UsageError(f"unknown objective {objective!r}", fix=f"use one of {', '.join(OBJECTIVES)}")
        probs = check_probabilities(probs)
        labels, _ = check_labels(labels, probs.shape[0], self.num_labels, probs.device)
        if objective == "leep":
            return -leep(probs, labels, channel=self.channel.to(probs))
        joint = self.joint.to(probs)
        prior, marginal = joint.sum(dim=1), joint.sum(dim=0)
        given = joint / prior.clamp_min(_SMALLEST)[:, None]
        given = torch.where(prior[:, None] > _SMALLEST, given, marginal[None, :])
        conditional = -(probs * given.clamp_min(_SMALLEST).log()[labels]).sum(dim=1).mean()
        if objective == "conditional":
            return conditional
        negative = conditional + (probs * marginal.clamp_min(_SMALLEST).log()).sum(dim=1).mean()
        if objective == "mutual":
            return negative
        return negative - (prior * prior.clamp_min(_SMALLEST).log()).sum()

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self._sum.cpu(), "weight": self._weight, "momentum": self.momentum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if tuple(state["sum"].shape) != (self.num_labels, self.num_source_labels):
            raise DataError(
                f"stored statistics have shape {tuple(state['sum'].shape)}, "
                f"expected ({self.num_labels}, {self.num_source_labels})"
            )
        self._sum, self._weight, self.momentum = state["sum"].double(), state["weight"], state["momentum"]

    def _joint(self, probs: Tensor, labels: Tensor) -> Tensor:
        if probs.ndim != 2 or probs.shape[1] != self.num_source_labels:
            raise DataError(f"probs have shape {tuple(probs.shape)}, expected (n, {self.num_source_labels})")
        return joint_distribution(probs.detach(), labels, self.num_labels).double()


def collision_probability(probs: Tensor, labels: Tensor | None = None) -> Tensor:
    """U-statistic ``sum_{i != j} <p_i, p_j> / (n (n - 1))``: unbiased for ``sum_z p_z^2``, 0-d, differentiable.

    With labels (n,): the mean over samples of their class's U-statistic (classes with one sample are left out), an
    estimate of ``sum_c pi_c sum_z p(z | c)^2``. ``-log`` of it is the Renyi entropy of order 2.
    """
    probs = check_probabilities(probs)
    n = probs.shape[0]
    if labels is None:
        labels = torch.zeros(n, dtype=torch.int64, device=probs.device)
    labels, count = check_labels(labels, n, None, probs.device)
    sizes = torch.bincount(labels, minlength=count).to(probs.dtype)
    if not bool((sizes > 1).any()):
        raise DataError("no class has two samples, so no pair to compare", fix="use larger batches")
    sums = torch.zeros(count, probs.shape[1], dtype=probs.dtype, device=probs.device).index_add(0, labels, probs)
    own = torch.zeros_like(sizes).index_add(0, labels, probs.square().sum(dim=1))
    pairs = (sums.square().sum(dim=1) - own) / (sizes * (sizes - 1.0)).clamp_min(1.0)
    usable = torch.where(sizes > 1, sizes, torch.zeros_like(sizes))
    return (pairs * usable).sum() / usable.sum()
