"""A small convolutional network for series, trained from nothing: what one would train instead of adapting a body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from crosstune.floors.base import FloorSpec
from crosstune.floors.common import class_count, require_target
from crosstune.floors.fields import coarsened_field
from crosstune.floors.minirocket import plain_series
from crosstune.floors.network import NetworkFloor, Shape, held_out_rows, moments, pieces, torch_threads
from crosstune.records import Dataset
from crosstune.seeding import Streams, derive_seed

_SHORTEST = 8  # points that a series is stretched to at least


class Cnn1d(NetworkFloor):
    """Series to classes, labels or values; see ``NetworkFloor`` for the plan and the choice of the weights.

    Ragged series are resampled to the full length, missing values interpolated in time, channels standardised by the
    training rows, values too. The loss is the cross-entropy, the binary one for labels, the squared error for values.
    Training begins at the shares of the classes and labels, or at the mean.
    """

    rate = 2e-3

    def build(self, shape: Shape) -> Any:
        import torch

        from crosstune.nn.convnet import SeriesNet

        return SeriesNet(shape.inputs, torch.from_numpy(self._start))

    def seconds_per_step(self, shape: Shape, batch: int) -> float:
        """Per point: the products of the three convolutions, and norms."""
        return 4e-3 + batch * shape.points * (2.5e-6 + 1.5e-8 * shape.inputs)

    def loss(self) -> Callable[[Any, Any], Any]:
        from torch.nn import functional

        if self._kind == "classification":
            return functional.cross_entropy
        return functional.binary_cross_entropy_with_logits if self._kind == "multilabel" else functional.mse_loss

    def fit(self, train: Dataset, seed: int) -> None:
        self._kind, self._length = train.kind, max(_SHORTEST, train.X.shape[2])
        outputs = class_count(train) if train.kind == "classification" else require_target(train).shape[1]
        streams, shape = Streams(seed), Shape(train.X.shape[1], outputs, (self._length,), False)
        plan = self.plan(shape, len(train))
        self._block = plan.block
        if plan.rows < len(train):
            train = train.take(np.sort(streams["rows"].permutation(len(train))[: plan.rows]))
        y = self._targets(train, outputs)
        x = np.concatenate([self._plain(part) for part in pieces(train)])
        self._mean, self._scale = moments(x)
        held_out = held_out_rows(train, streams["held-out"])
        self._net, done, chosen = self.train(
            shape, self._standardised(x), y, held_out, plan, derive_seed(seed, "network")
        )
        self.note = self.told(plan, done, chosen, len(x) - len(held_out))

    def predict(self, data: Dataset) -> np.ndarray:
        import torch
        from scipy.special import expit, softmax

        parts = [np.empty((0, len(self._start)))]
        with torch_threads(self._allowance.threads), torch.inference_mode():
            for part in pieces(data):
                parts.append(self._net(torch.from_numpy(self._standardised(self._plain(part)))).double().numpy())
        answers = np.concatenate(parts)
        if self._kind == "classification":
            return np.asarray(softmax(answers, axis=1))
        return np.asarray(expit(answers)) if self._kind == "multilabel" else answers * self._unit + self._centre

    def _targets(self, train: Dataset, outputs: int) -> np.ndarray:
        """Targets as the loss takes them; sets what training begins at, half a row more of everything counted."""
        y = require_target(train)
        if self._kind == "classification":
            counts = np.bincount(y, minlength=outputs) + 0.5
            self._start = np.log(counts / counts.sum()).astype(np.float32)
            return y.astype(np.int64)
        if self._kind == "multilabel":
            share = (y.sum(axis=0) + 0.5) / (len(y) + 1)
            self._start = np.log(share / (1 - share)).astype(np.float32)
            return y.astype(np.float32)
        self._centre, unit = y.mean(axis=0, dtype=np.float64), y.std(axis=0, dtype=np.float64)
        self._unit = np.where(unit > 1e-7 * np.abs(self._centre), unit, 1.0)
        self._start = np.zeros(outputs, dtype=np.float32)
        return ((y - self._centre) / self._unit).astype(np.float32)

    def _plain(self, part: Dataset) -> np.ndarray:
        return coarsened_field(plain_series(part, self._length), self._block).astype(np.float32)

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        return ((x - self._mean) / self._scale).astype(np.float32)


FLOOR = FloorSpec(
    name="cnn-1d",
    label="convolutional network",
    summary="a small convolutional network trained from nothing, for series",
    kinds=("classification", "multilabel", "regression"),
    modalities=("series",),
    build=Cnn1d,
    effort=4.2,
    least=15.0,
    imports=("torch", "scipy.special", "crosstune.nn.convnet"),
)
