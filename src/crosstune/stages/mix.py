"""Mixing: train on samples between the source and the target, mostly source at first, mostly target in the end.

After PaRe, "Enhancing Cross-Modal Fine-Tuning with Gradually Intermediate Modality Generation" (Cai et al., ICML 2024,
arXiv 2406.09003), from its description. A gate scores tokens; the target's lesser tokens are replaced by the source's
better ones (``nn.mixing``). A mixed sample carries two labels, each weighted with its share of the tokens, as in CutMix
(Yun et al., ICCV 2019):

    loss = target_weight * kept * L(head(body(mixed)), y) + source_weight * (1 - kept) * CE(source_head(body(mixed)), z)

with ``kept`` the share of target tokens. The share of replaced tokens falls by a curriculum, and fitting to the pure
target is left to the stage behind this one. Gate and source head are this stage's own and go with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosstune.assembly import batch
from crosstune.nn.heads import FieldHead, token_means
from crosstune.nn.losses import Objective, positive
from crosstune.nn.mixing import Gate, Mixed, curriculum, replace_tokens
from crosstune.nn.model import CrossModalModel
from crosstune.records import FIELD_KINDS, IGNORED, Dataset, StageReport
from crosstune.seeding import Streams
from crosstune.stages.fit_config import FitConfig
from crosstune.stages.machine import Machine
from crosstune.stages.monitor import pack, unpack
from crosstune.stages.state import Count, NotNegative, Positive, Share, SourceBank, StageConfig, State, Steps
from crosstune.stages.stepping import Epochs, Stepper
from crosstune.stages.trainables import make_optimiser, make_trainable, parameter_groups, warm

UNLABELLED = (
    "no labelled source data: tokens typical of the body's input were mixed in, and only the target's loss counted"
)
WITHOUT_LIMIT = 100  # steps, where neither the run nor the method ends the stage
STEP_IN_FORWARDS = 3.5  # what a step costs, in forward passes of its rows through the model


class MixConfig(StageConfig):
    """gate: which tokens matter, "learned" (the paper's), "cosine" (to the sample's mean token) or "random".
    start: share of a sample's tokens that is replaced at first; levels: in so many equal steps it falls to
    start / levels. source_weight, target_weight: of the two losses, besides their shares.
    embedder_rate, body_rate, head_rate, gate_rate: learning rates, after warmup_steps constant
    (head_rate is divided by the width of the head's features, and the source head has the same rate).
    steps: at most; None leaves the end to the share: of the arm's time, or of its steps, that the stage takes.
    """

    name: Literal["mix"] = "mix"
    gate: Literal["learned", "cosine", "random"] = "learned"
    start: Share = 0.4
    levels: Count = 8
    source_weight: NotNegative = 1.0
    target_weight: NotNegative = 1.0
    body_rate: NotNegative = 3e-5
    embedder_rate: NotNegative = 1e-3
    head_rate: NotNegative = 5.0
    gate_rate: NotNegative = 1e-3
    weight_decay: NotNegative = 0.01
    warmup_steps: Steps = 20
    batch_size: Count = 32
    clip: Positive | None = 1.0
    dropout: bool = False
    steps: Steps | None = None
    share: Share = 0.5


class _Mixture(nn.Module):
    """The model together with what exists for this stage alone: the gate and the source head."""

    def __init__(self, model: CrossModalModel, bank: SourceBank, config: MixConfig, streams: Streams) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        width, hidden = bank.tokens.shape[2], int(model.body.widths[-1])
        self.gate = Gate(width, config.gate, torch.Generator().manual_seed(streams.seed_for("gate") % 2**63))
        self.source_head = nn.Linear(hidden, max(1, len(bank.classes)))
        nn.init.zeros_(self.source_head.weight)
        nn.init.zeros_(self.source_head.bias)

    @property
    def device(self) -> torch.device:
        return self.model.device

    def forward(
        self, x: Tensor, lengths: Tensor | None, donors: tuple[Tensor, Tensor], share: float
    ) -> tuple[Tensor, Tensor, Mixed]:
        """Target outputs and source logits (B, K) of mixed samples. donors: tokens (B, T, D) and mask (B, T)."""
        model, size = self.model, tuple(x.shape[2:])
        z = model.normaliser(x)
        tokens, mask = model.embedder(z, lengths)
        places = int(np.prod(model.grid(tokens.shape[1], size)))
        # the gate learns from the loss; the embedder does not learn to please the gate
        mixed = replace_tokens(
            (tokens, mask, self.gate(tokens.detach(), mask)), (*donors, self.gate(*donors)), share,
            lead=tokens.shape[1] - places,
        )  # fmt: skip
        raw = model.raw(z, lengths) if model.raw is not None else None
        hidden = model.hidden(mixed.tokens, mask, size)
        return model.head(hidden, mask, raw, size), self.source_head(token_means(hidden[-1], mask)), mixed


class _MixStepper(Stepper):
    """Pieces of mixed samples. For every step: the share of tokens to replace and the source row of every sample."""

    def __init__(
        self, mixture: _Mixture, bank: SourceBank, config: MixConfig, objective: Objective, data: Dataset,
        machine: Machine, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        super().__init__(mixture, objective, data, config.batch_size, machine, say=say)  # type: ignore[arg-type]
        self.mixture, self.bank, self.settings = mixture, bank, config
        self.labels = bank.token_labels() if bank.labelled else None
        self.share, self.donors, self.rows = 0.0, np.zeros(0, dtype=np.int64), 0
        self.parts = {"target": 0.0, "source": 0.0, "replaced": 0.0}

    def mixed_gradients(self, rows: np.ndarray, donors: np.ndarray, share: float) -> float:
        """As ``gradients``, of the samples mixed with these rows of the source."""
        self.share, self.donors, self.rows = share, self.machine.share(donors), len(rows)
        return self.gradients(rows)

    def _backward(self, x: Tensor, lengths: Tensor | None, y: Tensor, rows: slice, count: Tensor) -> float:
        if rows.start == 0:
            self.parts = dict.fromkeys(self.parts, 0.0)
        x, lengths, y = self.piece(x, lengths, y, rows)
        donors = torch.from_numpy(self.donors[rows])
        given = self.bank.tokens[donors].to(x.device), self.bank.mask[donors].to(x.device)
        out, logits, mixed = self.mixture(x, lengths, given, self.share)
        target = target_total(self.mixture.model, self.objective, out, y, mixed, tuple(x.shape[2:])) / count.to(out)
        source = out.new_zeros(())
        if self.labels is not None:
            each = F.cross_entropy(logits, self.labels[donors].to(x.device), reduction="none")
            source = ((1 - mixed.kept) * each).sum() / self.rows
        loss = self.settings.target_weight * target + self.settings.source_weight * source
        loss.backward()
        self.parts["target"] += float(target.detach())
        self.parts["source"] += float(source.detach())
        self.parts["replaced"] += float((1 - mixed.kept).sum()) / self.rows
        return float(loss.detach())


def target_total(
    model: CrossModalModel, objective: Objective, out: Tensor, y: Tensor, mixed: Mixed, size: tuple[int, ...]
) -> Tensor:
    """Sum over rows of the target's loss weighted with the share of tokens each row kept; divided by the count of ``y``
    it is the batch's weighted mean. size: spatial extent of the input.

    Fields and class maps: only positions that kept tokens paint count, since the others ask for what is no longer in
    the sample. A row weighs as much as its kept share, however many positions count.
    """
    if model.config.kind not in FIELD_KINDS:
        total = out.new_zeros(())
        for kept in mixed.kept.unique():
            some = mixed.kept == kept
            total = total + kept * objective.total(out[some], y[some])
        return total
    seen = kept_positions(model, mixed, size)
    if model.config.kind == "segmentation":
        left = y.masked_fill(~seen, IGNORED)
    else:
        left = y.masked_fill(~seen[:, None], torch.nan)
    total = out.new_zeros(())
    for i in range(len(y)):
        row = slice(i, i + 1)
        scale = objective.count(y[row]) / positive(objective.count(left[row]))
        total = total + mixed.kept[i] * scale.to(out) * objective.total(out[row], left[row])
    return total


@torch.no_grad()
def kept_positions(model: CrossModalModel, mixed: Mixed, size: tuple[int, ...]) -> Tensor:
    """Positions (B, *extent) of the target that are painted for at least one half by tokens of the target itself."""
    head = model.head
    assert isinstance(head, FieldHead)
    tokens = slice(1, 1 + int(np.prod(head.plan.grid_for(size))))
    own = (~mixed.replaced[:, tokens]).to(mixed.tokens.dtype)
    patches = own[:, :, None].expand(-1, -1, head.linear.out_features)
    return head.paint(patches, size, mixed.mask[:, tokens] if head.ragged else None)[:, 0] >= 0.5


def run(state: State, config: MixConfig, *, streams: Streams) -> tuple[State, StageReport]:
    """Train the whole model on mixed samples. Without labelled source data only the target's loss is left. DataError
    where a single row does not fit the memory."""
    return _Mixing(state, config, streams).run()


class _Mixing:
    """The stage while it is going on."""

    def __init__(self, state: State, config: MixConfig, streams: Streams) -> None:
        assert state.source is not None, "the run prepares the source bank before the stage"
        self.state, self.config, self.streams, self.bank = state, config, streams, state.source
        self.model, self.monitor = state.model, state.monitor
        self.machine = Machine(self.model.device)
        self.saved = self.monitor.begin("mix", steps=config.steps)
        self.endless = config.steps is None and self.monitor.limits.get("mix") is None
        self.notes = [] if self.bank.labelled else [UNLABELLED]
        recipe = FitConfig(
            body_rate=config.body_rate, embedder_rate=config.embedder_rate, head_rate=config.head_rate,
            weight_decay=config.weight_decay,
        )  # fmt: skip
        names = make_trainable(self.model, recipe)
        self.mixture = _Mixture(self.model, self.bank, config, streams).to(self.model.device)
        torch.manual_seed((streams.seed_for("mixing dropout") + self.machine.index) % 2**63)
        groups = parameter_groups(self.model, recipe, names)
        own = [("source head", list(self.mixture.source_head.parameters()),
                config.head_rate / max(1, self.model.head.linear.in_features))]  # fmt: skip
        if config.gate == "learned":
            own.append(("gate", [self.mixture.gate.weight], config.gate_rate))
        groups += [{"params": p, "lr": rate, "base": rate, "weight_decay": 0.0, "start": 0} for _, p, rate in own]
        self.optimiser = make_optimiser(recipe, groups)
        self.rng = streams["mixing"]
        self.epochs = Epochs(len(state.train), min(config.batch_size, len(state.train)), self.rng)
        self.stepper = _MixStepper(
            self.mixture, self.bank, config, recipe.objective(state), state.train, self.machine, self.say
        )
        self.step, self.lost, self.seconds = 0, 0, 0.0
        self.first: dict[str, float] = {}

    def say(self, text: str) -> None:
        self.notes.append(text)
        self.monitor.event("message", text=text)

    def run(self) -> tuple[State, StageReport]:
        if self.saved:
            self.resume(self.saved)
        self.machine.same(self.mixture)
        started = time.monotonic()
        stopped = self.train()
        self.model.eval()
        if self.lost:
            self.notes.append(f"{self.lost} steps had a gradient that was not finite and were left out")
        last = self.stepper.parts if self.step else {}
        figures = {
            **{f"{name}_first": value for name, value in self.first.items()},
            **{f"{name}_last": value for name, value in last.items()},
            "gate": self.config.gate, "levels": self.config.levels, "source_rows": len(self.bank.tokens),
            "piece_rows": self.stepper.size,
        }  # fmt: skip
        seconds = self.monitor.elapsed() or time.monotonic() - started
        return self.state, StageReport("mix", self.step, seconds, stopped, figures, tuple(self.notes))

    def train(self) -> str:
        if self.monitor.remaining() is not None:
            self.seconds = self.guess()
        self.mixture.train(self.config.dropout)
        while True:
            remaining = self.monitor.remaining()
            late = remaining is not None and remaining < self.seconds
            progress = self.step / WITHOUT_LIMIT if self.endless else self.monitor.progress(self.step)
            progress, too_late = self.machine.agree((progress, float(late)))
            if progress >= 1 or too_late:
                if self.step == 0 and remaining is not None:
                    self.say(f"no step was taken: {remaining:.1f} s were left and one takes about {self.seconds:.1f} s")
                return "steps" if self.endless or self.step == self.config.steps else "budget"
            began = time.monotonic()
            self.one_step(curriculum(progress, self.config.start, self.config.levels))
            self.seconds = time.monotonic() - began
            self.monitor.checkpoint("mix", self.step, self.save)

    @torch.no_grad()
    def guess(self) -> float:
        """Seconds that a step will take, from a few rows through the model."""
        x, lengths, _ = batch(self.state.train, np.arange(min(4, len(self.state.train))), self.model.device)
        self.model.eval()
        self.model(x, lengths)  # the first pass of a process is slower than any other
        began = time.monotonic()
        self.model(x, lengths)
        return STEP_IN_FORWARDS * (time.monotonic() - began) * self.epochs.size / len(x)

    def one_step(self, share: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * warm(self.step, self.config.warmup_steps)
        rows = self.epochs.next()
        loss = self.stepper.mixed_gradients(rows, self.rng.integers(len(self.bank.tokens), size=len(rows)), share)
        norm = torch.nn.utils.clip_grad_norm_(
            [p for p in self.mixture.parameters() if p.requires_grad], self.config.clip or float("inf")
        )
        if bool(torch.isfinite(norm)):
            self.optimiser.step()
        else:
            self.lost += 1
        self.step += 1
        self.first = self.first or dict(self.stepper.parts)
        self.monitor.event("step", stage="mix", step=self.step, loss=loss, share=share, **self.stepper.parts)

    # -- checkpoints ---------------------------------------------------------------------------------------------
    def save(self) -> dict[str, Any]:
        return pack(
            self.step, self.monitor.elapsed(), self.streams, mixture=self.mixture.state_dict(),
            gate=self.mixture.gate.generator.get_state(), optimiser=self.optimiser.state_dict(),
            epochs=self.epochs.state_dict(), first=self.first, last=self.stepper.parts, piece=self.stepper.size,
            lost=self.lost, notes=list(self.notes),
        )  # fmt: skip

    def resume(self, saved: dict[str, Any]) -> None:
        self.step, parts = unpack(saved, self.streams)
        self.rng = self.epochs.rng = self.streams["mixing"]
        self.mixture.load_state_dict(parts["mixture"])
        self.mixture.gate.generator.set_state(parts["gate"])
        self.optimiser.load_state_dict(parts["optimiser"])
        self.epochs.load_state_dict(parts["epochs"])
        self.first, self.stepper.parts = dict(parts["first"]), dict(parts["last"])
        self.stepper.size, self.lost, self.notes = int(parts["piece"]), int(parts["lost"]), list(parts["notes"])
