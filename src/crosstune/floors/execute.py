"""Training one floor after another in this process, and what comes out of each."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from crosstune.data.lazy import BLOCK_VALUES, in_memory, is_lazy
from crosstune.errors import TaskError
from crosstune.floors.base import UNHURRIED, Allowance, FloorSpec
from crosstune.floors.common import canonical_shape, joined, subsample
from crosstune.records import Dataset
from crosstune.seeding import derive_seed

Status = Literal["ok", "timeout", "failed", "skipped"]
LAZY_VALUES = 1 << 27  # values of lazy data that a floor learns from: 512 MB
STARTUP = 2.0  # seconds a fresh process spends on imports and on reading its data
TORCH_STARTUP = 4.0  # more, where a floor needs torch


@dataclass(frozen=True)
class FloorResult:
    """What became of one floor. ``predictions``: query name -> canonical prediction, empty unless "ok".

    ``planned``: the seconds it planned for. With the same data, seed and ``planned`` a floor becomes the same model
    again.
    """

    name: str
    label: str
    status: Status
    seconds: float = 0.0
    note: str = ""
    predictions: Mapping[str, np.ndarray] = field(default_factory=dict)
    planned: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything but the predictions, as plain data."""
        return {key: getattr(self, key) for key in ("name", "label", "status", "seconds", "note", "planned")}


def shares(
    specs: tuple[FloorSpec, ...], seconds: float | None, planned: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Seconds each floor may plan for: the limit less the start of the process, split by effort; or as ``planned``."""
    if planned is not None:
        return {spec.name: planned.get(spec.name, UNHURRIED) for spec in specs}
    if seconds is None:
        return {spec.name: UNHURRIED for spec in specs}
    left = max(0.5, seconds - STARTUP - TORCH_STARTUP * any(spec.needs_torch for spec in specs))
    total = sum(spec.effort for spec in specs)
    return {spec.name: left * spec.effort / total for spec in specs}


def skipped(spec: FloorSpec, train: Dataset) -> FloorResult | None:
    """The result of a floor that cannot run on this data or in this installation, else None."""
    reason = spec.unfit(train)
    return None if reason is None else FloorResult(spec.name, spec.label_for(train.kind), "skipped", note=reason)


def execute(
    spec: FloorSpec, train: Dataset, queries: Mapping[str, Dataset], *, seed: int, allowance: Allowance
) -> FloorResult:
    """Trains one floor and predicts every query. An exception becomes a result of status "failed"."""
    label = spec.label_for(train.kind)
    started = time.monotonic()
    try:
        for module in spec.imports:
            importlib.import_module(module)
        started = time.monotonic()
        floor = spec.build(allowance)
        held, cut = _held(train, derive_seed(seed, "floor", spec.name, "rows"))
        floor.fit(held, derive_seed(seed, "floor", spec.name))
        predictions = {}
        for name, query in queries.items():
            blocks = [floor.predict(block) for block in _blocks(replace(query, y=None))]
            answer = np.concatenate([np.asarray(block, dtype=np.float64) for block in blocks])
            _check(answer, train, len(query), name)
            predictions[name] = answer
    except Exception as error:  # a floor is a stranger's model: whatever it raises, the others go on
        message = f"{type(error).__name__}: {error}"
        return FloorResult(spec.name, label, "failed", time.monotonic() - started, message, planned=allowance.seconds)
    seconds = time.monotonic() - started
    return FloorResult(spec.name, label, "ok", seconds, joined(cut, floor.note), predictions, allowance.seconds)


def _held(train: Dataset, seed: int) -> tuple[Dataset, str]:
    """The training rows in memory: of lazy data as many as 512 MB hold, and a note if that is not all of them."""
    if not (is_lazy(train.X) or is_lazy(train.y)):
        return train, ""
    values = sum(int(np.prod(v.shape[1:])) for v in (train.X, train.y) if v is not None and is_lazy(v))
    most = max(16, LAZY_VALUES // values)
    if len(train) <= most:
        return in_memory(train), ""
    rows = subsample(train, most, np.random.default_rng(seed))
    return in_memory(train.take(rows)), f"learned from {most:,} of {len(train):,} rows, what memory holds"


def _blocks(query: Dataset) -> Iterator[Dataset]:
    """The query itself; of lazy data blocks of real arrays."""
    if not is_lazy(query.X) or not len(query):
        yield query
        return
    step = max(1, BLOCK_VALUES // int(np.prod(query.X.shape[1:])))
    for start in range(0, len(query), step):
        yield in_memory(query.take(np.arange(start, min(start + step, len(query)))))


def execute_all(
    specs: tuple[FloorSpec, ...],
    train: Dataset,
    queries: Mapping[str, Dataset],
    *,
    seed: int,
    planned: Mapping[str, float],
    threads: int,
    until: float = math.inf,
    phase: Callable[[str, str], None] = lambda name, text: None,
) -> Iterator[FloorResult]:
    """Results one by one, in the order of ``specs``. planned: seconds per floor, see ``shares``. until: when all must
    be there, a reading of ``time.monotonic``. ``phase`` takes the floor's name and a word on what it does.
    """
    for index, spec in enumerate(specs):
        phase(spec.name, "")
        later = sum(planned[other.name] for other in specs[index + 1 :])
        allowance = Allowance(planned[spec.name], threads, until - later, partial(phase, spec.name))
        yield execute(spec, train, queries, seed=seed, allowance=allowance)


def _check(answer: np.ndarray, train: Dataset, rows: int, query: str) -> None:
    shape = canonical_shape(train, rows)
    if answer.shape != shape:
        raise TaskError(f"prediction of {query!r} has shape {answer.shape}, expected {shape}")
    if not np.isfinite(answer).all():
        raise TaskError(f"prediction of {query!r} is NaN or infinite")
