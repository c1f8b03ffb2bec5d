"""Advection 1D: a field that only moves. u_t + 0.4 u_x = 0 on (0, 1), periodic, to t = 2."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crosstune.benchmarks.contract import Check
from crosstune.benchmarks.pdebench.assembling import assemble, terms
from crosstune.benchmarks.pdebench.initial import CELLS
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.problem import Pair, Problem, Variant, Windows
from crosstune.benchmarks.pdebench.reading import Trajectories
from crosstune.benchmarks.pdebench.solvers import transport
from crosstune.benchmarks.pdebench.verification import bound_check

BETA = 0.4
LAYOUT = Layout(
    file="1D_Advection_Sols_beta0.4.hdf5", identifier=255674, md5="d595bbfd2c659df995a93cd40d6ea568", family="tensor",
    keys=("tensor",), channels=("u",), axes=1, samples=10_000, resolution=1024, frames=201, dt=0.01, start=0.0,
    length=1.0, attributes={"beta": BETA},
)  # fmt: skip


def measured_speed(file: Trajectories, samples: int = 16) -> tuple[float, float]:
    """(speed, misfit): the speed in [0, 4 beta] at which the first frame, moved round the interval, is nearest to a
    later one; misfit: relative root mean square distance there. Many samples together leave no doubt about the period.
    """
    frame = min(25, file.frames - 1)
    time = frame * LAYOUT.dt
    values = file.read(np.arange(min(samples, file.samples)), [0, frame])[:, :, 0].astype(np.float64)
    x = np.arange(file.space[0]) / file.space[0]
    speeds = np.linspace(0.0, 4 * BETA, 161)
    errors = []
    for speed in speeds:
        moved = np.stack([np.interp((x - speed * time) % 1.0, x, row, period=1.0) for row in values[:, 0]])
        errors.append(np.sqrt(np.mean((moved - values[:, 1]) ** 2)))
    spread = float(np.sqrt(np.mean((values[:, 0] - values[:, 0].mean(axis=1, keepdims=True)) ** 2)))
    return float(speeds[int(np.argmin(errors))]), float(min(errors)) / max(spread, 1e-12)


def revision(file: Trajectories) -> Check:
    """Files released until 2023 move at twice the stated speed."""
    speed, misfit = measured_speed(file)
    text = f"fields move at {speed:.2f} (misfit {misfit:.2g} of their spread); stated is {BETA}"
    if misfit > 0.5:
        return Check("revision", False, f"{text}: no travelling fields")
    if abs(speed - 2 * BETA) < 0.05:
        return Check("revision", False, f"{text}: the old revision, whose time axis is off by a factor of two")
    return Check("revision", abs(speed - BETA) < 0.05, text)


def inspect(file: Trajectories, rows: np.ndarray) -> Iterator[Check]:
    """The mean does not change; nor does the largest modulus grow."""
    values = file.read(rows, [0, file.frames // 2, file.frames - 1])[:, :, 0].astype(np.float64)
    scale = np.abs(values[:, 0]).max(axis=1)
    drift = np.abs(values.mean(axis=2) - values[:, :1].mean(axis=2)).max(axis=1) / scale
    # the formula's period is one cell short of the domain: a point that is passed twice shifts the mean by a cell
    yield bound_check("mean", float(drift.max()), 8.0 / min(file.space[0], CELLS), "drift of the mean")
    growth = (np.abs(values).max(axis=2) / scale[:, None] - 1).max()
    # between two points the crest of the shortest wave, eight to the interval, rises by (pi 8 / points)^2 / 2
    allowed = 1e-3 + (np.pi * 8 / file.space[0]) ** 2
    yield bound_check("maximum", float(growth), allowed, "growth of the largest modulus")


PROBLEM = Problem(
    name="advection",
    layout=LAYOUT,
    variants=(
        Variant(
            STANDARD, "u_t + 0.4 u_x = 0, exact", clean=Pair(200, 256), attributes={"beta": BETA},
            options={"beta": BETA},
        ),
    ),
    shipped=Pair(200, 256),
    windows=Windows(initial=10, points=256, every=5),
    solve=transport.solve,
    inspect=inspect,
    block=64,
    divides=CELLS,
    revise=revision,
)  # fmt: skip

TASK = assemble(
    PROBLEM,
    title="Advection 1D",
    summary="initial wave to the same wave moved by 0.8 of the interval",
    protocols_=terms(
        clean="frame 0 to frame 200 (t = 2) on 256 points",
        shipped="frame 0 to frame 200 (t = 2) on 256 points",
        official="ten frames to the next, every fifth frame, on 256 points, rolled out to t = 2",
    ),
    recipe_name="PDE-ADV",
    published="Advection 1D",
    traps=(
        "files released until 2023 move at 0.8 instead of 0.4; `verify` measures the speed",
        "one-shot nRMSE (frame 0 to the last) and the benchmark's own autoregressive nRMSE share a name only",
        "initial fields hold constants of unselected modes: their mean is random, which decides nRMSE",
        "validation is the test set in the shipped protocol",
    ),
)  # fmt: skip
