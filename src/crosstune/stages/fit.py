"""Stage 2: fit the target. The head first and in closed form, then gradient steps on what the config lets train.

The validation split, carved from the training data, selects: the head-first model is the first candidate, so
fine-tuning can only improve the selected score.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from crosstune.assembly import batch, outputs
from crosstune.nn.losses import Objective, check_loss, make_objective
from crosstune.nn.model import CrossModalModel, part_of
from crosstune.records import StageReport, TargetKind
from crosstune.seeding import Streams
from crosstune.stages.closed_form import fit_head
from crosstune.stages.monitor import pack, unpack
from crosstune.stages.state import Count, NotNegative, Positive, StageConfig, State, Steps

Trainable = Literal["all", "head", "embedder+head", "norms"]


class FitConfig(StageConfig):
    """Stage 2. trainable: "all"; "head"; "embedder+head"; "norms" = embedder, head and the body's normalisations.
    head_init: "ridge" (closed form on features of all layers) or "zero".
    body_rate, embedder_rate: AdamW learning rates; head_rate is divided by the width of the head's features, since a
    step of every weight by the same amount moves the output in proportion to their number.
    warmup_steps: linear ramp of all rates. dropout: the body's own; off by default, since the closed-form head is
    fitted without it and its loss under dropout is a thousand times larger than without.
    patience: evaluations without improvement before stopping. max_steps: None leaves the end to the budget.
    loss: by name (`crosstune list losses`), None for the usual one of the target's kind; loss_gamma: of the focal loss,
    None for 2. class_weights: "balanced" weighs every class alike; pos_weight: of positive labels, a number or
    "balanced" (negatives / positives per label). Both also shape the closed-form head.
    """

    name: Literal["fit"] = "fit"
    trainable: Trainable = "all"
    head_init: Literal["ridge", "zero"] = "ridge"
    body_rate: NotNegative = 1e-5
    embedder_rate: NotNegative = 1e-4
    head_rate: NotNegative = 0.03
    weight_decay: NotNegative = 0.01
    batch_size: Count = 32
    warmup_steps: Steps = 20
    dropout: bool = False
    clip: Positive = 1.0
    patience: Count = 10
    max_steps: Steps | None = None
    loss: str | None = None
    loss_gamma: NotNegative | None = None
    class_weights: Literal["balanced"] | None = None
    pos_weight: Positive | Literal["balanced"] | None = None

    def check(self, kind: TargetKind) -> None:
        """ConfigError, with what fits, for settings of the loss that do not fit the kind of target."""
        check_loss(kind, self.loss, **self._weights())

    def objective(self, state: State) -> Objective:
        """The loss with its weights taken from the training rows."""
        config, y = state.model.config, state.train.y
        assert y is not None
        scaler = state.model.scaler
        return make_objective(config.kind, y, config.outputs, name=self.loss, scaler=scaler, **self._weights())

    def _weights(self) -> dict[str, Any]:
        return {"gamma": self.loss_gamma, "class_weights": self.class_weights, "pos_weight": self.pos_weight}


def set_trainable(model: CrossModalModel, trainable: Trainable) -> list[str]:
    """Set ``requires_grad`` everywhere; gives the names of the parameters that train."""
    names = []
    for name, parameter in model.named_parameters():
        part = part_of(name)
        keep = {
            "all": True,
            "head": part == "head",
            "embedder+head": part in ("head", "embedder"),
            "norms": part in ("head", "embedder") or "norm" in name.lower(),
        }[trainable]
        parameter.requires_grad_(keep)
        if keep:
            names.append(name)
    return names


def _groups(model: CrossModalModel, config: FitConfig, names: list[str]) -> list[dict[str, Any]]:
    """Optimiser groups: one per part and weight-decay choice, with its base rate."""
    wanted = set(names)
    head_width = max(1, model.head.linear.in_features)
    raw_width = max(1, getattr(model.head, "raw_width", 0))
    groups: dict[tuple[str, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if name not in wanted:
            continue
        part: str = part_of(name)
        rate = {"body": config.body_rate, "embedder": config.embedder_rate, "head": config.head_rate / head_width}[part]
        if part == "head" and ".skip" in name:
            part, rate = "skip", config.head_rate / raw_width
        decay = parameter.ndim > 1
        group = groups.setdefault(
            (part, decay),
            {"params": [], "lr": rate, "base": rate, "weight_decay": config.weight_decay if decay else 0.0},
        )
        group["params"].append(parameter)
    return list(groups.values())


def _factor(progress: float, step: int, warmup_steps: int) -> float:
    """Linear warm-up, then half a cosine to zero at the end of the budget."""
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class _Selection:
    """Scores the model on the validation rows and keeps the best state."""

    def __init__(self, state: State, names: list[str], objective: Objective) -> None:
        self.state, self.names, self.objective = state, names, objective
        rows = np.arange(len(state.validation))
        if len(rows) > state.selection_rows:
            rows = rows[:: math.ceil(len(rows) / state.selection_rows)]
        self.data = state.validation.take(rows)
        self.best: dict[str, Tensor] | None = None
        self.best_key = (math.inf, math.inf)
        self.best_score, self.best_step, self.waiting = math.nan, 0, 0
        self.seconds = 0.0  # what an evaluation costs: the time limit must leave room for the last one

    def evaluate(self, model: CrossModalModel, step: int, monitor: Any) -> None:
        started = time.monotonic()
        out = outputs(model, self.data, batch_size=64)
        y = torch.from_numpy(np.ascontiguousarray(self.data.y))
        loss = float(self.objective(out, y))
        if math.isfinite(loss):
            score = self.state.metric.score(model.canonical(out).numpy(), np.asarray(self.data.y), self.data.units)
            key = (self.state.metric.error(score), loss)
        else:
            score, key = math.nan, (math.inf, math.inf)
        monitor.event("validation", stage="fit", step=step, score=score, loss=loss)
        if self.best is None or key < self.best_key:
            self.best_key, self.best_score, self.best_step, self.waiting = key, score, step, 0
            changing = self._changing(model)
            self.best = {k: v.detach().clone() for k, v in model.state_dict().items() if k in changing}
        else:
            self.waiting += 1
        self.seconds = time.monotonic() - started

    def _changing(self, model: CrossModalModel) -> set[str]:
        # buffers of the head are set by the closed form; frozen body weights never change and need no copy
        return set(self.names) | {k for k in model.state_dict() if k.startswith("head.")}

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best, "key": list(self.best_key), "score": self.best_score, "step": self.best_step,
            "waiting": self.waiting,
        }  # fmt: skip

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.best, self.best_key = saved["best"], (saved["key"][0], saved["key"][1])
        self.best_score, self.best_step, self.waiting = saved["score"], saved["step"], saved["waiting"]


def _too_late(remaining: float | None, needed: float) -> bool:
    return remaining is not None and remaining < 1.2 * needed


class _Epochs:
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


def run(state: State, config: FitConfig, *, streams: Streams) -> tuple[State, StageReport]:
    """Fit the target; the returned state's model is the best on validation."""
    model, monitor = state.model, state.monitor
    resumed = monitor.begin("fit", steps=config.max_steps)
    started = time.monotonic()
    objective = config.objective(state)
    names = set_trainable(model, config.trainable)
    selection = _Selection(state, names, objective)
    torch.manual_seed(streams.seed_for("dropout") % 2**63)
    epochs = _Epochs(len(state.train), config.batch_size, streams["batches"])
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
    optimiser = torch.optim.AdamW(_groups(model, config, names), betas=(0.9, 0.98))
    if resumed:
        optimiser.load_state_dict(parts["optimiser"])
    else:
        selection.evaluate(model, 0, monitor)
        figures["head_first_score"] = selection.best_score
    # an evaluation costs about a third of a training step per row: keep it below a fifth of the time
    every = max(10, math.ceil(5 * len(selection.data) / (3 * config.batch_size)))
    every = min(every, max(10, len(state.train) // config.batch_size * 4))

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
        factor = _factor(monitor.progress(step), step, config.warmup_steps)
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * factor
        x, lengths, y = batch(state.train, epochs.next())
        assert y is not None
        loss = objective(model(x, lengths), y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], config.clip)
        if bool(torch.isfinite(norm)):
            optimiser.step()
        else:
            lost += 1
        step += 1
        monitor.event("step", stage="fit", step=step, loss=float(loss.detach()), lr=factor)
        if step % every == 0:
            selection.evaluate(model, step, monitor)
            model.train(config.dropout)
        monitor.checkpoint("fit", step, save)
    if step % every and step:
        selection.evaluate(model, step, monitor)
    assert selection.best is not None
    model.load_state_dict({**model.state_dict(), **selection.best})
    model.eval()
    if lost:
        notes.append(f"{lost} steps had a gradient that was not finite and were left out")
    figures |= {
        "best_score": selection.best_score,
        "best_step": selection.best_step,
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    state = replace(state, best_score=selection.best_score)
    seconds = monitor.elapsed() or time.monotonic() - started
    return state, StageReport("fit", step, seconds, stopped, figures, tuple(notes))
