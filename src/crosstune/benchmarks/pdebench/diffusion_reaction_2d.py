"""Diffusion-reaction 2D (FitzHugh-Nagumo): an activator and an inhibitor on (-1, 1)^2, from noise, to t = 5."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crosstune.benchmarks.contract import Check
from crosstune.benchmarks.pdebench.assembling import assemble, terms
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.problem import Pair, Problem, Variant, Windows
from crosstune.benchmarks.pdebench.reading import Trajectories
from crosstune.benchmarks.pdebench.solvers import fitzhugh_nagumo
from crosstune.benchmarks.pdebench.verification import bound_check

LAYOUT = Layout(
    file="2D_diff-react_NA_NA.h5", identifier=133017, md5="b8d0b86064193195ddc30c33be5dc949", family="seeds",
    keys=("data",), channels=("u", "v"), axes=2, samples=1000, resolution=128, frames=101, dt=0.05, start=-1.0,
    length=2.0, holdout="last", compression="lzf",
)  # fmt: skip


def inspect(file: Trajectories, rows: np.ndarray) -> Iterator[Check]:
    """Standard normal noise at the start, bounded afterwards, channels not exchanged."""
    rows = rows[:8]
    values = file.read(rows, [0, 1, file.frames - 1]).astype(np.float64)
    count = len(rows) * int(np.prod(file.space))
    start = values[:, 0].swapaxes(0, 1).reshape(2, -1)
    off = float(max(np.abs(start.mean(axis=1)).max(), np.abs(start.std(axis=1) - 1).max()))
    yield bound_check("initial state", off, 6 / np.sqrt(count), "mean and deviation against standard normal noise")
    yield bound_check("bounded", float(np.abs(values[:, 2]).max()), 2.0, "largest modulus of the last frame")
    # the cells of v smooth out five times as fast as those of u: without it the channels are exchanged
    roughness = np.sqrt((np.diff(values[:, 1], axis=2) ** 2).mean(axis=(0, 2, 3)) / values[:, 1].var(axis=(0, 2, 3)))
    text = f"roughness of u {roughness[0]:.2f}, of v {roughness[1]:.2f}: v spreads faster"
    yield Check("channels", bool(roughness[1] < roughness[0]), text)


PROBLEM = Problem(
    name="diffusion_reaction_2d",
    layout=LAYOUT,
    variants=(Variant(STANDARD, "u and v, white noise at the start", clean=Pair(100, 128)),),
    shipped=Pair(100, 128, test_frame=99, inputs=(0,), targets=(1,)),
    windows=Windows(initial=10, points=128),
    solve=fitzhugh_nagumo.solve,
    inspect=inspect,
    block=4,
)

TASK = assemble(
    PROBLEM,
    title="Diffusion-Reaction 2D",
    summary="activator and inhibitor as noise to the pattern they form",
    protocols_=terms(
        clean="both channels, frame 0 to frame 100 (t = 5) on 128 x 128",
        shipped="u of frame 0 to v of frame 100 (t = 5) in training, of frame 99 (t = 4.95) in the test, on 128 x 128",
        official="ten frames to the next, both channels, on 128 x 128, rolled out to t = 5",
        clean_metric="nrmse-channel",
    ),
    recipe_name="PDE-RD2D",
    published="Diff.Reac 2D",
    traps=(
        "the shipped protocol shows u at the start and asks for v at the end: v at the start, which is independent "
        "noise, is never shown, and the reported 0.82 is not far from predicting zero (1.0)",
        "train and test have different targets in the shipped protocol: t = 5 and t = 4.95, 0.5 % apart",
        "the initial noise lives on the cells: another grid is another problem",
        "the stored order of space is row = y, column = x",
    ),
)  # fmt: skip
