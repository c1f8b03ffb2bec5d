"""Compressible Navier-Stokes 1D: density, pressure and velocity of a viscous gas on (-1, 1), periodic, to t = 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from crosstune.benchmarks.contract import Check
from crosstune.benchmarks.pdebench.assembling import assemble, terms
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.problem import Pair, Problem, Variant, Windows
from crosstune.benchmarks.pdebench.reading import Trajectories
from crosstune.benchmarks.pdebench.solvers import gas
from crosstune.benchmarks.pdebench.verification import bound_check

GAMMA = 5.0 / 3.0
LAYOUT = Layout(
    file="1D_CFD_Rand_Eta0.1_Zeta0.1_periodic_Train.hdf5", identifier=164668, md5="45655bd77d006ab539c52b7fbcf099b9",
    family="tensor", keys=("density", "pressure", "Vx"), channels=("density", "pressure", "Vx"), axes=1,
    samples=10_000, resolution=1024, frames=101, dt=0.01, start=-1.0, length=2.0,
    attributes={"eta": 0.1, "zeta": 0.1},
)  # fmt: skip


def conservation(file: Trajectories, rows: np.ndarray) -> Iterator[Check]:
    """Mass, momentum and energy do not change; density and pressure are positive."""
    values = file.read(rows, [0, file.frames // 2, file.frames - 1]).astype(np.float64)
    density, pressure, velocity = values[:, :, 0], values[:, :, 1], values[:, :, 2:]
    space = tuple(range(2, density.ndim))
    least = float(min(density.min(), pressure.min()))
    yield Check("positive", least > 0, f"smallest density or pressure {least:.3g}")
    energy = pressure / (GAMMA - 1) + 0.5 * density * (velocity**2).sum(axis=2)
    momentum = density * velocity[:, :, 0]
    scale = np.sqrt(density * pressure).mean(axis=space)[:, :1]  # momentum itself may vanish
    for name, total, size in (("mass", density, None), ("energy", energy, None), ("momentum", momentum, scale)):
        mean = total.mean(axis=space)
        drift = np.abs(mean - mean[:, :1]) / (mean[:, :1] if size is None else size)
        # published files are stored in float32 and reported not to conserve well
        yield bound_check(name, float(drift.max()), 1e-2, f"relative drift of the {name}")


def normalised(X: np.ndarray, y: np.ndarray, parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What public code does: fields flattened to one channel; mean and deviation of every point of the first frame of
    the training rows normalise all inputs and the targets of the training rows. Targets of the test stay raw."""
    X, y = X.reshape(len(X), 1, -1), y.reshape(len(y), 1, -1)
    train, test = parts[0], parts[2]
    mean, deviation = X[train].mean(axis=0), X[train].std(axis=0, ddof=1 if len(train) > 1 else 0) + 1e-5
    encoded = (y - mean) / deviation
    encoded[test] = y[test]
    return ((X - mean) / deviation).astype(np.float32), encoded.astype(np.float32)


PROBLEM = Problem(
    name="cfd_1d",
    layout=LAYOUT,
    variants=(
        Variant(
            STANDARD, "eta = zeta = 0.1", clean=Pair(100, 256), attributes={"eta": 0.1, "zeta": 0.1},
            options={"eta": 0.1, "zeta": 0.1},
        ),
    ),
    shipped=Pair(100, 1024),
    windows=Windows(initial=10, points=128, every=5),
    solve=gas.solve_line,
    inspect=conservation,
    block=16,
    as_shipped=normalised,
)  # fmt: skip

TASK = assemble(
    PROBLEM,
    title="Compressible Navier-Stokes 1D",
    summary="density, pressure and velocity at the start to the same at t = 1",
    protocols_=terms(
        clean="frame 0 to frame 100 (t = 1), three channels on 256 points",
        shipped="frame 0 to frame 100 (t = 1), channels flattened to one of 3 x 1024 points, inputs and training "
        "targets normalised, test targets raw",
        official="ten frames to the next, every fifth frame, on 128 points, rolled out to t = 1",
        clean_metric="nrmse-channel",
        loss="rmse",
    ),
    recipe_name="PDE-1DCFD",
    published="Navier-Stokes",
    traps=(
        "the shipped protocol compares normalised predictions with raw test targets: published scores of 0.062 to "
        "0.066 cannot come from it",
        "pressure is ten times density and dominates a norm over all channels",
        "viscosities are kinematic: the stress is rho (zeta + 4/3 eta) v_x",
        "published files are reported not to conserve mass well",
    ),
)  # fmt: skip
