"""Batches as plain arrays: trimming ragged series, and samplers that can be saved in mid-epoch. NumPy only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from crosstune.data.lazy import is_lazy
from crosstune.errors import UsageError
from crosstune.records import FIELD_KINDS, Dataset


def collate(dataset: Dataset, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The rows as arrays: ``X`` (b, ...) float32; for ragged series, trimmed to the longest of the batch, also
    ``lengths`` (b,) int64 and ``mask`` (b, L) bool, True on valid samples; ``y`` (b, ...) where there is a target.
    """
    rows = np.asarray(rows)
    out: dict[str, np.ndarray] = {}
    X = dataset.X
    if dataset.lengths is not None:
        lengths = dataset.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else 1
        X = np.asarray(X[rows])[:, :, :longest] if is_lazy(X) else X[:, :, :longest][rows]
        out["lengths"] = lengths
        out["mask"] = np.arange(longest) < lengths[:, None]
    else:
        X = X[rows]
    out["X"] = np.ascontiguousarray(X)
    if dataset.y is not None:
        y = dataset.y
        if dataset.kind in FIELD_KINDS and dataset.lengths is not None and y.shape[-1] == dataset.X.shape[-1]:
            y = y[..., : out["X"].shape[2]]
        out["y"] = np.ascontiguousarray(y[rows])
    return out


def sequential_batches(n: int, batch_size: int) -> Iterator[np.ndarray]:
    """Rows 0..n-1 in order, for evaluation."""
    for start in range(0, n, batch_size):
        yield np.arange(start, min(start + batch_size, n))


def length_bucketed_batches(
    lengths: np.ndarray, batch_size: int, generator: np.random.Generator | None = None, *, window: int = 50
) -> list[np.ndarray]:
    """One epoch of batches of similar length. Without a generator: sorted by length, for evaluation. With one: rows
    are shuffled, sorted within windows of ``window`` batches, and the batches shuffled, so that order stays random.
    """
    lengths = np.asarray(lengths)
    if generator is None:
        order = np.argsort(lengths, kind="stable")
        return [order[rows] for rows in sequential_batches(len(lengths), batch_size)]
    order = generator.permutation(len(lengths))
    batches: list[np.ndarray] = []
    for start in range(0, len(order), batch_size * window):
        part = order[start : start + batch_size * window]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[rows] for rows in sequential_batches(len(part), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


class BatchSampler:
    """An endless iterator over batches of row numbers, epoch after epoch, that can be saved and restored.

    n: rows. batch_size: rows per batch; the last batch of an epoch may be smaller. generator: the only source of
    randomness. stratify: (n,) labels; every batch then holds each class in proportion, as far as rounding allows.
    lengths: (n,); batches then hold series of similar length. At most one of the two.

    The state is small and plain (JSON): the generator's state before the epoch was drawn and the position in it.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        generator: np.random.Generator,
        stratify: np.ndarray | None = None,
        lengths: np.ndarray | None = None,
    ) -> None:
        if n < 1 or batch_size < 1:
            raise UsageError(f"cannot draw batches of {batch_size} from {n} rows", fix="use at least one of each")
        if stratify is not None and lengths is not None:
            raise UsageError("batches cannot be both stratified and bucketed by length", fix="pass one of the two")
        for name, values in (("stratify", stratify), ("lengths", lengths)):
            if values is not None and len(values) != n:
                raise UsageError(f"{name} has {len(values)} entries for {n} rows")
        self.n = n
        self.batch_size = min(batch_size, n)
        self.generator = generator
        self.stratify = None if stratify is None else np.asarray(stratify)
        self.lengths = None if lengths is None else np.asarray(lengths)
        self.epoch = -1  # epochs begun, counted from 0
        self._position = 0
        self._batches: list[np.ndarray] = []
        self._before: dict[str, Any] = {}

    @property
    def batches_per_epoch(self) -> int:
        return -(-self.n // self.batch_size)

    def __iter__(self) -> BatchSampler:
        return self

    def __next__(self) -> np.ndarray:
        if self._position >= len(self._batches):
            self._draw()
        batch = self._batches[self._position]
        self._position += 1
        return batch

    def _draw(self) -> None:
        self._before = dict(self.generator.bit_generator.state)
        self._batches = self._epoch()
        self._position = 0
        self.epoch += 1

    def _epoch(self) -> list[np.ndarray]:
        if self.lengths is not None:
            return length_bucketed_batches(self.lengths, self.batch_size, self.generator)
        order = self.generator.permutation(self.n)
        if self.stratify is not None:
            order = self._interleaved(order)
        return [order[rows] for rows in sequential_batches(self.n, self.batch_size)]

    def _interleaved(self, order: np.ndarray) -> np.ndarray:
        """The r-th of m rows of a class gets the place (r + u) / m in the epoch, with u uniform per class."""
        assert self.stratify is not None
        _, codes, counts = np.unique(self.stratify, return_inverse=True, return_counts=True)
        place = np.empty(self.n)
        shift = self.generator.random(len(counts))
        for code, count in enumerate(counts):
            rows = order[codes[order] == code]
            place[rows] = (np.arange(count) + shift[code]) / count
        return np.argsort(place, kind="stable")

    def state_dict(self) -> dict[str, Any]:
        """Plain data from which ``load_state_dict`` goes on with the very next batch."""
        return {
            "n": self.n,
            "batch_size": self.batch_size,
            "epoch": self.epoch,
            "position": self._position,
            "before": self._before,
            "generator": self.generator.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the position, and the generator's state with it."""
        if (state["n"], state["batch_size"]) != (self.n, self.batch_size):
            raise UsageError(
                f"saved batches of {state['batch_size']} from {state['n']} rows, but this sampler draws "
                f"{self.batch_size} from {self.n}",
                cause="the data or the batch size changed since the checkpoint",
                fix="resume with the data and batch size of the run",
            )
        self.epoch = int(state["epoch"])
        self._position = int(state["position"])
        self._before = dict(state["before"])
        self._batches = []
        if self._before:
            self.generator.bit_generator.state = self._before
            self._batches = self._epoch()
        self.generator.bit_generator.state = state["generator"]
