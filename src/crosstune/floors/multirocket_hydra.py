"""MultiRocket-Hydra (Dempster, Schmidt and Webb 2023): among the most accurate classifiers of series. Needs aeon.

The parts are aeon's and scikit-learn's, put together as in aeon's ``MultiRocketHydraClassifier``; that class gives
labels only, and a floor gives probabilities.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from crosstune.floors.base import Allowance, FloorSpec
from crosstune.floors.common import affordable, chunks, class_count, joined, one_hot, require_target, spread_columns
from crosstune.floors.minirocket import plain_series, steepness
from crosstune.floors.network import torch_threads
from crosstune.records import Dataset
from crosstune.seeding import derive_seed

_MODULE = "aeon.transformations.collection.convolution_based"
_SHORTEST = 10  # a kernel has 9 points, and differences one fewer than the series
_FEATURES = 55_000  # about 49,728 of MultiRocket and a thousand of Hydra per dilation
_MOST_VALUES = 150_000_000  # of all features in float64: 1.2 GB, three times while solving
_PENALTIES = np.logspace(-3, 3, 10)  # of aeon's class


class MultiRocketHydra:
    """Two kinds of random convolutions and one ridge classifier on the features of both.

    The label is that of aeon's class. Scores become probabilities by softmax at the one scale with the smallest log
    loss on the scores that each training row has when it is left out. Ragged series are resampled to the full length,
    missing values interpolated in time. Series are not standardised: MultiRocket does it by itself, row by row.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._allowance = allowance

    def fit(self, train: Dataset, seed: int) -> None:
        compiling = self._compile(train.X.shape[1])
        train, cut = affordable(train, lambda n: _cost(train, n), self._allowance.seconds, seed)
        y = require_target(train)
        self._classes, self._seen = class_count(train), np.unique(y)
        self._length = max(_SHORTEST, train.X.shape[2])
        self.note = joined(compiling, cut)
        if len(self._seen) == 1:
            return
        x = _pairs(plain_series(train, self._length))
        own = derive_seed(seed, "multirocket-hydra") % 2**31
        with _aside(self._allowance.threads):
            self._transforms = _transforms(own, self._allowance.threads)
            hydra, rocket = (transform.fit_transform(x) for transform in self._transforms)
        self._scaler = SparseScaler(hydra)
        self._standard = _standard().fit(rocket)
        z = self._together(hydra, rocket)[: len(y)]
        self._ridge = _classifier().fit(z, y)
        targets = one_hot(np.searchsorted(self._seen, y), len(self._seen))
        self._steepness = steepness(_left_out(z, 2 * targets - 1, float(self._ridge.alpha_)), targets, True)
        self.note = joined(f"alpha = {self._ridge.alpha_:.3g}", compiling, cut)

    def predict(self, data: Dataset) -> np.ndarray:
        from scipy.special import softmax

        if len(self._seen) == 1:
            return spread_columns(np.ones((len(data), 1)), self._seen, self._classes)
        parts = []
        with _aside(self._allowance.threads):
            for part in chunks(data):
                x = _pairs(plain_series(part, self._length))
                z = self._together(*(transform.transform(x) for transform in self._transforms))
                parts.append(self._ridge.decision_function(z)[: len(part)])
        scores = np.concatenate(parts)
        if scores.ndim == 1:  # of two classes: one score, of the second
            scores = np.stack([-scores, scores], axis=1)
        return spread_columns(softmax(self._steepness * scores, axis=1), self._seen, self._classes)

    def _together(self, hydra: np.ndarray, rocket: np.ndarray) -> np.ndarray:
        return np.concatenate([self._scaler(hydra), self._standard.transform(rocket)], axis=1)

    def _compile(self, channels: int) -> str:
        """Runs the transforms once on a few numbers: their first use on a machine compiles for about a minute."""
        self._allowance.phase("compiling MultiRocket, which takes long on the first use only")
        started = time.monotonic()
        probe = np.random.default_rng(0).normal(size=(2, channels, 16)).astype(np.float32)
        with _aside(self._allowance.threads):
            for transform in _transforms(0, self._allowance.threads, kernels=84, groups=2):
                transform.fit_transform(probe)
        self._allowance.phase("")
        took = time.monotonic() - started
        return f"{took:.0f} s of it compiling, on the first use only" if took > 5 else ""


class SparseScaler:
    """Scaling for counts of which many are zero (Dempster et al. 2023): square roots, centred and scaled by their
    moments in training where they are not zero; the deviation is enlarged by the fourth power of the share of zeros."""

    def __init__(self, counts: np.ndarray) -> None:
        roots = np.sqrt(np.maximum(counts, 0))
        self._mean = roots.mean(axis=0)
        self._scale = roots.std(axis=0, ddof=1) + (roots == 0).mean(axis=0) ** 4 + 1e-8

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        roots = np.sqrt(np.maximum(counts, 0))
        return np.asarray(np.where(roots != 0, roots - self._mean, 0) / self._scale)


def _transforms(seed: int, threads: int, kernels: int = 6250, groups: int = 64) -> tuple[Any, Any]:
    found = importlib.import_module(_MODULE)
    return (
        found.HydraTransformer(n_groups=groups, n_jobs=threads, random_state=seed, output_type="numpy"),
        found.MultiRocket(n_kernels=kernels, n_jobs=threads, random_state=seed),
    )


def _standard() -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler()


def _classifier() -> Any:
    from sklearn.linear_model import RidgeClassifierCV

    return RidgeClassifierCV(alphas=_PENALTIES)


def _left_out(z: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    """Scores (n, K) of ridge regression with intercept for each row by the model of all others: y - r_i / (1 - h_ii)
    (Allen 1974), by the n x n Gram matrix."""
    n = len(z)
    centred = z - z.mean(axis=0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values = np.maximum(values, 0)
    shrunk = (vectors * (alpha / (values + alpha))) @ vectors.T  # 1 - hat matrix, but for the intercept
    residual = shrunk @ (y - y.mean(axis=0))
    free = np.maximum(np.diag(shrunk) - 1 / n, 1e-12)
    return np.asarray(y - residual / free[:, None])


def _pairs(x: np.ndarray) -> np.ndarray:
    """At least two rows: aeon takes a single one for no row at all."""
    return np.repeat(x, 2, axis=0) if len(x) == 1 else x


@contextmanager
def _aside(threads: int) -> Iterator[None]:
    """aeon seeds the global generators of numpy and torch and sets torch's threads: afterwards all is as before."""
    import torch

    before = np.random.get_state()  # noqa: NPY002
    try:
        with torch_threads(threads), torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _cost(train: Dataset, rows: int) -> float:
    """Seconds on one core: the transforms of training rows and about as many queries, the classifier, and the scores of
    rows left out; without end where the features of so many rows would not fit into memory."""
    if rows * _FEATURES > _MOST_VALUES:
        return float("inf")
    channels, length = train.X.shape[1:]
    transform = 2 * rows * max(length, _SHORTEST) * 2e-5 * (1 + min(channels, 9) / 2)
    return transform + (4 * rows * _FEATURES * min(rows, _FEATURES) + 24 * rows**3) / 1.5e10


FLOOR = FloorSpec(
    name="multirocket-hydra",
    label="MultiRocket-Hydra",
    summary="two sets of random convolutions and a ridge classifier, for series; compiles for a minute on first use",
    kinds=("classification",),
    modalities=("series",),
    build=MultiRocketHydra,
    effort=5.1,
    least=20.0,
    extra="floors",
    requires="aeon",
    imports=("torch", "scipy.optimize", "sklearn.linear_model", "sklearn.preprocessing", _MODULE),
)
