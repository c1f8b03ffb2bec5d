"""Small data of every shape and target, the same for every family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crosstune.records import Dataset

ROWS = 10


def _x(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, *shape)).astype(np.float32)


def _table() -> Dataset:
    x = _x(5)
    x[:, 3] = np.arange(ROWS) % 3
    x[2, 0] = x[4, 3] = np.nan
    return Dataset(X=x, categories={3: ("a", "b", "c")}, columns=tuple("vwxyz"))


def _ragged() -> Dataset:
    x, lengths = _x(2, 60), np.array([60, 7, 13, 60, 31, 8, 44, 21, 9, 50])
    for row, length in enumerate(lengths):
        x[row, :, length:] = 0
    return Dataset(X=x, lengths=lengths)


def _holes() -> Dataset:
    x = _x(2, 40)
    x[1, 0, 5:9] = np.nan
    return Dataset(X=x)


SHAPES: dict[str, Callable[[], Dataset]] = {
    "series": lambda: Dataset(X=_x(2, 37)),
    "one sample": lambda: Dataset(X=_x(3, 1)),
    "long series": lambda: Dataset(X=_x(1, 5000)),
    "missing values": _holes,
    "ragged": _ragged,
    "grid": lambda: Dataset(X=_x(1, 13, 9)),
    "many channels": lambda: Dataset(X=_x(57, 20, 24)),
    "volume": lambda: Dataset(X=_x(1, 5, 6, 7)),
    "table": _table,
}


def with_target(data: Dataset, target: str) -> Dataset:
    """The data with a target of a kind; "dense" at the input's resolution, "dense other" at half of it."""
    from dataclasses import replace

    rng = np.random.default_rng(1)
    size = data.X.shape[2:]
    if target == "classification":
        return replace(data, y=np.arange(ROWS) % 3, kind="classification", classes=("a", "b", "c"))
    if target == "multilabel":
        return replace(data, y=(rng.random((ROWS, 4)) < 0.4).astype(np.float32), kind="multilabel")
    if target == "regression":
        return replace(data, y=rng.normal(size=(ROWS, 2)).astype(np.float32), kind="regression")
    out = tuple(max(1, n // 2) for n in size) if target == "dense other" else size
    if target == "segmentation":
        y = rng.integers(-1, 3, (ROWS, *size))
        if data.lengths is not None:
            y[np.arange(size[0]) >= data.lengths[:, None]] = -1
        return replace(data, y=y, kind="segmentation", classes=("a", "b", "c"))
    return replace(data, y=rng.normal(size=(ROWS, 2, *out)).astype(np.float32), kind="dense")


def targets_for(shape: str) -> tuple[str, ...]:
    plain = ("classification", "multilabel", "regression")
    if shape in ("series", "grid", "many channels"):
        return (*plain, "dense", "dense other", "segmentation")
    return (*plain, "segmentation") if shape == "ragged" else plain
