"""Where the embedder begins, before any stage: at random, or at what the body's own theta does to raw signals.

Initialisation from p0 of the method, for the bodies whose theta reads signals (series, pictures) and not words. A theta
is worth little on data unlike its own, so that "best" lets a closed-form head decide, by its leave-one-out error on
training rows. Not a stage itself.
"""

from __future__ import annotations

import copy
import time
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


def start_embedder(state: State, start: Start, *, seconds: float | None = None) -> str:
    """Set the embedder in place; gives where it begins, "random" or "theta". It stays at random where theta cannot be
    read as an embedder of the data. seconds: the arm's limit; "best" is theta where judging a second embedder would
    take more than a share of it."""
    model, source = state.model, state.backbone.source
    if start == "random" or not can_start(state.backbone, model):
        return "random"
    drawn = copy.deepcopy(model.embedder.state_dict())
    if start == "best":
        before = time.monotonic()
        random_error = leave_one_out_error(state)
        spent = time.monotonic() - before
    source.start(model.embedder.to("cpu"))  # type: ignore[operator]
    model.embedder.to(model.device)
    if start == "theta" or (seconds is not None and 2 * spent > SHARE * seconds):
        state.monitor.event("start", embedder="theta")
        return "theta"
    theta_error = leave_one_out_error(state)
    kept = "theta" if theta_error <= random_error else "random"
    if kept == "random":
        model.embedder.load_state_dict(drawn)
    state.monitor.event("start", embedder=kept, press_random=random_error, press_theta=theta_error)
    return kept
