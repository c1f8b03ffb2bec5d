"""Burgers 1D: waves that steepen and spread. u_t + (u^2 / 2)_x = (Nu / pi) u_xx on (0, 1), periodic, to t = 2."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crosstune.benchmarks.contract import Check
from crosstune.benchmarks.pdebench.assembling import assemble, terms
from crosstune.benchmarks.pdebench.initial import CELLS
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.problem import Pair, Problem, Variant, Windows
from crosstune.benchmarks.pdebench.reading import Trajectories
from crosstune.benchmarks.pdebench.solvers import burgers
from crosstune.benchmarks.pdebench.verification import bound_check

LAYOUT = Layout(
    file="1D_Burgers_Sols_Nu1.0.hdf5", identifier=281365, md5="9021eba35332d127306f11ef84c1a60f", family="tensor",
    keys=("tensor",), channels=("u",), axes=1, samples=10_000, resolution=1024, frames=201, dt=0.01, start=0.0,
    length=1.0, attributes={"Nu": 1.0},
)  # fmt: skip


def revision(file: Trajectories) -> Check:
    """Older files live on (-1, 1): twice as long, so that everything is four times slower to spread."""
    x = file.coordinate("x")
    if x is None:
        return Check("revision", None, "no x-coordinate: cannot tell (0, 1) from the old (-1, 1)")
    if x[0] < -0.5:
        return Check("revision", False, f"x runs from {x[0]:.4g} to {x[-1]:.4g}: the old revision on (-1, 1)")
    return Check("revision", True, f"x runs from {x[0]:.4g} to {x[-1]:.4g}: the revision on (0, 1)")


def inspect(file: Trajectories, rows: np.ndarray) -> Iterator[Check]:
    """The mean does not change, the largest modulus does not grow, the energy falls."""
    frames = sorted({0, 1, file.frames // 2, file.frames - 1})
    values = file.read(rows, frames)[:, :, 0].astype(np.float64)
    scale = np.abs(values[:, 0]).max(axis=1)
    drift = np.abs(values.mean(axis=2) - values[:, :1].mean(axis=2)).max(axis=1) / scale
    # of thinned points the mean is that of the integral up to what the shortest wave, eight to the interval, hides
    yield bound_check("mean", float(drift.max()), 1e-3 if file.space[0] >= 128 else 0.05, "drift of the mean")
    growth = float((np.abs(values[:, 1:]).max(axis=2) / scale[:, None]).max() - 1)
    yield bound_check("maximum", growth, 1e-3 + (np.pi * 8 / file.space[0]) ** 2, "growth of the largest modulus")
    energy = (values**2).mean(axis=2)
    rise = float((np.diff(energy, axis=1) / energy[:, :1]).max())
    yield bound_check("energy", rise, 1e-4 if file.space[0] >= 128 else 0.05, "rise of the energy")
    final = values[:, -1]
    left = float(np.median(final.std(axis=1) / np.sqrt((final**2).mean(axis=1))))
    yield Check("content", None, f"spread of the last frame: {left:.2g} of its size (0: it is a constant)")


PROBLEM = Problem(
    name="burgers",
    layout=LAYOUT,
    variants=(
        Variant(
            STANDARD, "Nu = 1", clean=Pair(200, 1024), attributes={"Nu": 1.0}, options={"nu": 1.0},
            caution="at Nu = 1 the field of t = 2 is the mean of the initial one to 1e-11: the task is to predict one "
            "number, and samples with a mean near zero dominate the relative error",
        ),
        Variant(
            "small-viscosity", "Nu = 0.01: shocks stay sharp", clean=Pair(50, 256), attributes={"Nu": 0.01},
            options={"nu": 0.01}, stem="1D_Burgers_Sols_Nu0.01",
        ),
    ),
    shipped=Pair(200, 1024),
    windows=Windows(initial=10, points=256, every=5),
    solve=burgers.solve,
    inspect=inspect,
    block=32,
    divides=CELLS,
    revise=revision,
)  # fmt: skip

TASK = assemble(
    PROBLEM,
    title="Burgers 1D",
    summary="initial wave to the wave after its shocks have formed",
    protocols_=terms(
        clean="Nu = 0.01, frame 0 to frame 50 (t = 0.5) on 256 points (on the published file of Nu = 1: to t = 2)",
        shipped="frame 0 to frame 200 (t = 2) on 1024 points",
        official="ten frames to the next, every fifth frame, on 256 points, rolled out to t = 2",
        loss="rmse",
    ),
    recipe_name="PDE-Burgers",
    published="Burgers 1D",
    traps=(
        "at Nu = 1 the target is a constant, the mean of the input",
        "nRMSE divides by that constant: 1.5 % of the samples have a mean below 0.01 and dominate the score",
        "the public recipe declares 256 points and delivers 1024",
        "older files live on (-1, 1); `verify` reads the coordinate",
        "the file's Nu is pi times the diffusivity",
    ),
)  # fmt: skip
