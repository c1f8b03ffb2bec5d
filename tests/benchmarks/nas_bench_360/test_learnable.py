"""Stand-ins hold something to learn: ridge on crude features beats a constant on rows it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from crosstune.benchmarks import get_task
from crosstune.metrics import get_metric

from .conftest import NAMES


def raw(X: np.ndarray) -> np.ndarray:
    return X.reshape(len(X), -1)


def spectrum(X: np.ndarray) -> np.ndarray:
    """Power in 24 bands of a series, and how it is spread."""
    power = np.log(np.abs(np.fft.rfft(X[:, 0] * np.hanning(X.shape[2]))) ** 2 + 1e-3)
    bands = np.stack([part.mean(axis=1) for part in np.array_split(power[:, :160], 24, axis=1)], axis=1)
    return np.column_stack([bands, np.std(X[:, 0], axis=1), np.abs(X[:, 0]).max(axis=1)])


def words(X: np.ndarray, length: int = 5) -> np.ndarray:
    """How often every word of five letters occurs between the bases 400 and 600."""
    letters = X[:, :, 400:600].argmax(axis=1)
    codes = sum(letters[:, k : letters.shape[1] - length + 1 + k] * 4**k for k in range(length))
    return np.stack([np.bincount(row, minlength=4**length) for row in codes]).astype(np.float64)


FEATURES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "satellite": (raw, "error"),
    "ninapro": (lambda X: np.log(X.mean(axis=3) + 0.1).reshape(len(X), -1), "error"),
    "ecg": (spectrum, "error"),
    "cifar100": (raw, "error"),
    "spherical": (raw, "error"),
    "darcy_flow": (lambda X: X[:, 0, ::4, ::4].reshape(len(X), -1), "nrmse-field"),
    "fsd50k": (lambda X: np.column_stack([X[:, 0].mean(axis=2), X[:, 0].std(axis=2)]), "1-map-clips"),
    "deepsea": (words, "1-auroc-multilabel"),
}


@pytest.mark.parametrize("name", [n for n in NAMES if n.split("/")[1] in FEATURES])
def test_ridge_on_crude_features_beats_a_constant(name: str, folders: dict[str, Path]):
    features, metric_name = FEATURES[name.split("/")[1]]
    loaded = get_task(name).load(folders[name], "clean", limit={"train": 1500, "validation": 400, "test": 1})
    train, held = (loaded.dataset.take(loaded.split.rows(part)) for part in ("train", "validation"))
    scale = StandardScaler().fit(features(train.X))
    target = np.eye(len(train.classes))[train.y] if train.kind == "classification" else train.y.reshape(len(train), -1)
    fitted = RidgeCV(np.logspace(-1, 4, 11)).fit(scale.transform(features(train.X)), target)
    metric = get_metric(metric_name)
    scores = fitted.predict(scale.transform(features(held.X)))
    if train.kind == "classification":
        scores = np.exp(5 * scores) / np.exp(5 * scores).sum(axis=1, keepdims=True)
    if train.kind == "multilabel":
        scores = np.clip(scores, 1e-6, 1 - 1e-6)
    constant = np.broadcast_to(target.mean(axis=0), scores.shape)
    if train.kind == "dense":
        scores, constant = scores.reshape(held.y.shape), constant.reshape(held.y.shape)
    assert metric.score(scores, held.y, held.units) < 0.75 * metric.score(constant, held.y, held.units)
