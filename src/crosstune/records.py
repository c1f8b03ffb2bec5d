"""Frozen records that every floor shares. NumPy only: nothing here may import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

TargetKind = Literal["classification", "multilabel", "regression", "dense", "segmentation"]
SplitName = Literal["train", "validation", "test"]

# What a prediction looks like, per target kind (float64 unless said otherwise):
#   classification  probabilities (n, K), rows sum to one      target: integer codes (n,)
#   multilabel      probabilities (n, K)                       target: {0, 1} (n, K)
#   regression      values (n, K)                              target: values (n, K)
#   dense           fields (n, C, ...)                         target: fields (n, C, ...), NaN = position ignored
#   segmentation    probabilities (n, K, ...), sum over K one  target: codes (n, ...), IGNORED = position ignored
IGNORED = -1
FIELD_KINDS = ("dense", "segmentation")  # one target per position instead of one per row


@dataclass(frozen=True)
class Score:
    """A figure that carries its protocol: without it two numbers of one name cannot be compared."""

    value: float
    metric: str
    split: str
    selected_on: str
    seed: int | None = None
    protocol: str = "clean"
    low: float | None = None
    high: float | None = None
    rows: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Dataset:
    """Data as read from a file, before anything is fitted to it.

    X: float32, channel-first: (N, C, L), (N, C, H, W), (N, C, D, H, W) or (N, F) for tables. NaN means missing.
       Categorical table columns hold codes into ``categories`` (NaN = missing). X may be ``data.lazy.LazyRows``, whose
       rows are read from files when indexed; so may dense y. Code that wants all of X goes in blocks.
    y: classification int64 (N,) codes into ``classes``; multilabel float32 (N, K) of 0/1; regression float32 (N, K);
       dense float32 (N, C', L') or (N, C', H', W'), NaN where a position does not count; segmentation int64 (N, L') or
       (N, H', W'), codes into ``classes``, -1 where a position does not count; or None (prediction only).
    lengths: int64 (N,), valid samples along L for ragged series (X is padded with zeros behind them), else None.
    groups: (N,) of any hashable dtype (str or int): rows of one group never straddle a split.
    units: int64 (N,), the thing a row is a piece of (recording, clip, protein), for metrics that pool the rows of one
    unit before they score it; None where every row is a unit.
    time: (N,) sortable, for temporal splits.
    columns: table column names, length F. categories: column index -> category names.
    """

    X: np.ndarray
    y: np.ndarray | None = None
    kind: TargetKind | None = None
    classes: tuple[str, ...] | None = None
    lengths: np.ndarray | None = None
    groups: np.ndarray | None = None
    units: np.ndarray | None = None
    time: np.ndarray | None = None
    columns: tuple[str, ...] | None = None
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    target_names: tuple[str, ...] | None = None
    name: str = "data"
    source: Mapping[str, Any] = field(default_factory=dict)  # path, format, bytes, sha256, key

    def __len__(self) -> int:
        return len(self.X)

    @property
    def modality(self) -> Literal["table", "series", "grid", "volume"]:
        return {2: "table", 3: "series", 4: "grid", 5: "volume"}[self.X.ndim]  # type: ignore[return-value]

    @property
    def is_table(self) -> bool:
        return self.X.ndim == 2

    def take(self, rows: np.ndarray) -> Dataset:
        """The rows in the given order, as a new record."""
        from dataclasses import replace

        return replace(
            self,
            X=_rows_of(self.X, rows),
            y=None if self.y is None else _rows_of(self.y, rows),
            lengths=None if self.lengths is None else self.lengths[rows],
            groups=None if self.groups is None else self.groups[rows],
            units=None if self.units is None else self.units[rows],
            time=None if self.time is None else self.time[rows],
        )


def _rows_of(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Lazy rows stay lazy."""
    return values.view(rows) if getattr(values, "is_lazy", False) else values[rows]


@dataclass(frozen=True)
class Split:
    """Row indices into a Dataset, carved before anything is fitted. The three parts are disjoint."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    strategy: str
    seed: int
    warnings: tuple[str, ...] = ()

    def rows(self, name: str) -> np.ndarray:
        return getattr(self, name)


@dataclass(frozen=True)
class Finding:
    """One observation about a file. ``accept`` is the flag that lets the run go on in spite of it."""

    code: str
    severity: Literal["refuse", "warn", "note"]
    message: str
    accept: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageReport:
    """What a stage did: enough to judge it without its logs."""

    stage: str
    steps: int
    seconds: float
    stopped_by: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
