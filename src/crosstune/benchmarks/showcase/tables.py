"""Tables and the small images that scikit-learn ships."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosstune.benchmarks.showcase.common import Origin, tasks_of
from crosstune.records import Dataset


def _table(name: str, *, regression: bool = False) -> Dataset:
    import sklearn.datasets

    found: Any = getattr(sklearn.datasets, f"load_{name}")()
    x = np.asarray(found.data, dtype=np.float32)
    columns = tuple(str(c) for c in found.feature_names)
    if regression:
        return Dataset(X=x, y=np.asarray(found.target, np.float32)[:, None], kind="regression", columns=columns)
    classes = tuple(str(c) for c in found.target_names)
    return Dataset(X=x, y=np.asarray(found.target, np.int64), kind="classification", classes=classes, columns=columns)


def _digits() -> Dataset:
    import sklearn.datasets

    found: Any = sklearn.datasets.load_digits()
    return Dataset(
        X=np.asarray(found.images, dtype=np.float32)[:, None], y=np.asarray(found.target, np.int64),
        kind="classification", classes=tuple(str(k) for k in range(10)),
    )  # fmt: skip


ORIGINS = (
    Origin("digits", "Digits", "handwritten digits of 8 x 8 pixels", "classification", "grid", "error", _digits,
           "UCI, shipped with scikit-learn"),
    Origin("breast-cancer", "Breast cancer", "30 measures of cell nuclei, benign or malignant", "classification",
           "table", "error", lambda: _table("breast_cancer"), "UCI, shipped with scikit-learn"),
    Origin("wine", "Wine", "13 chemical measures of wines from three growers", "classification", "table", "error",
           lambda: _table("wine"), "UCI, shipped with scikit-learn"),
    Origin("iris", "Iris", "four lengths of three species", "classification", "table", "error",
           lambda: _table("iris"), "Fisher 1936, shipped with scikit-learn"),
    Origin("diabetes", "Diabetes", "progression of a disease from ten measures", "regression", "table", "nrmse",
           lambda: _table("diabetes", regression=True), "Efron et al. 2004, shipped with scikit-learn"),
)  # fmt: skip

TASK = tuple(task for origin in ORIGINS for task in tasks_of(origin))
