"""What the parts of a run share while it is going on: folder, data, clock, record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosstune.experiment.arms import StopFlag
from crosstune.experiment.request import Request
from crosstune.metrics import Metric
from crosstune.records import Dataset
from crosstune.runs.folder import RunFolder

Notify = Callable[..., None]


def silent(**unused: Any) -> None:
    """The default for ``notify``: nothing is shown."""


@dataclass
class Sitting:
    """Everything the parts of a run share."""

    folder: RunFolder
    request: Request
    notify: Notify
    flag: StopFlag
    started: float
    before: float  # seconds used by earlier sittings
    train: Dataset
    validation: Dataset
    metric: Metric
    record: dict[str, Any] = field(default_factory=dict)

    def used(self) -> float:
        return self.before + time.monotonic() - self.started

    def event(self, kind: str, **values: Any) -> None:
        values = {"t": round(self.used(), 3), "kind": kind} | values
        self.folder.event(**values)
        self.notify(**values)

    def save(self, **changes: Any) -> None:
        self.record |= changes
        self.record["budget"]["used"] = round(self.used(), 2)
        self.folder.write_record(self.record)


def part_rows(run: Sitting, part: str) -> np.ndarray:
    with np.load(run.folder.path / "split.npz") as saved:
        return saved[part]
