"""Which precision the body is trained in, and why. Not a stage itself.

bfloat16 is for the body's products alone: head, losses, closed form and selection stay float32, and so do all weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from crosstune.nn.devices import computes_bf16

Precision = Literal["fp32", "bf16"]
GAIN = 1.15  # so many times as fast it must be: below that, rounding is not worth it
ROUNDS, MOST_ROUNDS = 4, 30
ENOUGH = 0.5  # seconds of steps beyond which more rounds say nothing new
_MEASURED: dict[tuple[object, ...], float] = {}


@dataclass(frozen=True)
class Choice:
    """The precision, and the reason in words, for the report."""

    precision: Precision
    why: str

    @property
    def dtype(self) -> torch.dtype | None:
        return torch.bfloat16 if self.precision == "bf16" else None


def choose(asked: Literal["auto", "fp32", "bf16"], device: torch.device, *, timed: bool) -> Choice | None:
    """What to train in; None where only a ``Trial`` can say. timed: whether the stage ends by the clock. A stage that
    ends by steps repeats bit by bit, which a choice by measurement would not."""
    if asked != "auto":
        return Choice(asked, "asked for")
    if not computes_bf16(device):
        return Choice("fp32", f"{device.type} has no bfloat16 instructions")
    if device.type != "cpu":
        return Choice("bf16", f"{device.type} computes it in hardware")
    if not timed:
        return Choice("fp32", "a stage that ends by steps must repeat, whatever the machine's speed")
    return None


class Trial:
    """The first steps of training in both precisions by turns, until it is clear which is faster. No step is lost.

    key: what the speed depends on; it is found out once per process. Times are compared by the shortest: other work on
    the machine only ever lengthens them.
    """

    def __init__(self, key: tuple[object, ...]) -> None:
        self.key = key
        self.times: dict[torch.dtype | None, list[float]] = {None: [], torch.bfloat16: []}

    @property
    def dtype(self) -> torch.dtype | None:
        """The precision whose turn it is."""
        return None if len(self.times[None]) <= len(self.times[torch.bfloat16]) else torch.bfloat16

    def record(self, seconds: float) -> None:
        """What the step took whose turn it was."""
        self.times[self.dtype].append(seconds)
        # the first pass of each plans kernels
        full, low = self.times[None][1:], self.times[torch.bfloat16][1:]
        done = len(low) >= MOST_ROUNDS or (len(low) >= ROUNDS and sum(full) + sum(low) >= ENOUGH)
        if done and len(full) == len(low):
            _MEASURED[self.key] = min(full) / max(1e-9, min(low))

    @property
    def choice(self) -> Choice | None:
        """None as long as it is not clear."""
        gain = _MEASURED.get(self.key)
        if gain is None:
            return None
        words = f"bfloat16 is {gain:.2f} times as fast here"
        return Choice("bf16", words) if gain >= GAIN else Choice("fp32", f"{words}, less than {GAIN}")
