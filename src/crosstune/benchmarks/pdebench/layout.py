"""What the published files are called and how they are laid out, one record per task.

Two families. A *tensor* file holds float32 arrays over all samples, (N, T, X) or (N, T, X, Y), one per channel, with
``x-coordinate`` (cell centres), ``t-coordinate`` (one entry longer than the time axis) and the equation's parameters as
attributes. A *seeds* file holds one group per sample, named by a four-digit seed, with ``data`` (T, X[, Y], C),
``grid/x``, ``grid/y``, ``grid/t`` and the configuration as a YAML attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Family = Literal["tensor", "seeds", "darcy"]

TASK_ATTRIBUTE = "crosstune_task"
VARIANT_ATTRIBUTE = "crosstune_variant"
RECIPE_ATTRIBUTE = "crosstune_recipe"
STANDARD = "standard"


@dataclass(frozen=True)
class Layout:
    """A published file.

    file: its name. identifier, md5: on DaRUS (darus.uni-stuttgart.de/api/access/datafile/IDENTIFIER). family: "tensor",
    "seeds", or "darcy" (a tensor file whose input and solution are two arrays and which has no time). keys: arrays of
    the root, or ("data",). channels: names, in the order in which tasks use them. axes: of space. samples, resolution,
    frames: as published (resolution along each axis). dt: between frames, units of the equation. start, length: of the
    domain along every axis. attributes: parameters of the equation as the file names them. holdout: which tenth of the
    samples public code holds out.
    """

    file: str
    identifier: int
    md5: str
    family: Family
    keys: tuple[str, ...]
    channels: tuple[str, ...]
    axes: int
    samples: int
    resolution: int
    frames: int
    dt: float
    start: float
    length: float
    attributes: Mapping[str, float] = field(default_factory=dict)
    holdout: Literal["first", "last"] = "first"
    compression: str | None = None

    @property
    def url(self) -> str:
        return f"https://darus.uni-stuttgart.de/api/access/datafile/{self.identifier}"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.resolution,) * self.axes

    def generated_name(self, stem: str | None = None) -> str:
        """Name of a generated file: never that of a published one. stem: of a sibling with other parameters."""
        published = Path(self.file)
        return f"{stem or published.stem}.crosstune{published.suffix}"
