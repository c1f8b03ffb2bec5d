"""Which precision the body is trained in, and why. Not a stage itself.

bfloat16 is for the body's products alone: head, losses, closed form and selection stay float32, and so do all weights.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from crosstune.nn.devices import computes_bf16
from crosstune.nn.memory import is_out_of_memory

Precision = Literal["fp32", "bf16"]
GAIN = 1.15  # so many times as fast it must be: below that, noise and rounding are not worth it
ROUNDS = 3
_MEASURED: dict[tuple[object, ...], float] = {}


@dataclass(frozen=True)
class Choice:
    """The precision, and the reason in words, for the report."""

    precision: Precision
    why: str

    @property
    def dtype(self) -> torch.dtype | None:
        return torch.bfloat16 if self.precision == "bf16" else None


def choose(
    asked: Literal["auto", "fp32", "bf16"], device: torch.device, *, timed: bool, key: tuple[object, ...],
    step: Callable[[torch.dtype | None], None], seconds: float | None = None,
) -> Choice:  # fmt: skip
    """What to train in.

    timed: whether the stage ends by the clock. A stage that ends by steps repeats bit by bit, which a choice by
    measurement would not. step(dtype): forward and backward pass of a small batch, which is measured once per key
    (what the speed depends on) on CPUs; seconds: of the stage that are left, of which measuring may take a twentieth.
    """
    if asked != "auto":
        return Choice(asked, "asked for")
    if not computes_bf16(device):
        return Choice("fp32", f"{device.type} has no bfloat16 instructions")
    if device.type != "cpu":
        return Choice("bf16", f"{device.type} computes it in hardware")
    if not timed:
        return Choice("fp32", "a stage that ends by steps must repeat, whatever the machine's speed")
    if key not in _MEASURED:
        try:
            began = time.monotonic()
            step(None)
            once = time.monotonic() - began
            if seconds is not None and 2 * (ROUNDS + 1) * once > 0.05 * seconds:
                return Choice("fp32", "no time to measure whether bfloat16 is faster")
            _MEASURED[key] = _gain(step)
        except (RuntimeError, MemoryError) as problem:
            if not is_out_of_memory(problem):
                raise
            return Choice("fp32", "no memory to measure whether bfloat16 is faster")
    gain = _MEASURED[key]
    words = f"bfloat16 is {gain:.2f} times as fast here"
    return Choice("bf16", words) if gain >= GAIN else Choice("fp32", f"{words}, less than {GAIN}")


def _gain(step: Callable[[torch.dtype | None], None]) -> float:
    """Median time in float32 over median time in bfloat16, taken in turns."""
    step(torch.bfloat16)  # the first pass plans kernels
    times: dict[torch.dtype | None, list[float]] = {None: [], torch.bfloat16: []}
    for _ in range(ROUNDS):
        for dtype, found in times.items():
            began = time.perf_counter()
            step(dtype)
            found.append(time.perf_counter() - began)
    return statistics.median(times[None]) / max(1e-9, statistics.median(times[torch.bfloat16]))
