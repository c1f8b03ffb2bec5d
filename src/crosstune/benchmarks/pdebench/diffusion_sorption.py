"""Diffusion-sorption 1D: a substance that enters from the left into ground that holds it back, for 500 seconds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crosstune.benchmarks.contract import Check
from crosstune.benchmarks.pdebench.assembling import assemble, terms
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.problem import Pair, Problem, Variant, Windows
from crosstune.benchmarks.pdebench.reading import Trajectories
from crosstune.benchmarks.pdebench.solvers import sorption
from crosstune.benchmarks.pdebench.verification import bound_check

LAYOUT = Layout(
    file="1D_diff-sorp_NA_NA.h5", identifier=133020, md5="9d466d1213065619d087319e16d9a938", family="seeds",
    keys=("data",), channels=("u",), axes=1, samples=10_000, resolution=1024, frames=101, dt=5.0, start=0.0, length=1.0,
    holdout="last", compression="lzf",
)  # fmt: skip


def inspect(file: Trajectories, rows: np.ndarray) -> Iterator[Check]:
    """Concentrations in [0, 1]; of the published kind constant at the start, below 0.2, and falling to the right."""
    values = file.read(rows, [0, file.frames // 2, file.frames - 1])[:, :, 0].astype(np.float64)
    yield bound_check("range", float(max(-values.min(), values.max() - 1)), 1e-5, "distance of values outside [0, 1]")
    # the published solver's tolerances are 1e-3
    entrance = float(np.abs(values[:, 1:, 0] - 1).max())
    yield bound_check("left wall", entrance, 8.0 / file.space[0] + 2e-3, "distance of the first cell from 1")
    if file.variant != STANDARD:
        return
    uneven = float(np.ptp(values[:, 0], axis=1).max())
    yield bound_check("initial state", uneven, 0.0, "variation of the initial concentration along x")
    high = float(values[:, 0].max())
    yield Check("initial level", 0 <= high <= 0.2, f"initial concentrations up to {high:.3g}; published are below 0.2")
    rise = float(np.diff(values[:, 1:], axis=2).max())
    yield bound_check("monotone", rise, 2e-3, "rise of the concentration to the right")


PROBLEM = Problem(
    name="diffusion_sorption",
    layout=LAYOUT,
    variants=(
        Variant(
            STANDARD, "one concentration everywhere at the start, as published", clean=Pair(100, 256),
            options={"profiles": False},
            caution="the initial state is one number, so the task is a curve of one parameter: a look-up table of that "
            "number solves it",
        ),
        Variant(
            "profiles", "an initial concentration that varies along x between 0 and 1", clean=Pair(10, 256),
            options={"profiles": True}, stem="1D_diff-sorp_profiles_NA_NA",
        ),
    ),
    shipped=Pair(100, 1024, test_frame=99),
    windows=Windows(initial=10, points=1024),
    solve=sorption.solve,
    inspect=inspect,
    block=16,
)  # fmt: skip

TASK = assemble(
    PROBLEM,
    title="Diffusion-Sorption 1D",
    summary="initial concentration to the concentration after a while",
    protocols_=terms(
        clean="varying initial profile, frame 0 to frame 10 (50 s) on 256 points (published file: to 500 s)",
        shipped="frame 0 to frame 100 (500 s) in training, to frame 99 (495 s) in the test, on 1024 points",
        official="ten frames to the next, on 1024 points, rolled out to 500 s",
    ),
    recipe_name="PDE-DS",
    published="Diff.Sorp 1D",
    traps=(
        "the initial state is one random number: a family of curves with one parameter",
        "train and test have different targets in the shipped protocol: 500 s and 495 s, 0.3 % apart",
        "the wall value 1 is that of a ghost cell: first order in the cell",
        "the published file holds 101 frames although its configuration in the repository says 501",
    ),
)  # fmt: skip
