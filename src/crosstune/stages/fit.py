"""Stage 2: fit the target. The head first and in closed form, then gradient steps on what the config lets train.

The validation split, carved from the training data, selects: the head-first model is the first candidate, so
fine-tuning can only improve the selected score.
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from crosstune.nn.memory import recomputed
from crosstune.records import StageReport
from crosstune.seeding import Streams
from crosstune.stages.adapters import merge
from crosstune.stages.closed_form import fit_head
from crosstune.stages.fit_config import FitConfig
from crosstune.stages.machine import Machine
from crosstune.stages.monitor import pack, unpack
from crosstune.stages.precision import Choice, Trial, choose
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


def _trial(config: FitConfig, state: State) -> Trial:
    model = state.model
    return Trial(
        (model.body.family, model.body.widths, model.config.shape, model.config.window, model.config.stride,
         config.trainable, config.checkpointing, config.compile, config.batch_size, config.accumulate,
         torch.get_num_threads())
    )  # fmt: skip


def run(state: State, config: FitConfig, *, streams: Streams) -> tuple[State, StageReport]:
    """Fit the target; the returned state's model is the best on validation, in plain weights.

    Raises ConfigError, before anything is trained, for settings that do not fit the data or the body."""
    config.check(state.model.config.kind)
    with ExitStack() as stack:
        if config.checkpointing:
            body = state.model.body
            stack.enter_context(recomputed(body.blocks(), body.volatile))
        return _run(state, config, streams)


def _run(state: State, config: FitConfig, streams: Streams) -> tuple[State, StageReport]:
    model, monitor = state.model, state.monitor
    machine = Machine(model.device)
    size = min(config.batch_size * config.accumulate, len(state.train))
    per_epoch = max(1, len(state.train) // size)
    resumed = monitor.begin("fit", steps=_last_step(config, per_epoch))
    started = time.monotonic()
    objective = config.objective(state)
    names = make_trainable(model, config, seed=streams.seed_for("adapters"))
    selection = Selection(state, names, objective, machine)
    torch.manual_seed((streams.seed_for("dropout") + machine.index) % 2**63)
    epochs = Epochs(len(state.train), size, streams["batches"])
    notes: list[str] = []
    figures: dict[str, Any] = {}
    step = 0

    def say(text: str) -> None:
        notes.append(text)
        monitor.event("message", text=text)

    stepper = Stepper(model, objective, state.train, config.batch_size, machine, compiled=config.compile, say=say)
    if resumed:
        # the head's buffers and weights come with the checkpoint: nothing is fitted twice
        step, parts = unpack(resumed, streams)
        epochs.rng = streams["batches"]
        model.load_state_dict(parts["model"])
        epochs.load_state_dict(parts["epochs"])
        selection.load_state_dict(parts["selection"])
        figures, stepper.size = dict(parts["figures"]), int(parts["piece"])
        notes += parts["notes"]
    elif config.head_init == "ridge":
        fitted = fit_head(
            model,
            state.train,
            max_rows=state.max_head_rows,
            generator=streams["head"],
            setting=objective.setting,
            seconds=state.head_seconds,
        )
        figures = {"head_body_share": fitted.body_share, "head_lambda": fitted.lam,
                   "head_relative_press": fitted.relative_press, "head_rows": fitted.rows}  # fmt: skip
    machine.same(model)
    optimiser = make_optimiser(config, parameter_groups(model, config, names))
    trained = sum(p.numel() for group in optimiser.param_groups for p in group["params"])
    if resumed:
        optimiser.load_state_dict(parts["optimiser"])
    else:
        selection.evaluate(model, 0, monitor)
        figures["head_first_score"] = selection.best_score
        figures |= {"device": str(model.device), "processes": machine.count}
    chosen = choose(config.precision, model.device, timed=monitor.remaining() is not None)
    if "precision" in figures:  # an earlier sitting knew
        chosen = Choice(figures["precision"], figures["precision_why"])
    trial = _trial(config, state) if chosen is None else None
    # an evaluation costs about a third of a training step per row: keep it below a fifth of the time
    every = max(10, math.ceil(5 * len(selection.data) / (3 * size)))
    every = min(every, max(10, len(state.train) // size * 4))
    warmup = config.warmup_steps if config.warmup_epochs is None else round(config.warmup_epochs * per_epoch)

    def save() -> dict[str, Any]:
        return pack(
            step, monitor.elapsed(), streams, model=model.state_dict(), optimiser=optimiser.state_dict(),
            epochs=epochs.state_dict(), selection=selection.state_dict(), figures=figures, piece=stepper.size,
            notes=list(notes),
        )  # fmt: skip

    monitor.checkpoint("fit", step, save)
    stopped = "budget"
    lost = 0
    model.train(config.dropout)
    while True:
        late = _too_late(monitor.remaining(), selection.seconds)
        progress, too_late = machine.agree((monitor.progress(step), float(late)))
        if progress >= 1 or too_late:
            break
        if selection.waiting >= config.patience:
            stopped = "patience"
            break
        course = progress if config.decay_epochs is None else step / (config.decay_epochs * per_epoch)
        factor = set_rates(optimiser, fall(course, config.schedule), step, warmup)
        began = time.perf_counter()
        if trial is not None and chosen is None:
            chosen = trial.choice
            stepper.dtype = trial.dtype
        if chosen is not None:
            figures |= {"precision": chosen.precision, "precision_why": chosen.why}
            stepper.dtype = chosen.dtype
        loss = stepper.gradients(epochs.next())
        if trial is not None and chosen is None:
            trial.record(machine.agree([time.perf_counter() - began])[0])
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
    if "precision" not in figures:
        figures |= {
            "precision": "fp32",
            "precision_why": "the stage ended before it was clear whether bfloat16 is faster",
        }
    figures |= {"best_score": selection.best_score, "best_step": selection.best_step, "trained_parameters": trained,
                "piece_rows": stepper.size}  # fmt: skip
    state = replace(state, best_score=selection.best_score)
    seconds = monitor.elapsed() or time.monotonic() - started
    return state, StageReport("fit", step, seconds, stopped, figures, tuple(notes))
