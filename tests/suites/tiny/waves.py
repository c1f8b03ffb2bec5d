"""Slow and fast waves, to be told apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.benchmarks import Task, TaskData, Terms
from crosstune.data import from_arrays

from .files import read, task_data, verbs


def make(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    y = rng.permutation(np.arange(n) % 2)
    phase = rng.uniform(0, 6, (n, 1))
    X = np.sin(0.2 * (1 + y[:, None]) * np.arange(32) + phase) + 0.5 * rng.standard_normal((n, 32))
    return X[:, None].astype("float32"), y


def load(path: Path, protocol: str, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    X, y = read(path, "waves")
    dataset = from_arrays(X, np.array(["slow", "fast"])[y])
    return task_data(dataset, protocol, limit, notes=("waves made by a formula",))


REFERENCE: dict[str, Any] = {"align.steps": 7, "fit.batch_size": 4}
TASK = Task(
    name="tiny/waves",
    title="Waves",
    summary="two frequencies",
    kind="classification",
    modality="series",
    protocols={
        "clean": Terms("error", "the fifth before the last selects, the last fifth is the test", also=("macro-f1",)),
        "shipped": Terms("error", "the last fifth selects and is the test", also=("macro-f1",), selected_on="test"),
    },
    load=load,  # type: ignore[arg-type]
    reference=REFERENCE,
    published="Waves",
    synthetic=True,
    traps=("the phase says nothing",),
    **verbs("waves", make),
)
