"""What a stage may ask of the run around it: how far along am I, note this, keep this state. Not a stage itself.

A stage never looks at the clock: it asks ``progress``, which follows the steps when the budget is in steps and the
clock when it is in seconds, whichever is further. With a budget in steps a run is a pure function of its seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from crosstune.seeding import Streams


@dataclass(frozen=True)
class Limit:
    """End of a stage: after ``seconds`` of wall time, after ``steps`` steps, whichever comes first."""

    seconds: float | None = None
    steps: int | None = None


class Monitor:
    """Default monitor: limits only, nothing written. Runs subclass it to write events and checkpoints."""

    def __init__(self, limits: dict[str, Limit] | None = None) -> None:
        self.limits = dict(limits or {})
        self._started = 0.0
        self._before = 0.0
        self._limit = Limit()

    # -- time --------------------------------------------------------------------------------------------------
    def begin(self, stage: str, *, steps: int | None = None) -> dict[str, Any] | None:
        """Start the stage's clock; ``steps`` is the stage's own maximum. Returns the state to resume from, if any."""
        limit = self.limits.get(stage, Limit())
        known = [s for s in (limit.steps, steps) if s is not None]
        self._limit = Limit(limit.seconds, min(known) if known else None)
        resumed = self.resume(stage)
        self._before = float(resumed["elapsed"]) if resumed else 0.0
        self._started = time.monotonic()
        return resumed

    def elapsed(self) -> float:
        """Seconds spent in the stage, earlier sittings included."""
        return self._before + time.monotonic() - self._started

    def progress(self, step: int) -> float:
        """Share of the stage's limit used, 0 to 1 and beyond; 0 when there is no limit at all."""
        shares = [0.0]
        if self._limit.steps is not None:
            shares.append(step / max(1, self._limit.steps))
        if self._limit.seconds is not None:
            shares.append(self.elapsed() / max(1e-9, self._limit.seconds))
        return max(shares)

    def remaining(self) -> float | None:
        """Seconds left in the stage, or None when it is not limited in time."""
        return None if self._limit.seconds is None else self._limit.seconds - self.elapsed()

    # -- records, overridden by runs ---------------------------------------------------------------------------
    def event(self, kind: str, **values: Any) -> None:
        """Append one event."""

    def diagnostic(self, name: str, **arrays: np.ndarray) -> None:
        """Keep arrays for the report."""

    def checkpoint(self, stage: str, step: int, state: Callable[[], dict[str, Any]]) -> None:
        """Offer a checkpoint; the run decides whether one is due. ``state`` is called only then."""

    def resume(self, stage: str) -> dict[str, Any] | None:
        """The state saved in the middle of this stage by an earlier sitting."""
        return None


def pack(step: int, elapsed: float, streams: Streams, **parts: Any) -> dict[str, Any]:
    """A checkpoint's content: stateful parts by name, random streams, and torch's own generators (dropout)."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return {
        "step": step,
        "elapsed": elapsed,
        "streams": streams.state_dict(),
        "torch_rng": torch.random.get_rng_state(),
        "cuda_rng": cuda,
        "parts": parts,
    }


def unpack(saved: dict[str, Any], streams: Streams) -> tuple[int, dict[str, Any]]:
    """Restore the generators; gives the step and the parts."""
    streams.load_state_dict(saved["streams"])
    torch.random.set_rng_state(saved["torch_rng"])
    if saved.get("cuda_rng") and len(saved["cuda_rng"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(saved["cuda_rng"])
    return int(saved["step"]), saved["parts"]
