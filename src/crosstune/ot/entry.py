"""One door for the alignment stage."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from crosstune.errors import UsageError
from crosstune.ot.geometry import Points, PreparedSource, prepare_points
from crosstune.ot.linear_program import exact
from crosstune.ot.results import Coupling, Result

METHODS = ("auto", "exact", "sinkhorn", "sliced", "mmd", "otdd")


def prepare(source: Tensor, *, cost: str = "sqeuclidean", projections: int | None = None) -> PreparedSource:
    """Do once what depends on the source alone."""
    return prepare_points(source, cost)


def alignment(
    source: Points, y: Tensor, *, method: str = "auto", cost: str = "sqeuclidean", **options: Any
) -> Coupling | Result:
    """Feature-alignment loss of stage 1: ``.value`` carries gradients to ``y``."""
    if method not in METHODS:
        raise UsageError(f"unknown alignment method {method!r}", fix=f"use one of {', '.join(METHODS)}")
    return exact(source, y, cost=cost, **options)
