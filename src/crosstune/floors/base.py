"""What a floor is: a cheap model that a user would otherwise pick, and the record by which it is found and offered.

A new floor is one new file in this package that defines ``FLOOR``.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from crosstune.records import Dataset, TargetKind

Modality = Literal["table", "series", "grid", "volume"]
Phase = Callable[[str], None]

ALL_KINDS: tuple[TargetKind, ...] = ("classification", "multilabel", "regression", "dense", "segmentation")
ALL_MODALITIES: tuple[Modality, ...] = ("table", "series", "grid", "volume")
UNHURRIED = 120.0  # seconds that a floor may plan for when there is no limit


@dataclass(frozen=True)
class Allowance:
    """What a floor may spend: ``seconds`` of wall time to plan for on ``threads`` threads.

    A floor plans with it before it starts and never looks at a clock, so that its result depends on the seed and on
    the allowance, not on how busy the machine is. The exception is ``until``, a reading of ``time.monotonic`` at which
    the answers must be there or are lost: a floor that trains in steps stops in time and says so. ``phase`` takes a
    word on what is going on, for progress.
    """

    seconds: float = UNHURRIED
    threads: int = 1
    until: float = field(default=math.inf, compare=False)
    phase: Phase = field(default=lambda text: None, compare=False)


class Floor(Protocol):
    """A model with two methods. ``note`` says, after ``fit``, what was chosen and what was cut."""

    note: str

    def fit(self, train: Dataset, seed: int) -> None:
        """Learns from a Dataset that has a target; draws only from ``seed``."""

    def predict(self, data: Dataset) -> np.ndarray:
        """Predictions in the canonical form of ``records.py``; never reads ``data.y``."""


@dataclass(frozen=True)
class FloorSpec:
    """A floor as it is listed and offered.

    name: what a user types. label: what a table shows; ``labels`` overrides it per target kind. summary: one line.
    kinds, modalities: what it can be used for. build: makes an untrained floor from an Allowance. effort: its share of
    the time given to all floors, relative to the others; floors run in this order. extra: the installation extra it
    needs, with ``requires`` as the package to look for. imports: slow modules, loaded before the clock of the floor
    starts, since listing floors must not load them. applies: the reason why it does not fit a Dataset of the right
    kind and modality, or None.
    """

    name: str
    label: str
    summary: str
    kinds: tuple[TargetKind, ...]
    modalities: tuple[Modality, ...]
    build: Callable[[Allowance], Floor]
    effort: float
    least: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    extra: str | None = None
    requires: str | None = None
    imports: tuple[str, ...] = ()
    applies: Callable[[Dataset], str | None] = lambda data: None

    @property
    def needs_torch(self) -> bool:
        return "torch" in self.imports

    def label_for(self, kind: str | None) -> str:
        return self.labels.get(kind or "", self.label)

    def unavailable(self) -> str | None:
        """Why it cannot run in this installation, or None. Looks for the package without importing it."""
        if self.requires and importlib.util.find_spec(self.requires) is None:
            return f"needs {self.requires}: pip install 'crosstune[{self.extra}]'"
        return None

    def unfit(self, data: Dataset) -> str | None:
        """Why it cannot be used for this training data in this installation, or None."""
        if data.kind not in self.kinds:
            return f"not offered for {data.kind} targets"
        if data.modality not in self.modalities:
            return f"not offered for data of modality {data.modality}"
        return self.applies(data) or self.unavailable()
