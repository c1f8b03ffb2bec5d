"""Shallow water 2D: a round column of water that collapses, on (-2.5, 2.5)^2, to t = 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crosstune.benchmarks.contract import Check
from crosstune.benchmarks.pdebench.assembling import assemble, terms
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.problem import Pair, Problem, Variant, Windows
from crosstune.benchmarks.pdebench.reading import Trajectories
from crosstune.benchmarks.pdebench.solvers import water
from crosstune.benchmarks.pdebench.verification import bound_check

COUNTED = 1000  # samples among which equal initial states are counted
LAYOUT = Layout(
    file="2D_rdb_NA_NA.h5", identifier=133021, md5="75d838c47aa410694bdc912ea7f22282", family="seeds", keys=("data",),
    channels=("h",), axes=2, samples=1000, resolution=128, frames=101, dt=0.01, start=-2.5, length=5.0, holdout="last",
)  # fmt: skip


def inspect(file: Trajectories, rows: np.ndarray) -> Iterator[Check]:
    """Two heights at the start; the mass; how many samples differ."""
    values = file.read(rows, [0, file.frames // 2])[:, :, 0].astype(np.float64)
    flat = values[:, 0].reshape(len(rows), -1)
    heights = max(len(np.unique(row)) for row in flat)
    yield Check("initial state", heights <= 2, f"{heights} heights at the start; a column in still water has 2")
    yield Check("positive", float(values.min()) > 0, f"smallest height {values.min():.3g}")
    if file.variant == STANDARD:
        mass = values.mean(axis=(2, 3))
        # no wave has reached the walls at t = 0.5
        drift = float((np.abs(mass[:, 1] - mass[:, 0]) / mass[:, 0]).max())
        yield bound_check("mass", drift, 1e-4, "relative drift of the mass to t = 0.5")
    first = file.read(np.arange(min(file.samples, COUNTED)), [0])
    distinct = len(np.unique(first.reshape(len(first), -1), axis=0))
    yield Check("distinct", None, f"{distinct} different initial states among the first {len(first)} samples")


PROBLEM = Problem(
    name="shallow_water",
    layout=LAYOUT,
    variants=(
        Variant(
            STANDARD, "a column of height 2 in the middle, random radius, as published", clean=Pair(100, 128),
            options={"varied": False},
            caution="the radius is the only random number and cells are coarse: there are 81 different samples on 128 "
            "x 128 (24 on 64 x 64), and every published test sample has an equal twin in the training part",
        ),
        Variant(
            "varied", "random radius, height and place of the column", clean=Pair(100, 128), options={"varied": True},
            stem="2D_rdb_varied_NA_NA",
        ),
    ),
    shipped=Pair(100, 128, test_frame=99),
    windows=Windows(initial=10, points=128),
    solve=water.solve,
    inspect=inspect,
    block=8,
    alias=water.first_equal,
)  # fmt: skip

TASK = assemble(
    PROBLEM,
    title="Shallow Water 2D",
    summary="height of the water at the start to the height at t = 1",
    protocols_=terms(
        clean="column of random radius, height and place, frame 0 to frame 100 (t = 1) on 128 x 128; on the published "
        "file equal samples are kept in one part",
        shipped="frame 0 to frame 100 (t = 1) in training, to frame 99 (t = 0.99) in the test, on 128 x 128",
        official="ten frames to the next, on 128 x 128, rolled out to t = 1",
    ),
    recipe_name="PDE-SW",
    published="S.Water 2D",
    traps=(
        "81 different samples among 1000; all test samples have an equal twin in training, so a look-up is exact",
        "train and test have different targets in the shipped protocol: t = 1 and t = 0.99, 0.4 % apart",
        "only the height is stored, not the momenta: later frames alone do not determine the next",
    ),
)  # fmt: skip
