"""Labels of any type to codes and class names."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosstune.data.infer import is_missing
from crosstune.errors import DataError

MOST_CLASSES = 1000


def coded(values: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes int64 (N,) and class names, sorted (whole numbers by value, else by text).

    Raises DataError for missing labels, for fractions, and for what rather names rows than classes.
    """
    missing = [row for row, value in enumerate(values) if is_missing(value) or value == ""]
    if missing:
        raise DataError(
            f"{name} is missing in {len(missing)} of {len(values)} rows, first in row {missing[0]}",
            fix="fill in the labels or leave such rows out",
        )
    if values.dtype.kind in "fc":
        if not np.all(values == np.floor(values.real)):
            raise DataError(
                f"{name} holds fractions like {float(values[values != np.floor(values)][0]):.4g}: these are no classes",
                cause="a column of measurements",
                fix="name the label column",
            )
        values = values.astype(np.int64)
    names: list[Any] = sorted({v.item() if isinstance(v, np.generic) else v for v in values}, key=_order)
    if len(names) > MOST_CLASSES or (len(names) > 20 and len(names) > len(values) / 2):
        raise DataError(
            f"{name} has {len(names)} different values in {len(values)} rows: these name rows, not classes",
            cause="an identifier or a text in place of the label",
            fix=f"name the label column; a proxy has at most {MOST_CLASSES} classes, each with several examples",
        )
    codes = {value: code for code, value in enumerate(names)}
    labels = np.array([codes[v.item() if isinstance(v, np.generic) else v] for v in values], np.int64)
    return labels, tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in names)


def _order(value: Any) -> tuple[int, float, str]:
    number = isinstance(value, (int, float))
    return (0, float(value), "") if number else (1, 0.0, str(value))
