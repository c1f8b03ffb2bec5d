"""Darcy flow (Li et al., 2021): from the permeability of the ground to the pressure in it, on every fifth of 421 nodes.

Pressures stay in their own units: losses and metrics are computed on them, as the benchmark does after decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from crosstune.benchmarks.contract import ProtocolName, Task, TaskData, Terms
from crosstune.benchmarks.nas_bench_360 import darcy_solver
from crosstune.benchmarks.nas_bench_360.checking import Report, recogniser, verifier
from crosstune.benchmarks.nas_bench_360.common import (
    Published,
    assemble,
    check_count,
    find,
    last_share,
    mark,
    prepare_folder,
    refuse_page,
    rows_between,
)
from crosstune.benchmarks.recipes import recipe
from crosstune.data.mat import MatArray, mat_arrays
from crosstune.errors import DataError, UsageError

NAME = "nas_bench_360/darcy_flow"
TRAIN, TEST = "piececonst_r421_N1024_smooth1.mat", "piececonst_r421_N1024_smooth2.mat"
FOLDERS = ("darcy", "darcy_flow")
NODES = 85
OFFICIAL_NODES, OFFICIAL_SAMPLES = 421, 1024
MOST_TRAIN, MOST_TEST = 1000, 100
_BUCKET = "https://pde-xd.s3.amazonaws.com"
PUBLISHED = Published({name: f"{_BUCKET}/{name}" for name in (TRAIN, TEST)}, unpack={})


def open_arrays(file: Path) -> tuple[MatArray, MatArray]:
    """The variables ``coeff`` and ``sol`` (N, K, K) of a file."""
    refuse_page(file, PUBLISHED)
    found = mat_arrays(file)
    lacking = [name for name in ("coeff", "sol") if name not in found]
    if lacking:
        raise DataError(f"{file} lacks {', '.join(lacking)}; it has {', '.join(sorted(found)) or 'no numbers'}")
    a, u = found["coeff"], found["sol"]
    if len(a.shape) != 3 or a.shape[1] != a.shape[2] or a.shape != u.shape:
        raise DataError(f"{file}: coeff {a.shape} and sol {u.shape}; expected (samples, nodes, nodes) twice")
    if a.shape[1] < NODES or (a.shape[1] - 1) % (NODES - 1):
        raise DataError(
            f"{file} has {a.shape[1]} nodes a side, of which no regular choice of {NODES} keeps both ends",
            fix="421 = 5 x 84 + 1 is official; 85, 169, 253, 337 fit too",
        )
    return a, u


def thinned(array: MatArray, samples: int) -> np.ndarray:
    """float32 (samples, 85, 85): the first samples, every so many nodes, both ends kept. One slab in memory."""
    stride = (array.shape[2] - 1) // (NODES - 1)
    out = np.empty((min(samples, array.shape[0]), NODES, NODES), np.float32)
    for k, slab in enumerate(array.slabs()):
        if k % stride == 0:
            out[:, :, k // stride] = slab[: len(out), ::stride]
    return out


def load(path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    TASK.terms(protocol)
    folder = find(NAME, path, (TRAIN, TEST), PUBLISHED, FOLDERS)
    (a, u), (a_test, u_test) = open_arrays(folder / TRAIN), open_arrays(folder / TEST)
    count = min(MOST_TRAIN, a.shape[0])
    coefficients = np.concatenate([thinned(a, count), thinned(a_test, MOST_TEST)])
    pressures = np.concatenate([thinned(u, count), thinned(u_test, MOST_TEST)])
    if not (np.isfinite(coefficients).all() and np.isfinite(pressures).all()):
        raise DataError(f"{folder} holds values that are not finite", cause="a damaged file")
    test = rows_between(count, len(pressures))
    fitting, held = last_share(count, 0.1)  # 900 and 100 of 1,000
    parts = {"train": fitting, "validation": held, "test": test}
    if protocol == "shipped":
        parts = {"train": rows_between(0, count), "test": test}
    notes = [f"every {(a.shape[1] - 1) // (NODES - 1)}th of {a.shape[1]} nodes; pressures in their own units"]
    if protocol != "clean":
        rows = parts["train"][: (limit or {}).get("train")]
        coefficients = normalised(coefficients, coefficients[rows])
        notes.append("permeability is normalised point by point with the training rows' mean and deviation")
    grid = np.linspace(0, 1, NODES, dtype=np.float32)
    places = np.broadcast_to(np.stack(np.meshgrid(grid, grid)), (len(coefficients), 2, NODES, NODES))
    X = np.concatenate([coefficients[:, None], places], axis=1)
    return assemble(
        NAME, folder, protocol, X=X, y=pressures[:, None], kind="dense", parts=parts, limit=limit, seed=seed,
        strategy="files", target_names=("pressure",), notes=notes,
    )  # fmt: skip


def normalised(values: np.ndarray, fitted_on: np.ndarray) -> np.ndarray:
    """(x - mean_ij) / (deviation_ij + 1e-5), the unbiased deviation, node by node."""
    mean = fitted_on.mean(axis=0, dtype=np.float64)
    spread = fitted_on.std(axis=0, ddof=1, dtype=np.float64) if len(fitted_on) > 1 else np.zeros_like(mean)
    return ((values - mean) / (spread + 1e-5)).astype(np.float32)


def generate(
    out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: training samples (1,000); a tenth as many, at least 8, for the test. resolution: nodes a side (85, of which
    the task uses all; 421 is official and takes a hundred times as long). Half a minute per thousand samples at 85."""
    nodes = NODES if resolution is None else resolution
    if nodes < NODES or (nodes - 1) % (NODES - 1):
        raise UsageError(f"{NAME} has no grid of {nodes} nodes", fix="use --resolution 85, 169, 253, 337 or 421")
    out = prepare_folder(NAME, Path(out), None)
    n = MOST_TRAIN if n is None else n
    check_count(NAME, n, 10)
    counts = {TRAIN: n, TEST: min(MOST_TEST, max(8, n // 10))}
    done, total = 0, sum(counts.values())
    for number, (name, count) in enumerate(counts.items()):
        a, u = np.empty((count, nodes, nodes), np.float32), np.empty((count, nodes, nodes), np.float32)
        for index, (a_one, u_one) in enumerate(_solved([(seed, number, k, nodes) for k in range(count)], workers)):
            a[index], u[index] = a_one, u_one
            done += 1
            if on_share is not None:
                on_share(done / total)
        _write(out / name, a, u)
    return out / TRAIN, out / TEST, mark(out, NAME, synthetic=False, n=n, nodes=nodes, seed=seed)


def _solved(tasks, workers):  # type: ignore[no-untyped-def]
    if workers == 1:
        yield from map(darcy_solver.sample, tasks)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(darcy_solver.sample, tasks, chunksize=4)


def _write(path: Path, a: np.ndarray, u: np.ndarray) -> None:
    from scipy.io import savemat

    temporary = path.with_name(f".{path.name}.tmp")
    savemat(temporary, {"coeff": a, "sol": u}, appendmat=False)
    with open(temporary, "r+b") as file:  # in place of the time of writing, which would make every file another one
        file.write(b"MATLAB 5.0 MAT-file, made by crosstune data generate".ljust(116))
    temporary.replace(path)


def look(report: Report, folder: Path) -> None:
    for name in (TRAIN, TEST):
        with report.reading(name):
            a, u = open_arrays(folder / name)
            report.count(f"{name} samples", a.shape[0], OFFICIAL_SAMPLES)
            report.count(f"{name} nodes a side", a.shape[1], OFFICIAL_NODES)
            first = [np.stack([slab[:4] for slab in array.slabs()], axis=-1) for array in (a, u)]
            levels = sorted({float(v) for v in np.unique(first[0])})[:8]
            known = levels in ([3.0, 12.0], [4.0, 12.0])
            report.say(
                f"{name} permeability", known or None, f"{', '.join(f'{v:g}' for v in levels)}; expected 3 and 12"
            )
            edge = max(float(np.abs(side).max()) for side in (first[1][:, 0], first[1][:, -1], first[1][:, :, 0]))
            inside = first[1][:, 1:-1, 1:-1]
            fine = bool(np.isfinite(first[1]).all() and inside.min() > 0)
            report.say(
                f"{name} pressure", fine, f"{inside.min():.3g} to {inside.max():.3g} inside, {edge:.2g} at the edge"
            )
            off = max(darcy_solver.residual(*pair) for pair in zip(*first))
            report.say(
                f"{name} equation", True if off < 0.05 else None, f"-div(a grad u) - 1 is {off:.2g} (rms, 5 points)"
            )


TASK = Task(
    name=NAME,
    title="Darcy flow",
    summary="from permeability to the pressure of a steady flow, 85 x 85 nodes",
    kind="dense",
    modality="grid",
    protocols={
        "clean": Terms(
            "nrmse-field", "first 1,000 samples of smooth1, of which the last 100 validate; first 100 of smooth2 test; "
            "inputs as they are", also=("rmse-field",),
        ),
        "official": Terms(
            "nrmse-field", "first 900 of smooth1 train, the next 100 validate, first 100 of smooth2 test; point-wise "
            "normaliser of the training rows on the permeability; relative L2 of pressures in their own units",
            loss="relative-l2",
        ),
        "shipped": Terms(
            "nrmse-field", "first 1,000 of smooth1 train, first 100 of smooth2 test and select; point-wise normaliser "
            "of the training rows on the permeability", selected_on="test", loss="relative-l2",
        ),
    },
    load=load,
    generate=generate,
    verify=verifier(NAME, PUBLISHED, (TRAIN, TEST), FOLDERS, look),
    recognise=recogniser((TRAIN, TEST), FOLDERS),
    reference=recipe("DARCY-FLOW-5").settings,
    unmapped=recipe("DARCY-FLOW-5").unmapped,
    published="Darcy Flow",
    published_protocol="official",
    published_metric="relative L2",
    traps=(
        "every fifth node must keep both ends: 421 = 5 x 84 + 1",
        "a normaliser must be fitted on the thinned training samples only; nodes at the boundary hardly vary",
        "channels are permeability, then the coordinate along columns, then along rows",
        "files of MATLAB 7.3 have their axes reversed when read as HDF5",
    ),
)  # fmt: skip
