"""One door for the alignment stage: a prepared source, a batch of target features, one loss with its evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from crosstune.discovery import suggest
from crosstune.errors import UsageError
from crosstune.ot.discrepancy import mmd
from crosstune.ot.entropic import sinkhorn_divergence
from crosstune.ot.geometry import Points, PreparedSource, check_cost, cost_matrix, prepare_points
from crosstune.ot.labelled import dataset_distance
from crosstune.ot.linear_program import exact
from crosstune.ot.projections import prepare_slices, sliced
from crosstune.ot.results import Coupling, Result


def prepare(
    source: Tensor,
    *,
    cost: str = "sqeuclidean",
    projections: int | None = None,
    generator: torch.Generator | None = None,
) -> PreparedSource:
    """Do once what depends on the source alone; every function of ``crosstune.ot`` accepts the result as ``x``.

    source: (n, d), detached here. Norms and centring are computed at once; self terms of the debiased divergence
    and of MMD, and class laws, on first use; with ``projections`` the sliced distance uses that many fixed
    directions (drawn from ``generator``) and the source's projections are sorted now.
    """
    prepared = prepare_points(source, cost)
    if projections is not None:
        prepare_slices(prepared, projections, generator)
    return prepared


def _sinkhorn(source: Points, y: Tensor, *, cost: str, **options: Any) -> Coupling:
    """Epsilon defaults to 0.002 times the mean cost of a sample, fixed at the first call for a prepared source."""
    if "epsilon" not in options:
        options["epsilon"] = _default_epsilon(source, y, cost)
    return sinkhorn_divergence(source, y, cost=cost, **options)


def _sliced(source: Points, y: Tensor, *, cost: str, **options: Any) -> Result:
    return sliced(source, y, **{"p": 1 if cost == "euclidean" else 2, **options})


def _mmd(source: Points, y: Tensor, *, cost: str, **options: Any) -> Result:
    return mmd(source, y, **options)


def _otdd(source: Points, y: Tensor, *, cost: str, **options: Any) -> Coupling:
    if "labels_x" not in options or "labels_y" not in options:
        raise UsageError(
            "alignment method 'otdd' compares labelled clouds and got no labels",
            fix="pass labels_x (source codes) and labels_y (target codes), or use method='exact'",
        )
    return dataset_distance(source, options.pop("labels_x"), y, options.pop("labels_y"), cost=cost, **options)


_METHODS: dict[str, Callable[..., Coupling | Result]] = {
    "auto": exact,
    "exact": exact,
    "sinkhorn": _sinkhorn,
    "sliced": _sliced,
    "mmd": _mmd,
    "otdd": _otdd,
}


def alignment(
    source: Points, y: Tensor, *, method: str = "auto", cost: str = "sqeuclidean", **options: Any
) -> Coupling | Result:
    """Feature-alignment loss of stage 1; ``.value`` carries gradients to ``y``, ``.converged`` must be looked at.

    source: ``prepare(features, cost=cost)`` (or a tensor); y: (m, d) target features. method: "auto" and "exact"
    (the linear program on its contested rows: exact, and faster than the approximations it replaces), "sinkhorn",
    "sliced", "mmd" or "otdd" (needs ``labels_x``, ``labels_y``). Further options go to the function of that name.
    """
    if method not in _METHODS:
        raise UsageError(f"unknown alignment method {method!r}", fix=suggest(method, list(_METHODS)))
    check_cost(cost)
    return _METHODS[method](source, y, cost=cost, **options)


def _default_epsilon(source: Points, y: Tensor, cost: str) -> float:
    key = ("epsilon", cost)
    if isinstance(source, PreparedSource) and key in source.cache:
        return source.cache[key]
    points = source.points if isinstance(source, PreparedSource) else source.detach()
    sample = prepare_points(points[:: max(1, points.shape[0] // 256)], cost)
    epsilon = 0.002 * float(cost_matrix(sample, y.detach().to(sample.points.dtype)).mean()) or 1e-6
    if isinstance(source, PreparedSource):
        source.cache[key] = epsilon
    return epsilon
