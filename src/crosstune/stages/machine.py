"""One process or several that fit the same model on shares of every batch. Not a stage itself.

Accelerate finds out how many there are and carries what they exchange. All of them draw the same rows, compute their
share, and add up the gradients, so that the result is that of one process up to the order of sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator


class Machine:
    """The processes of this run and what they say to each other; with one process everything is what it was."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.accelerator = _accelerator(device)
        self.count = int(self.accelerator.num_processes)
        self.index = int(self.accelerator.process_index)

    @property
    def alone(self) -> bool:
        return self.count == 1

    def share(self, rows: np.ndarray) -> np.ndarray:
        """This process's rows of a batch."""
        return rows if self.alone else rows[self.index :: self.count]

    def agree(self, values: Iterable[float]) -> list[float]:
        """What the first process says: clocks differ, decisions must not."""
        values = list(values)
        if self.alone:
            return values
        from accelerate.utils import broadcast

        # float64 is not everywhere, and a share of a limit needs no more than seven digits
        said: Tensor = broadcast(torch.tensor(values, dtype=torch.float32, device=self.device))
        return [float(value) for value in said]

    def same(self, model: nn.Module) -> None:
        """Give every process the first one's weights and buffers."""
        if self.alone:
            return
        from accelerate.utils import broadcast

        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.copy_(broadcast(tensor.contiguous()))

    def add_gradients(self, parameters: Iterable[nn.Parameter], loss: float) -> float:
        """Sum the gradients of all processes, in place, and the loss. A parameter without a gradient anywhere keeps
        none: an optimiser would let it decay otherwise."""
        if self.alone:
            return loss
        trained = [p for p in parameters if p.requires_grad]
        present = torch.tensor([float(p.grad is not None) for p in trained], device=self.device)
        present = self._sum(present)
        wanted = [p for p, there in zip(trained, present.tolist()) if there > 0]
        for p in wanted:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        parts = [p.grad.flatten() for p in wanted if p.grad is not None]
        flat = self._sum(torch.cat([torch.tensor([loss], device=self.device), *parts]))
        at = 1
        for p in wanted:
            assert p.grad is not None
            p.grad.copy_(flat[at : at + p.numel()].view_as(p))
            at += p.numel()
        return float(flat[0])

    def _sum(self, values: Tensor) -> Tensor:
        out: Any = self.accelerator.reduce(values, reduction="sum")
        return out

    def gather(self, part: Tensor, total: int) -> Tensor:
        """Rows in order from every process's ``rows_of`` part, (total, ...), everywhere."""
        if self.alone:
            return part
        most = math.ceil(total / self.count)
        if len(part) < most:
            part = torch.cat([part, part.new_zeros(most - len(part), *part.shape[1:])])
        whole: Any = self.accelerator.gather(part.contiguous().to(self.device))
        return whole.cpu()[:total]

    def rows_of(self, total: int) -> np.ndarray:
        """This process's rows of a pass over all: consecutive, so that ``gather`` puts them in order."""
        if self.alone:
            return np.arange(total)
        most = math.ceil(total / self.count)
        return np.arange(min(total, self.index * most), min(total, (self.index + 1) * most))


def _accelerator(device: torch.device) -> Accelerator:
    from accelerate import Accelerator

    try:
        return Accelerator(cpu=device.type == "cpu")
    except ValueError:
        # its state is one per process and cannot be changed: someone began with another device. Ours is given to
        # every tensor by name, and the number of processes is the same.
        return Accelerator()
