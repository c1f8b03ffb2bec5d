"""What trivial answers reach on every task of PDEBench, beside the published scores.

    python bench/pdebench_degeneracy.py --data DIR         generates the data into DIR, writes results/pdebench/
    python bench/pdebench_degeneracy.py --data DIR --tasks pdebench/darcy --out DIR2

Shallow water is generated at its own resolution and number of samples, where only 81 samples differ; the other tasks
with as many samples and points as a few minutes on one core allow. Files that are there already are kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from crosstune.benchmarks.contract import get_task
from crosstune.benchmarks.pdebench import degeneracy_tables as tables
from crosstune.benchmarks.pdebench.degeneracy import degeneracy

OUT = Path(__file__).parents[1] / "results" / "pdebench"
SIZES: dict[str, dict[str, int]] = {
    "pdebench/advection": {"n": 1000, "resolution": 256},
    "pdebench/burgers": {"n": 400, "resolution": 256},
    "pdebench/cfd_1d": {"n": 200, "resolution": 128},
    "pdebench/cfd_2d": {"n": 40, "resolution": 32},
    "pdebench/darcy": {"n": 1000, "resolution": 64},
    "pdebench/diffusion_reaction_1d": {"n": 1000, "resolution": 256},
    "pdebench/diffusion_reaction_2d": {"n": 200, "resolution": 64},
    "pdebench/diffusion_sorption": {"n": 400, "resolution": 256},
    "pdebench/shallow_water": {"n": 1000, "resolution": 128},
}
VARIED = {"n": 200, "resolution": 64}  # the sibling of shallow water, whose samples all differ
ROLLED_OUT = 10  # test trajectories of the tasks below
LONG = ("pdebench/cfd_2d", "pdebench/diffusion_reaction_2d", "pdebench/shallow_water")


def make(task: str, data: Path, workers: int) -> None:
    folder = data / task.split("/")[1]
    started = time.monotonic()
    if task == "pdebench/shallow_water":
        get_task(task).generate(folder, **SIZES[task], workers=workers, variant="standard")  # type: ignore[call-arg]
        get_task(task).generate(folder, **VARIED, workers=workers, variant="varied")  # type: ignore[call-arg]
    else:
        get_task(task).generate(folder, **SIZES[task], workers=workers)  # type: ignore[arg-type]
    print(f"{time.monotonic() - started:7.1f} s  {task} generated", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder for the generated files, about 9 GB")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--tasks", nargs="*", default=list(SIZES))
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    records = []
    for task in asked.tasks:
        make(task, asked.data, asked.workers)
        started = time.monotonic()
        records += degeneracy(asked.data, [task], ("clean", "shipped"))
        limit = {"test": ROLLED_OUT} if task in LONG else None
        records += degeneracy(asked.data, [task], ("official",), limit=limit)
        print(f"{time.monotonic() - started:7.1f} s  {task} answered", file=sys.stderr, flush=True)
    sizes = {task: SIZES[task] for task in asked.tasks}
    if "pdebench/shallow_water" in sizes:
        sizes["pdebench/shallow_water (varied)"] = VARIED
    results = tables.as_results(records, command="python bench/pdebench_degeneracy.py --data DIR", generated=sizes)
    for path in tables.write(asked.out, results):
        print(path)


if __name__ == "__main__":
    main()
