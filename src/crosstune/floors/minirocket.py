"""MiniRocket (Dempster, Schmidt and Webb 2021) with a ridge model: the usual winner on time series. Needs aeon."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from crosstune.data.flatten import resample
from crosstune.floors.base import Allowance, FloorSpec
from crosstune.floors.common import affordable, chunks, class_count, joined, one_hot, require_target, target_matrix
from crosstune.floors.fields import fill_missing
from crosstune.floors.ridge import Ridge, ridge_cost
from crosstune.records import Dataset
from crosstune.seeding import derive_seed

_MODULE = "aeon.transformations.collection.convolution_based"
_KERNELS = 10_000  # of the paper
_SHORTEST = 9  # the length of a kernel


class MiniRocket:
    """Proportions of positive values of 9,996 fixed convolutions, then ridge regression on them.

    Classes and labels are fitted as -1 and 1; leave-one-out scores give the one scale that turns scores into
    probabilities by softmax or sigmoid, at the smallest log loss. Ragged series are resampled to the full length,
    missing values interpolated in time, channels standardised by the training rows.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._allowance = allowance

    def fit(self, train: Dataset, seed: int) -> None:
        compiling = self._compile(train.X.shape[1])
        train, cut = affordable(train, lambda n: _cost(train, n), self._allowance.seconds, seed)
        y = require_target(train)
        self._kind = train.kind
        self._length = max(_SHORTEST, train.X.shape[2])
        x = plain_series(train, self._length)
        self._mean = x.mean(axis=(0, 2), keepdims=True)
        scale = x.std(axis=(0, 2), keepdims=True)
        self._scale = np.where(scale > 0, scale, 1.0)
        self._rocket = _transformer(derive_seed(seed, "minirocket") % 2**31, self._allowance.threads)
        self._rocket.fit(self._standardised(x))
        z = self._features(x)
        self._spread = np.maximum(z.std(axis=0), 1e-8)
        targets = one_hot(y, class_count(train)) if train.kind == "classification" else target_matrix(y)
        if train.kind in ("classification", "multilabel"):
            self._ridge = Ridge().fit(z / self._spread, 2 * targets - 1, derive_seed(seed, "ridge"))
            self._steepness = steepness(self._ridge.left_out(), targets, train.kind == "classification")
        else:
            self._ridge = Ridge().fit(z / self._spread, targets, derive_seed(seed, "ridge"))
        self.note = joined(f"alpha = {self._ridge.alpha:.3g}", compiling, cut)

    def predict(self, data: Dataset) -> np.ndarray:
        from scipy.special import expit, softmax

        parts = [
            self._ridge.predict(self._features(plain_series(part, self._length)) / self._spread)
            for part in chunks(data)
        ]
        scores = np.concatenate(parts)
        if self._kind == "classification":
            return softmax(self._steepness * scores, axis=1)
        return expit(self._steepness * scores) if self._kind == "multilabel" else scores

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        return ((x - self._mean) / self._scale).astype(np.float32)

    def _features(self, x: np.ndarray) -> np.ndarray:
        return self._rocket.transform(self._standardised(x)).astype(np.float64)

    def _compile(self, channels: int) -> str:
        """Runs the transform once on a few numbers: its first use on a machine compiles for about half a minute."""
        self._allowance.phase("compiling MiniRocket, which takes long on the first use only")
        started = time.monotonic()
        probe = np.random.default_rng(0).normal(size=(2, channels, 16)).astype(np.float32)
        _transformer(0, self._allowance.threads, kernels=84).fit_transform(probe)
        self._allowance.phase("")
        took = time.monotonic() - started
        return f"{took:.0f} s of it compiling, on the first use only" if took > 5 else ""


def _transformer(seed: int, threads: int, kernels: int = _KERNELS) -> Any:
    return importlib.import_module(_MODULE).MiniRocket(n_kernels=kernels, random_state=seed, n_jobs=threads)


def plain_series(data: Dataset, length: int) -> np.ndarray:
    """Series (n, C, length) without gaps; ``length`` is at least that of a kernel."""
    x = np.asarray(data.X, dtype=np.float64)
    if data.lengths is not None or x.shape[2] != length:
        valid = np.full(len(x), x.shape[2]) if data.lengths is None else data.lengths
        x = resample(x, valid, length)
    return fill_missing(x)


def steepness(scores: np.ndarray, targets: np.ndarray, exclusive: bool) -> float:
    """The factor on scores (n, K) at which their softmax, or sigmoid, has the smallest log loss on targets (n, K)."""

    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_factor: float) -> float:
        raw = np.exp(log_factor) * scores
        if exclusive:
            return float(-np.mean(np.sum(targets * log_softmax(raw, axis=1), axis=1)))
        return float(np.mean(np.logaddexp(0, raw) - targets * raw))

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 4.0), method="bounded").x))


def _cost(train: Dataset, rows: int) -> float:
    """Seconds on one core: the transform of training rows and about as many queries, then the ridge model."""
    y = require_target(train)
    outputs = class_count(train) if train.kind == "classification" else int(np.prod(y.shape[1:]))
    channels, length = train.X.shape[1:]
    transform = 2 * rows * max(length, _SHORTEST) * 2e-6 * (1 + min(channels, 9) / 2)
    return transform + ridge_cost(rows, _KERNELS, outputs)


FLOOR = FloorSpec(
    name="minirocket",
    label="MiniRocket",
    summary="MiniRocket features and a ridge model, for series; its first use on a machine compiles for half a minute",
    kinds=("classification", "multilabel", "regression"),
    modalities=("series",),
    build=MiniRocket,
    effort=5.0,
    extra="floors",
    requires="aeon",
    imports=("scipy.optimize", _MODULE),
)
