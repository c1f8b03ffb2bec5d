"""Stage 2: fit the target. The head first and in closed form, then gradient steps on what the config lets train.

The validation split, carved from the training data, selects: the head-first model is the first candidate, so
fine-tuning can only improve the selected score.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import torch

from crosstune.records import StageReport
from crosstune.seeding import Streams
from crosstune.stages.adapters import merge
from crosstune.stages.closed_form import fit_head
from crosstune.stages.fit_config import FitConfig
from crosstune.stages.monitor import pack, unpack
from crosstune.stages.selection import Selection
from crosstune.stages.state import State
from crosstune.stages.stepping import Epochs, Stepper
from crosstune.stages.trainables import fall, make_optimiser, make_trainable, parameter_groups, set_rates

__all__ = ["FitConfig", "run"]


def _too_late(remaining: float | None, needed: float) -> bool:
    return remaining is not None and remaining < 1.2 * needed


def _last_step(config: FitConfig, per_epoch: int) -> int | None:
    """The stage's own limit in steps."""
    limits = [config.max_steps, None if config.epochs is None else math.ceil(config.epochs * per_epoch)]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def run(state: State, config: FitConfig, *, streams: Streams) -> tuple[State, StageReport]:
    """Fit the target; the returned state's model is the best on validation, in plain weights.

    Raises ConfigError, before anything is trained, for settings that do not fit the data or the body."""
    model, monitor = state.model, state.monitor
    config.check(model.config.kind)
    size = min(config.batch_size * config.accumulate, len(state.train))
    per_epoch = max(1, len(state.train) // size)
    resumed = monitor.begin("fit", steps=_last_step(config, per_epoch))
    started = time.monotonic()
    objective = config.objective(state)
    names = make_trainable(model, config, seed=streams.seed_for("adapters"))
    selection = Selection(state, names, objective)
    torch.manual_seed(streams.seed_for("dropout") % 2**63)
    epochs = Epochs(len(state.train), size, streams["batches"])
    notes: list[str] = []
    figures: dict[str, Any] = {}
    step = 0
    if resumed:
        # the head's buffers and weights come with the checkpoint: nothing is fitted twice
        step, parts = unpack(resumed, streams)
        epochs.rng = streams["batches"]
        model.load_state_dict(parts["model"])
        epochs.load_state_dict(parts["epochs"])
        selection.load_state_dict(parts["selection"])
        figures = dict(parts["figures"])
    elif config.head_init == "ridge":
        fitted = fit_head(
            model, state.train, max_rows=state.max_head_rows, generator=streams["head"], setting=objective.setting
        )
        figures = {"head_body_share": fitted.body_share, "head_lambda": fitted.lam,
                   "head_relative_press": fitted.relative_press, "head_rows": fitted.rows}  # fmt: skip
    optimiser = make_optimiser(config, parameter_groups(model, config, names))
    trained = sum(p.numel() for group in optimiser.param_groups for p in group["params"])
    stepper = Stepper(model, objective, state.train, config.batch_size)
    if resumed:
        optimiser.load_state_dict(parts["optimiser"])
    else:
        selection.evaluate(model, 0, monitor)
        figures["head_first_score"] = selection.best_score
    # an evaluation costs about a third of a training step per row: keep it below a fifth of the time
    every = max(10, math.ceil(5 * len(selection.data) / (3 * size)))
    every = min(every, max(10, len(state.train) // size * 4))
    warmup = config.warmup_steps if config.warmup_epochs is None else round(config.warmup_epochs * per_epoch)

    def decay() -> float:
        if config.decay_epochs is not None:
            return fall(step / (config.decay_epochs * per_epoch), config.schedule)
        return fall(monitor.progress(step), config.schedule)

    def save() -> dict[str, Any]:
        return pack(
            step, monitor.elapsed(), streams, model=model.state_dict(), optimiser=optimiser.state_dict(),
            epochs=epochs.state_dict(), selection=selection.state_dict(), figures=figures,
        )  # fmt: skip

    monitor.checkpoint("fit", step, save)
    stopped = "budget"
    lost = 0
    model.train(config.dropout)
    while monitor.progress(step) < 1 and not _too_late(monitor.remaining(), selection.seconds):
        if selection.waiting >= config.patience:
            stopped = "patience"
            break
        factor = set_rates(optimiser, decay(), step, warmup)
        loss = stepper.gradients(epochs.next())
        norm = torch.nn.utils.clip_grad_norm_(
            [p for p in model.parameters() if p.requires_grad], math.inf if config.clip is None else config.clip
        )
        if bool(torch.isfinite(norm)):
            optimiser.step()
        else:
            lost += 1
        step += 1
        monitor.event("step", stage="fit", step=step, loss=loss, lr=factor)
        if step % every == 0:
            selection.evaluate(model, step, monitor)
            model.train(config.dropout)
        monitor.checkpoint("fit", step, save)
    if step % every and step:
        selection.evaluate(model, step, monitor)
    assert selection.best is not None
    model.load_state_dict({**model.state_dict(), **selection.best})
    model.eval()
    if config.adapter is not None:
        merge(model.body)
    if lost:
        notes.append(f"{lost} steps had a gradient that was not finite and were left out")
    figures |= {"best_score": selection.best_score, "best_step": selection.best_step, "trained_parameters": trained}
    state = replace(state, best_score=selection.best_score)
    seconds = monitor.elapsed() or time.monotonic() - started
    return state, StageReport("fit", step, seconds, stopped, figures, tuple(notes))
