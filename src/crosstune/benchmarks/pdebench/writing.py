"""Writing the published layouts: same keys, shapes, types and coordinates, so one reader serves both.

What tells a generated file from a published one: its name, and the attributes ``crosstune_task``, ``crosstune_variant``
and ``crosstune_recipe`` (JSON) of its root.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from crosstune.benchmarks.pdebench.layout import RECIPE_ATTRIBUTE, TASK_ATTRIBUTE, VARIANT_ATTRIBUTE, Layout
from crosstune.benchmarks.pdebench.problem import Problem, Variant


class Samples(Protocol):
    """Samples by number, each (T, C, X[, Y])."""

    def __len__(self) -> int: ...
    def __getitem__(self, sample: int) -> np.ndarray: ...


def write_file(
    path: Path, problem: Problem, variant: Variant, samples: Samples, resolution: int, seed: int,
    recipe: Mapping[str, Any],
) -> None:  # fmt: skip
    """Writes every sample to ``path`` in the layout of the problem's published file."""
    layout = problem.layout
    with h5py.File(path, "w") as file:
        file.attrs[TASK_ATTRIBUTE] = problem.task
        file.attrs[VARIANT_ATTRIBUTE] = variant.name
        file.attrs[RECIPE_ATTRIBUTE] = json.dumps(recipe, sort_keys=True)
        if layout.family == "seeds":
            _write_groups(file, layout, variant, samples, resolution, seed)
            return
        for key, value in variant.attributes.items():
            file.attrs[key] = value
        x = coordinates(layout, problem.divides, resolution)
        for axis in "xyz"[: layout.axes]:
            file[f"{axis}-coordinate"] = x.astype(np.float32)
        if layout.family == "tensor":
            file["t-coordinate"] = (layout.dt * np.arange(layout.frames + 1)).astype(np.float32)
        _write_arrays(file, layout, samples)


def coordinates(layout: Layout, divides: int | None, resolution: int) -> np.ndarray:
    """(resolution,) cell centres of one axis; where files of fewer points are thinned published ones, every so many of
    the published cell centres from the first."""
    cells = divides or resolution
    centres = layout.start + layout.length * (np.arange(cells) + 0.5) / cells
    return centres[:: cells // resolution]


def _write_arrays(file: Any, layout: Layout, samples: Samples) -> None:
    frames, _, *space = samples[0].shape
    if layout.family == "darcy":
        coefficient = file.create_dataset("nu", (len(samples), *space), np.float32)
        solution = file.create_dataset("tensor", (len(samples), 1, *space), np.float32)
        for i in range(len(samples)):
            coefficient[i], solution[i, 0] = samples[i][0, 0], samples[i][1, 0]
        return
    arrays = [file.create_dataset(key, (len(samples), frames, *space), np.float32) for key in layout.keys]
    for i in range(len(samples)):
        for channel, array in enumerate(arrays):
            array[i] = samples[i][:, channel]


def _write_groups(
    file: Any, layout: Layout, variant: Variant, samples: Samples, resolution: int, seed: int
) -> None:  # fmt: skip
    x = coordinates(layout, None, resolution).astype(np.float32)
    t = (layout.dt * np.arange(layout.frames)).astype(np.float32)
    for i in range(len(samples)):
        group = file.create_group(f"{i:04d}")
        values = np.ascontiguousarray(np.moveaxis(samples[i], 1, -1))
        group.create_dataset("data", data=values, dtype=np.float32, compression=layout.compression)
        for axis in "xy"[: layout.axes]:
            group[f"grid/{axis}"] = x
        group["grid/t"] = t
        settings = {**variant.attributes, "seed": seed + i, "xdim": resolution, "tdim": layout.frames}
        group.attrs["config"] = "".join(f"{key}: {value}\n" for key, value in settings.items())
