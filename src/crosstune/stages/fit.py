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


def run(state: State, config: FitConfig, *, streams: Streams) -> tuple[State, StageReport]:
    """Fit the target; the returned state's model is the best on validation, in plain weights.

    Raises ConfigError, before anything is trained, for settings that do not fit the data or the body."""
    config.check(state.model.config.kind)
    with ExitStack() as stack:
        if config.checkpointing:
            body = state.model.body
            stack.enter_context(recomputed(body.blocks(), body.volatile))
        return _Fitting(state, config, streams).run()


class _Fitting:
    """The stage while it is going on: everything a checkpoint must hold, and the steps."""

    def __init__(self, state: State, config: FitConfig, streams: Streams) -> None:
        self.state, self.config, self.streams = state, config, streams
        self.model, self.monitor = state.model, state.monitor
        self.machine = Machine(self.model.device)
        size = min(config.batch_size * config.accumulate, len(state.train))
        self.per_epoch = max(1, len(state.train) // size)
        self.saved = self.monitor.begin("fit", steps=_last_step(config, self.per_epoch))
        self.started = time.monotonic()
        self.objective = config.objective(state)
        names = make_trainable(self.model, config, seed=streams.seed_for("adapters"))
        self.selection = Selection(state, names, self.objective, self.machine)
        torch.manual_seed((streams.seed_for("dropout") + self.machine.index) % 2**63)
        self.epochs = Epochs(len(state.train), size, streams["batches"])
        self.optimiser = make_optimiser(config, parameter_groups(self.model, config, names))
        self.stepper = Stepper(
            self.model, self.objective, state.train, config.batch_size, self.machine, compiled=config.compile,
            say=self.say,
        )  # fmt: skip
        self.step, self.lost = 0, 0
        self.notes: list[str] = []
        self.figures: dict[str, Any] = {}
        # an evaluation costs about a third of a training step per row: keep it below a fifth of the time
        every = max(10, math.ceil(5 * len(self.selection.data) / (3 * size)))
        self.every = min(every, max(10, len(state.train) // size * 4))
        in_epochs = config.warmup_epochs
        self.warmup = config.warmup_steps if in_epochs is None else round(in_epochs * self.per_epoch)
        self.precision: Choice | None = None
        self.trial: Trial | None = None

    def say(self, text: str) -> None:
        self.notes.append(text)
        self.monitor.event("message", text=text)

    def run(self) -> tuple[State, StageReport]:
        if self.saved:
            self.resume(self.saved)
        else:
            self.begin()
        self.settle_precision()
        self.monitor.checkpoint("fit", self.step, self.save)
        stopped = self.train()
        return self.finish(stopped)

    # -- beginnings --------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """The head in closed form, and the model as it then is as first candidate."""
        if self.config.head_init == "ridge":
            fitted = fit_head(
                self.model, self.state.train, max_rows=self.state.max_head_rows, generator=self.streams["head"],
                setting=self.objective.setting, seconds=self.state.head_seconds,
            )  # fmt: skip
            self.figures = {"head_body_share": fitted.body_share, "head_lambda": fitted.lam,
                            "head_relative_press": fitted.relative_press, "head_rows": fitted.rows}  # fmt: skip
        self.machine.same(self.model)
        self.selection.evaluate(self.model, 0, self.monitor)
        self.figures["head_first_score"] = self.selection.best_score
        self.figures |= {"device": str(self.model.device), "processes": self.machine.count}

    def resume(self, saved: dict[str, Any]) -> None:
        """The head's buffers and weights come with the checkpoint: nothing is fitted twice."""
        self.step, parts = unpack(saved, self.streams)
        self.epochs.rng = self.streams["batches"]
        self.model.load_state_dict(parts["model"])
        self.epochs.load_state_dict(parts["epochs"])
        self.selection.load_state_dict(parts["selection"])
        self.optimiser.load_state_dict(parts["optimiser"])
        self.figures, self.stepper.size = dict(parts["figures"]), int(parts["piece"])
        self.notes += parts["notes"]
        self.machine.same(self.model)

    def save(self) -> dict[str, Any]:
        return pack(
            self.step, self.monitor.elapsed(), self.streams, model=self.model.state_dict(),
            optimiser=self.optimiser.state_dict(), epochs=self.epochs.state_dict(),
            selection=self.selection.state_dict(), figures=self.figures, piece=self.stepper.size,
            notes=list(self.notes),
        )  # fmt: skip

    # -- precision ---------------------------------------------------------------------------------------------
    def settle_precision(self) -> None:
        """What an earlier sitting found, what is known at once, or a trial."""
        if "precision" in self.figures:
            self.precision = Choice(self.figures["precision"], self.figures["precision_why"])
        else:
            timed = self.monitor.remaining() is not None
            self.precision = choose(self.config.precision, self.model.device, timed=timed)
        if self.precision is None:
            self.trial = Trial(self.speed_key())
        self.use_precision()

    def speed_key(self) -> tuple[object, ...]:
        """What the speed of a step depends on."""
        config, made = self.config, self.model.config
        return (
            self.model.body.family, self.model.body.widths, made.shape, made.window, made.stride, config.trainable,
            config.checkpointing, config.compile, config.batch_size, config.accumulate, torch.get_num_threads(),
        )  # fmt: skip

    def use_precision(self) -> None:
        if self.precision is None:
            assert self.trial is not None
            self.precision = self.trial.choice
        if self.precision is None:
            assert self.trial is not None
            self.stepper.dtype = self.trial.dtype
            return
        self.stepper.dtype = self.precision.dtype
        self.figures |= {"precision": self.precision.precision, "precision_why": self.precision.why}

    # -- steps -------------------------------------------------------------------------------------------------
    def train(self) -> str:
        """Steps until something ends them; gives what it was."""
        self.model.train(self.config.dropout)
        while True:
            late = _too_late(self.monitor.remaining(), self.selection.seconds)
            progress, too_late = self.machine.agree((self.monitor.progress(self.step), float(late)))
            if progress >= 1 or too_late:
                return "budget"
            if self.selection.waiting >= self.config.patience:
                return "patience"
            self.one_step(progress)
            if self.step % self.every == 0:
                self.selection.evaluate(self.model, self.step, self.monitor)
                self.model.train(self.config.dropout)
            self.monitor.checkpoint("fit", self.step, self.save)

    def one_step(self, progress: float) -> None:
        config = self.config
        course = progress if config.decay_epochs is None else self.step / (config.decay_epochs * self.per_epoch)
        factor = set_rates(self.optimiser, fall(course, config.schedule), self.step, self.warmup)
        self.use_precision()
        began = time.perf_counter()
        loss = self.stepper.gradients(self.epochs.next())
        if self.precision is None and self.trial is not None:
            self.trial.record(self.machine.agree([time.perf_counter() - began])[0])
        norm = torch.nn.utils.clip_grad_norm_(
            [p for p in self.model.parameters() if p.requires_grad], math.inf if config.clip is None else config.clip
        )
        if bool(torch.isfinite(norm)):
            self.optimiser.step()
        else:
            self.lost += 1
        self.step += 1
        self.monitor.event("step", stage="fit", step=self.step, loss=loss, lr=factor)

    # -- the end -----------------------------------------------------------------------------------------------
    def finish(self, stopped: str) -> tuple[State, StageReport]:
        """The best model, with adapters merged, and the report."""
        model, best = self.model, self.selection
        if self.step % self.every and self.step:
            best.evaluate(model, self.step, self.monitor)
        assert best.best is not None
        model.load_state_dict({**model.state_dict(), **best.best})
        model.eval()
        if self.config.adapter is not None:
            merge(model.body)
        if self.lost:
            self.notes.append(f"{self.lost} steps had a gradient that was not finite and were left out")
        unknown = {"precision": "fp32", "precision_why": "the stage ended before it was clear which is faster"}
        trained = sum(p.numel() for group in self.optimiser.param_groups for p in group["params"])
        figures = unknown | self.figures | {
            "best_score": best.best_score, "best_step": best.best_step, "trained_parameters": trained,
            "piece_rows": self.stepper.size,
        }  # fmt: skip
        seconds = self.monitor.elapsed() or time.monotonic() - self.started
        report = StageReport("fit", self.step, seconds, stopped, figures, tuple(self.notes))
        return replace(self.state, best_score=best.best_score), report
