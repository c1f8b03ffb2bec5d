"""What one equation is to this suite: its file, its variants, and which frames a task pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosstune.benchmarks.contract import Check
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.reading import Trajectories

Solve = Callable[[Sequence[int], int, int, Mapping[str, Any]], np.ndarray]
Inspect = Callable[[Trajectories, np.ndarray], Iterable[Check]]
Alias = Callable[[int, int, int, Mapping[str, Any]], np.ndarray]
Transform = Callable[[np.ndarray, np.ndarray, Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Pair:
    """A map from the first frame to a later one.

    frame: of the target, index in the file; test_frame: of the test rows' target where it differs. points: per axis; a
    file that has more is thinned. inputs, targets: channels, None for all.
    """

    frame: int
    points: int
    test_frame: int | None = None
    inputs: tuple[int, ...] | None = None
    targets: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Windows:
    """Autoregressive reading: ``initial`` frames give the next. every: frame stride; last: frames after striding."""

    initial: int
    points: int
    every: int = 1
    last: int | None = None


@dataclass(frozen=True)
class Variant:
    """One parameter set of the generator.

    name: "standard" for the published one. attributes: parameters as the file names them. options: for the solver.
    stem: of the file's name, None for the published stem. clean: the pair of the clean protocol. text: one line.
    caution: what makes scores on it misleading, None where nothing does.
    """

    name: str
    text: str
    clean: Pair
    attributes: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    stem: str | None = None
    caution: str | None = None


@dataclass(frozen=True)
class Problem:
    """Everything the suite's machinery needs to know of one equation.

    solve: (sample numbers, resolution, seed, options) -> (n, T, C, X[, Y]); a module-level function, it runs in other
    processes. block: samples per call. revision: raised whenever values change. divides, smallest: resolutions that can
    be generated divide the one and are not below the other. usual: (n, resolution) that ``generate`` takes when not
    told, None for the published ones.
    inspect: checks of sample rows beyond the layout. alias: for each sample the first one that is equal to it. revise:
    whether the file is a superseded revision. answers: predictions by name for inputs of the standard variant, from the
    equation alone, where the input does not determine the target. as_shipped: what public code does to (X, y), given
    the rows of the three parts.
    """

    name: str
    layout: Layout
    variants: tuple[Variant, ...]
    shipped: Pair
    windows: Windows
    solve: Solve
    inspect: Inspect
    block: int = 32
    revision: int = 1
    divides: int | None = None
    smallest: int = 16
    usual: tuple[int, int] | None = None
    alias: Alias | None = None
    revise: Callable[[Trajectories], Check | None] = lambda file: None
    answers: Callable[[np.ndarray], Mapping[str, np.ndarray]] | None = None
    as_shipped: Transform | None = None

    @property
    def task(self) -> str:
        return f"pdebench/{self.name}"

    def variant(self, name: str) -> Variant | None:
        return next((v for v in self.variants if v.name == name), None)

    @property
    def standard(self) -> Variant:
        found = self.variant(STANDARD)
        assert found is not None
        return found

    @property
    def preferred(self) -> Variant:
        """What the clean protocol reads where it can choose: the last; a sibling where the published is degenerate."""
        return self.variants[-1]

    def file_name(self, variant: Variant) -> str:
        return self.layout.generated_name(variant.stem)
