"""One optimiser step: which rows, in which pieces, and the gradient of their loss. Not a stage itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from crosstune.assembly import batch, chunks
from crosstune.nn.losses import Objective, positive
from crosstune.nn.model import CrossModalModel
from crosstune.records import Dataset


class Epochs:
    """Shuffled passes over the training rows; position and order survive a checkpoint."""

    def __init__(self, n: int, batch_size: int, rng: np.random.Generator) -> None:
        self.n, self.size, self.rng = n, min(batch_size, n), rng
        self.order, self.at = np.zeros(0, dtype=np.int64), 0

    def next(self) -> np.ndarray:
        if self.at + self.size > len(self.order):
            self.order, self.at = self.rng.permutation(self.n), 0
        rows = self.order[self.at : self.at + self.size]
        self.at += self.size
        return rows

    def state_dict(self) -> dict[str, Any]:
        return {"order": torch.from_numpy(self.order.copy()), "at": self.at}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.order, self.at = saved["order"].numpy(), int(saved["at"])


class Stepper:
    """Gradients of a batch's loss, made of pieces of at most ``size`` rows.

    Every piece's total is divided by the count of the whole batch, so gradients are those of the batch's mean over what
    counts, however it is cut.
    """

    def __init__(self, model: CrossModalModel, objective: Objective, data: Dataset, size: int) -> None:
        self.model, self.objective, self.data, self.size = model, objective, data, size

    def gradients(self, rows: np.ndarray) -> float:
        """Leaves the gradients with the parameters; gives the loss."""
        self.model.zero_grad(set_to_none=True)
        x, lengths, y = batch(self.data, rows)
        assert y is not None
        count = positive(self.objective.count(y))
        loss = 0.0
        for piece in chunks(len(rows), self.size):
            loss += self._backward(x, lengths, y, piece if self.size < len(rows) else None, count)
        return loss

    def _backward(
        self, x: Tensor, lengths: Tensor | None, y: Tensor, piece: np.ndarray | None, count: Tensor
    ) -> float:  # fmt: skip
        if piece is not None:
            rows = slice(int(piece[0]), int(piece[-1]) + 1)
            x, y, lengths = x[rows], y[rows], None if lengths is None else lengths[rows]
            if lengths is not None:
                x = x[..., : max(1, int(lengths.max()))]
        total = self.objective.total(self.model(x, lengths), y)
        loss = total / count.to(total.dtype)
        loss.backward()
        return float(loss.detach())
