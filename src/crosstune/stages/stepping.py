"""One optimiser step: which rows, in which pieces, and the gradient of their loss. Not a stage itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crosstune.assembly import batch
from crosstune.errors import ConfigError, DataError
from crosstune.nn.losses import Objective, positive
from crosstune.nn.memory import is_out_of_memory, release
from crosstune.nn.model import CrossModalModel
from crosstune.records import FIELD_KINDS, Dataset
from crosstune.stages.machine import Machine


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
    counts, however it is cut and over however many processes. Where memory does not suffice, pieces are halved, for
    good. say: hears of that. dtype: of the body's products, None for float32. compiled: translate the model first
    (``torch.compile``).
    """

    def __init__(
        self, model: CrossModalModel, objective: Objective, data: Dataset, size: int, machine: Machine, *,
        compiled: bool = False, say: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        self.model, self.objective, self.data, self.size, self.machine = model, objective, data, size, machine
        self.dtype: torch.dtype | None = None
        self.say, self.compiled = say, compiled
        self.forward: Any = torch.compile(model, dynamic=True) if compiled else model

    def gradients(self, rows: np.ndarray) -> float:
        """Leaves the gradients with the parameters; gives the loss. DataError when a single row is too much,
        ConfigError when the model cannot be compiled."""
        mine = self.machine.share(rows)
        x, lengths, y = batch(self.data, mine)
        assert y is not None
        count = positive(self.objective.count(y if len(mine) == len(rows) else self._targets(rows)))
        while True:
            self.model.zero_grad(set_to_none=True)
            try:
                loss = 0.0
                for at in range(0, len(mine), self.size):
                    loss += self._backward(x, lengths, y, slice(at, at + self.size), count)
                return self.machine.add_gradients(self.model.parameters(), loss)
            except (RuntimeError, MemoryError) as problem:
                if not is_out_of_memory(problem):
                    raise
                self._halve(len(mine), problem)
            release()  # only here is the error, and what it held, gone

    def _targets(self, rows: np.ndarray) -> Tensor:
        assert self.data.y is not None
        return torch.from_numpy(np.ascontiguousarray(self.data.y[rows]))

    def _halve(self, rows: int, problem: BaseException) -> None:
        tried = min(self.size, rows)
        if tried == 1:
            raise DataError(
                f"a single row does not fit the memory ({str(problem).splitlines()[0]})",
                cause="too many tokens per sample, or too large a body",
                fix="fewer --tokens, --set fit.checkpointing=true, --set fit.trainable=lora, or a smaller backbone",
            ) from problem
        self.size = -(-tried // 2)
        self.say(
            f"{tried} rows do not fit the memory at once: steps are made of pieces of {self.size} rows from here on"
        )

    def piece(self, x: Tensor, lengths: Tensor | None, y: Tensor, rows: slice) -> tuple[Tensor, Tensor | None, Tensor]:
        """Some rows of a batch on the model's device, cut to the longest of them."""
        x, y, lengths = x[rows], y[rows], None if lengths is None else lengths[rows]
        if lengths is not None:
            x = x[..., : max(1, int(lengths.max()))]
            y = y[..., : x.shape[-1]] if self.model.config.kind in FIELD_KINDS else y
        device = self.model.device
        return x.to(device), None if lengths is None else lengths.to(device), y.to(device)

    def _backward(self, x: Tensor, lengths: Tensor | None, y: Tensor, rows: slice, count: Tensor) -> float:
        """Gradients of a piece, added to those there are; gives its share of the batch's loss."""
        x, lengths, y = self.piece(x, lengths, y, rows)
        try:
            with self.model.body_in(self.dtype):
                out = self.forward(x, lengths)
        except Exception as problem:
            raise self._translated(problem) from problem
        total = self.objective.total(out, y)
        loss = total / count.to(total)
        loss.backward()
        return float(loss.detach())

    def _translated(self, problem: Exception) -> Exception:
        if not self.compiled or type(problem).__module__.split(".")[:2] not in (
            ["torch", "_dynamo"],
            ["torch", "_inductor"],
        ):
            return problem
        return ConfigError(
            f"the model cannot be compiled ({str(problem).splitlines()[0]})",
            cause="no C++ compiler, or an operation that torch.compile does not know",
            fix="leave fit.compile out",
        )
