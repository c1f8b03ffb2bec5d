"""What the parts of a run share while it is going on: folder, data, clock, record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosstune.experiment.request import Request
from crosstune.experiment.team import Team
from crosstune.metrics import Metric
from crosstune.records import Dataset
from crosstune.runs.folder import RunFolder
from crosstune.runs.stopping import StopFlag
from crosstune.seeding import derive_seed

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
    team: Team | None = None  # processes that fit with this one

    @property
    def protocol(self) -> str:
        return str(self.record["task"].get("protocol") or "clean")

    @property
    def selected_on(self) -> str:
        """The part that chooses checkpoints: "test" under protocols that make validation and test the same rows."""
        return str(self.record["task"].get("selected_on") or "validation")

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


ROWS_PER_SECOND_OF_BUDGET = 5.0


def scored_rows(rows: int, seconds: float | None, seed: int) -> np.ndarray:
    """Which validation rows select and are scored, sorted: all of them, or a random sample when predicting all of
    them for every arm would eat the budget (five a second of it, at least 300). A function of the request alone, so
    that every arm, every floor and every sitting has the same rows."""
    cap = rows if seconds is None else max(300, int(ROWS_PER_SECOND_OF_BUDGET * seconds))
    if rows <= cap:
        return np.arange(rows)
    return np.sort(np.random.default_rng(derive_seed(seed, "scored rows")).permutation(rows)[:cap])


def validation_rows(run: Sitting) -> np.ndarray:
    """Row numbers, in the original file, of ``run.validation``."""
    with np.load(run.folder.path / "split.npz") as saved:
        rows = saved["validation"]
    return rows[scored_rows(len(rows), run.request.parsed_budget().seconds, run.request.split_seed)]
