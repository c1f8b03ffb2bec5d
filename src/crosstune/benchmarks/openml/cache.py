"""The split that the public code stores at its first run, ``<id>_dev_test_split.npy``, and follows ever after.

A dictionary in an array of objects: ``y_dev``, ``y_test`` (class codes) and ``X_norm_dev``, ``X_norm_test`` (encoded
features, N first), beside raw ones that nothing reads. Read without running the pickle it is stored as.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crosstune.benchmarks.contract import TaskData
from crosstune.benchmarks.openml.settings import Setting
from crosstune.data.files import sha256_of
from crosstune.data.numpy_files import load_npy
from crosstune.errors import DataError
from crosstune.records import Dataset, Split

_KEYS = ("X_norm_dev", "X_norm_test", "y_dev", "y_test")


def cache_path(path: Path, setting: Setting) -> Path:
    return (path if path.is_dir() else path.parent) / f"{setting.id}_dev_test_split.npy"


def cached(path: Path, setting: Setting) -> TaskData | None:
    """Rows and split of the stored file; None without one. DataError when it does not hold what it should."""
    where = cache_path(path, setting)
    if not where.is_file():
        return None
    stored = load_npy(where)
    if not isinstance(stored, dict) or any(key not in stored for key in _KEYS):
        found = ", ".join(map(str, stored)) if isinstance(stored, dict) else type(stored).__name__
        raise DataError(
            f"{where} does not hold a split: it needs {', '.join(_KEYS)}, and holds {found}",
            cause="a file of another program under this name",
            fix="remove it; the split is then drawn from the ARFF file",
        )
    x = [_features(stored[key], where, key) for key in _KEYS[:2]]
    y = [_codes(stored[key], where, key) for key in _KEYS[2:]]
    for features, codes, part in zip(x, y, ("dev", "test")):
        if len(features) != len(codes) or features.shape[1:] != x[0].shape[1:]:
            raise DataError(
                f"{where}: X_norm_{part} has shape {features.shape} beside {len(codes)} targets and "
                f"{x[0].shape[1:]} features per row of the other part",
                cause="a damaged file",
                fix="remove it; the split is then drawn from the ARFF file",
            )
    both = np.concatenate(y)
    dev, test = np.arange(len(y[0])), np.arange(len(y[0]), len(both))
    dataset = Dataset(
        X=np.concatenate(x), y=both, kind="classification", classes=tuple(str(i) for i in range(both.max() + 1)),
        target_names=(setting.target,), name=where.stem,
        source={"path": str(where), "format": "npy", "bytes": where.stat().st_size, "sha256": sha256_of(where)},
    )  # fmt: skip
    notes = (
        f"rows and split are those stored in {where.name}, drawn by chance when it was written",
        "encoder and scaler were fitted on all rows, test rows included",
    )
    return TaskData(dataset, Split(dev, test, test, "stored", 0), notes)


def _features(value: Any, where: Path, key: str) -> np.ndarray:
    """float32 (N, C, L)."""
    try:
        x = np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {key} holds no numbers ({error})", cause="a damaged file") from None
    if x.ndim != 3:
        raise DataError(f"{where}: {key} has shape {x.shape}, not (rows, channels, length)", cause="another layout")
    return x


def _codes(value: Any, where: Path, key: str) -> np.ndarray:
    y = np.asarray(value).reshape(-1)
    if y.dtype.kind not in "iuf" or (y != np.floor(y)).any() or (y < 0).any():
        raise DataError(f"{where}: {key} holds no class codes", cause="another layout, or raw class names")
    return y.astype(np.int64)
