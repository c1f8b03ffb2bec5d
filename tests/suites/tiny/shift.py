"""A periodic function and the same shifted by one point: a rollout of two steps shifts it by two."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from crosstune.benchmarks import Task, TaskData, Terms
from crosstune.benchmarks.contract import Predict
from crosstune.data import from_arrays

from .files import read, task_data, verbs


def make(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    X = rng.standard_normal((n, 1, 16)).astype("float32")
    return X, np.roll(X, 1, axis=-1)


def load(path: Path, protocol: str, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    X, y = read(path, "shift")
    dataset = from_arrays(X, y, task="dense")
    plain = task_data(dataset, protocol, limit)

    def evaluate(predict: Predict, part: str) -> dict[str, float]:
        inputs = dataset.X[plain.split.rows(part)]
        twice = predict(predict(inputs).astype(np.float32))
        return {"rollout rmse": float(np.sqrt(np.mean((twice - np.roll(inputs, 2, axis=-1)) ** 2)))}

    return task_data(dataset, protocol, limit, evaluate=evaluate)


TASK = Task(
    name="tiny/shift",
    title="Shift",
    summary="one point to the right",
    kind="dense",
    modality="series",
    protocols={
        "clean": Terms("nrmse-field", "as waves"),
        "shipped": Terms("nrmse-field", "the last fifth selects and is the test", selected_on="test"),
    },
    load=load,  # type: ignore[arg-type]
    floors=("copy-input", "nearest"),
    **verbs("shift", make),
)
