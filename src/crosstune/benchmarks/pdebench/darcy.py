"""Darcy 2D, beta = 0.1: from a two-valued permeability to the pressure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from crosstune.benchmarks.contract import Check
from crosstune.benchmarks.pdebench.assembling import assemble, terms
from crosstune.benchmarks.pdebench.irreducible import darcy_answers
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.problem import Pair, Problem, Variant, Windows
from crosstune.benchmarks.pdebench.reading import Trajectories
from crosstune.benchmarks.pdebench.solvers import darcy

BETA = 0.1
LAYOUT = Layout(
    file="2D_DarcyFlow_beta0.1_Train.hdf5", identifier=133218, md5="294f9a03a4aa16b0e386469ca8b471be", family="darcy",
    keys=("nu", "tensor"), channels=("u",), axes=2, samples=10_000, resolution=128, frames=2, dt=1.0, start=0.0,
    length=1.0, attributes={"beta": BETA},
)  # fmt: skip


def inspect(file: Trajectories, rows: np.ndarray) -> Iterator[Check]:
    """Two values of the permeability; a positive solution; how far the solution is from the steady one."""
    values = file.read(rows, [0, 1])[:, :, 0].astype(np.float64)
    found = np.unique(values[:, 0].round(6))
    text = f"permeability takes the values {', '.join(f'{v:g}' for v in found[:5])}; published are 0.1 and 1"
    yield Check("permeability", len(found) <= 2 and set(found) <= {0.1, 1.0}, text)
    lowest = float(values[:, 1].min())
    yield Check("positive", lowest > 0, f"smallest value of the solution {lowest:.3g}, which is positive in theory")
    yield steadiness(values)


def steadiness(values: np.ndarray, samples: int = 3) -> Check:
    """Relative distance of stored solutions (n, 2, X, Y) from the steady solution of their permeability. A finding, not
    a judgement: the published file is a transient."""
    gaps = []
    for nu, stored in values[:samples]:
        exact = darcy.steady(nu, np.full(nu.shape, BETA))
        gaps.append(np.linalg.norm(stored - exact) / np.linalg.norm(stored))
    return Check(
        "steady", None, f"stored solutions are {np.mean(gaps):.2g} away from the steady ones (mean of {samples})"
    )


PROBLEM = Problem(
    name="darcy",
    layout=LAYOUT,
    variants=(
        Variant(
            STANDARD, "late transient of a heat equation with a random start, as published", clean=Pair(1, 64),
            attributes={"beta": BETA}, options={"beta": BETA, "steady": False},
            caution="the stored solution is a transient at t = 1.75 that still holds 8 % of a random initial field: no "
            "predictor from the permeability alone can reach an nRMSE much below 0.08",
        ),
        Variant(
            "steady", "the steady solution", clean=Pair(1, 64), attributes={"beta": BETA},
            options={"beta": BETA, "steady": True}, stem="2D_DarcyFlow_steady_beta0.1_Train",
        ),
    ),
    shipped=Pair(1, 64),
    windows=Windows(initial=1, points=64),
    solve=darcy.solve,
    inspect=inspect,
    block=25,
    answers=partial(darcy_answers, beta=BETA),
)  # fmt: skip

TASK = assemble(
    PROBLEM,
    title="Darcy 2D",
    summary="permeability of 0.1 and 1 to the pressure",
    protocols_=terms(
        clean="permeability to the steady pressure (on the published file: to the stored transient) on 64 x 64",
        shipped="permeability to the stored pressure on 64 x 64",
        official="permeability to the stored pressure, one step, on 64 x 64",
    ),
    recipe_name="PDE-Darcy",
    published="Darcy 2D",
    traps=(
        "the stored solution is a late transient, not the steady state: no nRMSE much below 0.08 is possible from the "
        "permeability alone, and published scores of 0.079 to 0.081 sit there",
        "the file's time axis is [permeability, solution]; it has no times",
        "the permeability is thresholded at the mean over a batch of 200 samples",
        "u vanishes half a cell outside the square",
    ),
)  # fmt: skip
