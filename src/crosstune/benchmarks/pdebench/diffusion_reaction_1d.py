"""Diffusion-reaction 1D: a field that spreads and grows. u_t = 0.5 u_xx + u (1 - u) on (0, 1), periodic, to t = 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crosstune.benchmarks.contract import Check
from crosstune.benchmarks.pdebench.assembling import assemble, terms
from crosstune.benchmarks.pdebench.initial import CELLS
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.problem import Pair, Problem, Variant, Windows
from crosstune.benchmarks.pdebench.reading import Trajectories
from crosstune.benchmarks.pdebench.solvers import reaction_diffusion
from crosstune.benchmarks.pdebench.verification import bound_check

LAYOUT = Layout(
    file="ReacDiff_Nu0.5_Rho1.0.hdf5", identifier=133177, md5="69a429239778d529cd419ed5888ea835", family="tensor",
    keys=("tensor",), channels=("u",), axes=1, samples=10_000, resolution=1024, frames=101, dt=0.01, start=0.0,
    length=1.0, attributes={"Nu": 0.5, "rho": 1.0},
)  # fmt: skip


def inspect(file: Trajectories, rows: np.ndarray) -> Iterator[Check]:
    """Values in [0, 1], both of which the initial field attains; whether the mean grows as the equation says."""
    values = file.read(rows, [0, file.frames - 1])[:, :, 0].astype(np.float64)
    outside = float(max(-values.min(), values.max() - 1))
    yield bound_check("range", outside, 1e-5, "distance of values outside [0, 1]")
    ends = float(max(values[:, 0].min(axis=1).max(), 1 - values[:, 0].max(axis=1).min()))
    allowed = 1e-5 if file.space[0] >= CELLS else (np.pi * 16 / file.space[0]) ** 2 / 2 + 0.05
    yield bound_check("scaling", ends, allowed, "distance of the initial extremes from 0 and 1")
    yield growth(values)


def growth(values: np.ndarray) -> Check:
    """Where the last field is a constant, by how much the mean grew against the logistic equation. A finding, not a
    judgement: the published file hardly grows."""
    first, last = values[:, 0].mean(axis=1), values[:, -1].mean(axis=1)
    logistic = np.log(last / (1 - last)) - np.log(first / (1 - first))
    return Check(
        "growth", None, f"the mean grows at a rate of {np.median(logistic):.2f} where the equation says 1; published "
        "files are reported to hardly grow"
    )  # fmt: skip


PROBLEM = Problem(
    name="diffusion_reaction_1d",
    layout=LAYOUT,
    variants=(
        Variant(
            STANDARD, "diffusion alone, as the published fields behave", clean=Pair(29, 1024),
            attributes={"Nu": 0.5, "rho": 1.0}, options={"nu": 0.5, "rho": 0.0},
            caution="from t = 0.1 on the field is a constant, the mean of the initial one (the published solver "
            "freezes the reaction): the task is to predict one number",
        ),
        Variant(
            "reacting", "nu = 0.01, rho = 1: the true reaction, and diffusion that leaves something to predict",
            clean=Pair(29, 256), attributes={"Nu": 0.01, "rho": 1.0}, options={"nu": 0.01, "rho": 1.0},
            stem="ReacDiff_Nu0.01_Rho1.0",
        ),
    ),
    shipped=Pair(29, 1024, test_frame=99),
    windows=Windows(initial=5, points=256, last=30),
    solve=reaction_diffusion.solve,
    inspect=inspect,
    block=32,
    divides=CELLS,
)  # fmt: skip

TASK = assemble(
    PROBLEM,
    title="Diffusion-Reaction 1D",
    summary="initial field in [0, 1] to the field that has spread and grown",
    protocols_=terms(
        clean="nu = 0.01 and the true reaction, frame 0 to frame 29 (t = 0.29) on 256 points",
        shipped="frame 0 to frame 29 (t = 0.29) in training, to frame 99 (t = 0.99) in the test, on 1024 points",
        official="five frames to the next, on 256 points, rolled out to t = 0.29",
    ),
    recipe_name="PDE-RD",
    published="Diff.Reac 1D",
    traps=(
        "train and test have different targets in the shipped protocol: frame 29 and frame 99; under the true equation "
        "they differ by 22 %",
        "published fields hardly react: the float32 solver freezes the growth, and both frames are the same constant",
        "at t = 0.29 the spread is 0.2 % of the field: the task is to predict a constant",
        "initial fields are scaled to [0, 1] one by one",
    ),
)  # fmt: skip
