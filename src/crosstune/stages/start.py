"""Where the embedder begins, before any stage: at random, or at what the body's own theta does to raw signals.

Initialisation from p0 of the method, for the bodies whose theta reads signals (series, pictures) and not words. A theta
is worth little on data unlike its own, so that "best" lets a closed-form head decide, by its leave-one-out error on
training rows. Not a stage itself.
"""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass
from typing import Literal

from crosstune.backbones import Backbone
from crosstune.nn.embedders import PatchEmbedder
from crosstune.nn.model import CrossModalModel
from crosstune.stages.candidates import leave_one_out_error
from crosstune.stages.state import State

Start = Literal["random", "theta", "best"]
SHARE = 0.15  # of a limit in time, for judging both


def can_start(backbone: Backbone, model: CrossModalModel) -> bool:
    """Whether theta can be read as an embedder of these data: both see series, or both see grids, in windows."""
    like = "grid" if backbone.modality == "image" else backbone.modality
    if not hasattr(backbone.source, "start") or not isinstance(model.embedder, PatchEmbedder):
        return False
    return {"series": 1, "grid": 2}.get(like) == len(model.embedder.plan.window)


@dataclass(frozen=True)
class Started:
    """Where an embedder began, "random" or "theta", and the leave-one-out errors that decided it, where they were
    measured (relative to predicting the mean)."""

    embedder: Literal["random", "theta"]
    press_random: float | None = None
    press_theta: float | None = None

    @property
    def note(self) -> str | None:
        """A sentence for the report; None where there was no choice."""
        if self.press_random is None or self.press_theta is None:
            return "the embedder began as the body's own theta" if self.embedder == "theta" else None
        errors = f"{self.press_theta:.3f} as theta, {self.press_random:.3f} at random"
        began = "as the body's own theta" if self.embedder == "theta" else "at random"
        return f"the embedder began {began}: leave-one-out error of the closed-form head {errors}"


def start_embedder(state: State, start: Start, *, seconds: float | None = None) -> Started:
    """Set the embedder in place. It stays at random where theta cannot be read as an embedder of the data. seconds: the
    arm's limit; "best" is theta where judging a second embedder would take more than a share of it."""
    found = _start(state, start, seconds)
    if start != "random" and can_start(state.backbone, state.model):
        state.monitor.event("start", **asdict(found))
    return found


def _start(state: State, start: Start, seconds: float | None) -> Started:
    model, source = state.model, state.backbone.source
    if start == "random" or not can_start(state.backbone, model):
        return Started("random")
    drawn = copy.deepcopy(model.embedder.state_dict())
    if start == "best":
        before = time.monotonic()
        random_error = leave_one_out_error(state)
        spent = time.monotonic() - before
    device = model.device  # before the embedder leaves it
    copy.deepcopy(source).to("cpu").start(model.embedder.to("cpu"))  # type: ignore[operator]
    model.embedder.to(device)
    if start == "theta" or (seconds is not None and 2 * spent > SHARE * seconds):
        return Started("theta")
    theta_error = leave_one_out_error(state)
    if theta_error <= random_error:
        return Started("theta", random_error, theta_error)
    model.embedder.load_state_dict(drawn)
    return Started("random", random_error, theta_error)
