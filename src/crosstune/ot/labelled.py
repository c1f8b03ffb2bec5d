"""Optimal transport dataset distance: ground costs that know the labels (Alvarez-Melis & Fusi 2020).

    D((x, c), (y, c')) = d(x, y)^p + W_p^p(alpha_c, beta_c')

where ``alpha_c`` is the law of the points of class c. For Gaussian classes W_2^2 is the Bures formula
``|m - m'|^2 + tr(S + S' - 2 (S^1/2 S' S^1/2)^1/2)``. With centred factors ``S = A A^T``, ``S' = B B^T`` the cross
trace is the nuclear norm of ``A^T B``: exact for empirical covariances of any rank, no ridge, and a matrix of
class sizes instead of features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from crosstune.errors import DataError, UsageError
from crosstune.ot.geometry import Points, PreparedSource, as_prepared, check_cost, check_pair, weights
from crosstune.ot.gradient import plan_cost
from crosstune.ot.linear_program import LabelCost, certify, exact, optimum
from crosstune.ot.results import Coupling, SparsePlan

INNER = ("gaussian", "exact", "means")


@dataclass(frozen=True)
class ClassLaw:
    """Mean (d,), factor A (d, r) of the covariance ``A A^T`` (divisor n), and the points of a class (n, d)."""

    mean: Tensor
    factor: Tensor
    points: Tensor


def class_law(points: Tensor) -> ClassLaw:
    """Differentiable. A class of more points than features keeps a (d, d) factor from a QR decomposition."""
    mean = points.mean(dim=0)
    centred = (points - mean) / points.shape[0] ** 0.5
    if points.shape[0] > points.shape[1] and not points.requires_grad:
        centred = torch.linalg.qr(centred, mode="r").R
    return ClassLaw(mean=mean, factor=centred.T, points=points)


def bures_squared(p: ClassLaw, q: ClassLaw) -> Tensor:
    """``W_2^2`` between the Gaussians of two classes, 0-d, squared feature units."""
    cross = torch.linalg.matrix_norm(p.factor.T @ q.factor, ord="nuc")
    spread = p.factor.square().sum() + q.factor.square().sum() - 2.0 * cross
    return (p.mean - q.mean).square().sum() + spread.clamp_min(0.0)


def dataset_distance(
    x: Points,
    labels_x: Tensor,
    y: Tensor,
    labels_y: Tensor,
    *,
    cost: str = "sqeuclidean",
    inner: str = "gaussian",
    label_weight: float = 1.0,
    a: Tensor | None = None,
    b: Tensor | None = None,
    memory_limit: int | None = None,
) -> Coupling:
    """Label-aware transport between two labelled clouds, exact in the outer problem.

    x: (n, d) or a prepared source; y: (m, d); labels_x (n,), labels_y (m,): integer codes, the two label sets need
    not match. cost: "sqeuclidean" (p = 2) or "euclidean" (p = 1). inner: how class laws are compared: "gaussian"
    (Bures, p = 2 only), "exact" (the transport problem between the classes' points) or "means" (``|m - m'|^p``).
    label_weight: factor of the label term; 0 gives ``exact(x, y)``.

    Returns a ``Coupling`` whose value has gradients to y (and to x) through the points **and** through the class
    laws, by the envelope theorem. ``details["label_distance"]`` is the matrix of class distances.
    """
    check_cost(cost)
    if cost == "cosine" or inner not in INNER or (inner == "gaussian" and cost != "sqeuclidean"):
        raise UsageError(
            f"dataset_distance has no cost {cost!r} with inner {inner!r}",
            fix="use cost='sqeuclidean' with inner 'gaussian', 'exact' or 'means'; cost='euclidean' with the last two",
        )
    dtype = check_pair(x, y)
    source = as_prepared(x, cost, dtype)
    points = source.points if isinstance(x, PreparedSource) else x.to(source.points.dtype)
    moved = y.to(source.points.dtype)
    codes_x, laws_x = _laws(points, labels_x, "labels_x", source if points is source.points else None)
    codes_y, laws_y = _laws(moved, labels_y, "labels_y", None)
    between = label_weight * _label_distances(laws_x, laws_y, inner, cost)

    wa, wb = weights(a, source.shape[0], "a", y.device), weights(b, y.shape[0], "b", y.device)
    labels = LabelCost(codes_x, codes_y, between.detach().double())
    basis, solver = optimum(source, moved.detach(), wa, wb, labels=labels, memory_limit=memory_limit)
    plan = SparsePlan(rows=basis.rows, cols=basis.cols, mass=basis.mass, shape=(source.shape[0], y.shape[0]))
    mass = torch.zeros_like(between.detach().double())
    mass.index_put_((codes_x[plan.rows], codes_y[plan.cols]), plan.mass, accumulate=True)
    value = plan_cost(points, moved, source, plan) + (mass.to(between.dtype) * between).sum()
    coupling = certify(value, plan, basis, wa, wb, f"label-aware {solver}", cost)
    return replace(coupling, details={**coupling.details, "label_distance": between.detach(), "class_mass": mass})


def _laws(points: Tensor, labels: Tensor, name: str, source: PreparedSource | None) -> tuple[Tensor, list[ClassLaw]]:
    """Class codes 0..C-1 (classes present only) and the law of each class; cached for a prepared source."""
    if labels.shape != (points.shape[0],) or labels.is_floating_point():
        raise DataError(
            f"{name} have shape {tuple(labels.shape)} and dtype {labels.dtype}, expected codes ({points.shape[0]},)"
        )
    key = ("laws", name)
    if source is not None and key in source.cache and torch.equal(source.cache[key][0], labels):
        return source.cache[key][1]
    classes, codes = torch.unique(labels.to(points.device), return_inverse=True)
    laws = [class_law(points[codes == c]) for c in range(classes.numel())]
    if source is not None:
        source.cache[key] = (labels.clone(), (codes, laws))
    return codes, laws


def _label_distances(p: list[ClassLaw], q: list[ClassLaw], inner: str, cost: str) -> Tensor:
    """Matrix (C, C') of class distances, differentiable."""
    if inner == "gaussian":
        return torch.stack([torch.stack([bures_squared(u, v) for v in q]) for u in p])
    if inner == "exact":
        return torch.stack([torch.stack([exact(u.points, v.points, cost=cost).value for v in q]) for u in p])
    means_p, means_q = torch.stack([u.mean for u in p]), torch.stack([v.mean for v in q])
    squared = (means_p[:, None] - means_q[None]).square().sum(dim=2)
    return squared if cost == "sqeuclidean" else squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt()
