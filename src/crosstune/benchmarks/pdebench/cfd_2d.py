"""Compressible Navier-Stokes 2D: an extra task; its published file has 55 GB, and generating it is slow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crosstune.benchmarks.pdebench.assembling import assemble, terms
from crosstune.benchmarks.pdebench.cfd_1d import conservation
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.problem import Pair, Problem, Variant, Windows
from crosstune.benchmarks.pdebench.solvers import gas

ESTIMATED_FROM = 100  # training trajectories that the public normaliser sees
LAYOUT = Layout(
    file="2D_CFD_Rand_M1.0_Eta0.1_Zeta0.1_periodic_128_Train.hdf5", identifier=164691,
    md5="75a34f34a3dcd9bc8ae4b7adf8bf372c", family="tensor", keys=("density", "pressure", "Vx", "Vy"),
    channels=("density", "pressure", "Vx", "Vy"), axes=2, samples=10_000, resolution=128, frames=21, dt=0.05,
    start=0.0, length=1.0, attributes={"M": 1.0, "eta": 0.1, "zeta": 0.1}, holdout="last",
)  # fmt: skip


def normalised(X: np.ndarray, y: np.ndarray, parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What public code does: every pixel, frame and channel has its own mean and deviation, of the first hundred
    training trajectories; inputs and targets of all parts are normalised, and so is the metric."""
    first = parts[0][:ESTIMATED_FROM]

    def encode(values: np.ndarray) -> np.ndarray:
        mean, deviation = values[first].mean(axis=0), values[first].std(axis=0, ddof=1 if len(first) > 1 else 0)
        return ((values - mean) / (deviation + 1e-5)).astype(np.float32)

    return encode(X), encode(y)


PROBLEM = Problem(
    name="cfd_2d",
    layout=LAYOUT,
    variants=(
        Variant(
            STANDARD, "M = 1, eta = zeta = 0.1", clean=Pair(20, 64), attributes={"M": 1.0, "eta": 0.1, "zeta": 0.1},
            options={"mach": 1.0, "eta": 0.1, "zeta": 0.1},
        ),
    ),
    shipped=Pair(20, 64),
    windows=Windows(initial=10, points=64),
    solve=gas.solve_square,
    inspect=conservation,
    block=4,
    usual=(100, 32),
    as_shipped=normalised,
)  # fmt: skip

TASK = assemble(
    PROBLEM,
    title="Compressible Navier-Stokes 2D",
    summary="density, pressure and both velocities at the start to the same at t = 1",
    protocols_=terms(
        clean="frame 0 to frame 20 (t = 1), four channels on 64 x 64",
        shipped="frame 0 to frame 20 (t = 1) on 64 x 64, normalised pixel by pixel, scored in normalised units",
        official="ten frames to the next, on 64 x 64, rolled out to t = 1",
        clean_metric="nrmse-channel",
    ),
    recipe_name="PDE-2DCFD",
    published=None,
    traps=(
        "the shipped metric is computed in normalised units, with other units for every pixel",
        "pressure dominates a norm over all channels",
        "published files are reported not to satisfy continuity well",
        "use resolution 32 when generating: a sample takes a second there, and sixteen times as long at each doubling",
    ),
)  # fmt: skip
