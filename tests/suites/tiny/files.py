"""What the two tasks share: one .npz file each, split by position, and a generator that goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.benchmarks import Check, TaskData, Verification
from crosstune.errors import DataError
from crosstune.records import Split

Make = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def read(path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    file = path / f"{name}.npz"
    if not file.exists():
        raise DataError(f"{str(path)!r} holds no {name}.npz", fix=f"crosstune data generate tiny/{name} -o {path}")
    with np.load(file) as saved:
        return saved["X"], saved["y"]


def parts(rows: int, protocol: str, limit: Any) -> Split:
    """The last fifth is the test; under "shipped" it is the validation part as well."""
    cut = rows - rows // 5
    test = np.arange(cut, rows)
    if protocol == "shipped":
        train, validation = np.arange(cut), test
    else:
        train, validation = np.arange(cut - rows // 5), np.arange(cut - rows // 5, cut)
    limit = limit or {}
    train, validation, test = (
        rows[: limit.get(name, len(rows))]
        for name, rows in (("train", train), ("validation", validation), ("test", test))
    )
    return Split(train, validation, test, strategy=f"by position, protocol {protocol}", seed=0)


def _generate(
    name: str, make: Make, out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0,
    workers: int = 1, on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    rows = n or 60
    if os.environ.get("TINY_STOP"):
        raise KeyboardInterrupt
    X, y = make(np.random.default_rng(seed), rows)
    np.savez(out / f"{name}.npz", X=X, y=y)
    if on_share is not None:
        on_share(1.0)
    return (out / f"{name}.npz",)


def _verify(name: str, path: Path) -> Verification:
    file = path / f"{name}.npz"
    if not file.exists():
        return Verification(f"tiny/{name}", str(path), (), (f"{name}.npz, published nowhere",))
    X, y = read(path, name)
    whole = Check("rows", len(X) == len(y), f"{len(X)} inputs, {len(y)} targets")
    return Verification(f"tiny/{name}", str(path), (whole, Check("origin", None, "cannot be judged")))


def _recognise(name: str, path: Path) -> bool:
    return (path / f"{name}.npz").exists()


def verbs(name: str, make: Make) -> dict[str, Any]:
    return {
        "generate": partial(_generate, name, make),
        "verify": partial(_verify, name),
        "recognise": partial(_recognise, name),
    }


def task_data(dataset: Any, protocol: str, limit: Any, **more: Any) -> TaskData:
    return TaskData(dataset, parts(len(dataset), protocol, limit), **more)
