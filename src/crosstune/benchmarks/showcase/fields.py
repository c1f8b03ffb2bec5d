"""Fields whose equations we solve: initial field, or coefficient, to a later field, or solution."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from crosstune.benchmarks.contract import Modality, get_task
from crosstune.benchmarks.showcase.common import Origin, tasks_of
from crosstune.records import Dataset


def _solved(name: str, n: int, resolution: int) -> Dataset:
    """Rows of a PDE task under its clean protocol, all parts together."""
    task = get_task(name)
    with tempfile.TemporaryDirectory() as folder:
        files = task.generate(Path(folder), n=n, resolution=resolution, seed=0)
        loaded = task.load(files[0], "clean")
        rows = np.sort(np.concatenate([loaded.split.rows(part) for part in ("train", "validation", "test")]))
        data = loaded.dataset.take(rows)
        assert data.y is not None
        return Dataset(X=np.asarray(data.X, np.float32), y=np.asarray(data.y, np.float32), kind="dense")


def _origin(name: str, task: str, title: str, summary: str, modality: Modality, resolution: int) -> Origin:
    return Origin(name, title, summary, "dense", modality, "nrmse-field", partial(_solved, task, 400, resolution),
                  "computed from its equation", computed=True)  # fmt: skip


ORIGINS = (
    _origin("advection", "pdebench/advection", "Advection", "a field that moves", "series", 128),
    _origin("burgers", "pdebench/burgers", "Burgers", "a field that steepens and diffuses", "series", 128),
    _origin("reaction-diffusion", "pdebench/diffusion_reaction_1d", "Reaction-diffusion",
            "a field that grows and diffuses", "series", 128),
    _origin("darcy", "pdebench/darcy", "Darcy flow", "pressure from permeability", "grid", 32),
)  # fmt: skip

TASK = tuple(task for origin in ORIGINS for task in tasks_of(origin))
