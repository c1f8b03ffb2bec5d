"""Meta-learning of the embedder: the target's knowledge is made to look like the source's before the body is touched.

After MoNA, "Learning Modality Knowledge Alignment for Cross-Modality Transfer" (Ma et al., ICML 2024, arXiv
2406.18864), from its description. Fine-tuning on the target moves the body; what it then still knows of the source says
how near the two modalities' conditional laws p(label|token) are. In every step

    inner:  theta' = theta - rate * d L_target(theta, head; phi)    a step of fine-tuning of a copy of the body
    outer:  min over phi of  source_weight * (alignment + uniformity)(body_theta'(source), z)
                             + target_weight * L_target(theta', head'; phi)

with the alignment of source features of one class and the uniformity of all as the measure of what the body still
tells apart (``information.hypersphere``). Only the embedder phi follows the outer loss. The body is the pretrained one
in every step and stays so; the head follows the inner loss, step after step, since a head of zeros would tell the body
nothing.
"""

from __future__ import annotations

import math
import time
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from crosstune.assembly import batch
from crosstune.errors import ConfigError, DataError
from crosstune.information import class_alignment, uniformity
from crosstune.nn.heads import token_means
from crosstune.nn.memory import is_out_of_memory, release
from crosstune.nn.model import part_of
from crosstune.records import StageReport
from crosstune.seeding import Streams
from crosstune.stages.bilevel import Fast, Order, Outer, losses_behind, outer_gradient
from crosstune.stages.fit_config import FitConfig
from crosstune.stages.monitor import pack, unpack
from crosstune.stages.state import Count, NotNegative, Positive, Share, StageConfig, State, Steps
from crosstune.stages.stepping import Epochs
from crosstune.stages.trainables import make_optimiser, parameter_groups, warm

UNLABELLED = (
    "no labelled source data: what the body keeps of the source could not be measured, and the embedder learnt from "
    "the target's loss behind the inner step alone"
)
STEP_IN_FORWARDS = 15.0  # what a step costs, in forward passes of its rows through the model


class MetaConfig(StageConfig):
    """inner_rate, inner_head_rate: length of the inner step, along the gradient, as the root mean square change of a
    weight of the body and of the head (the latter divided by the width of its features). An adaptive optimiser moves
    that far whatever the size of the gradient: 1e-4 is about three steps at the body's rate of 3e-5 (in a sentence
    encoder it lowers the inner loss and leaves source features nearly as they were; 3e-4 undoes them). order: of the
    derivatives in the outer gradient: "second" (exact, attention without fused kernels), or "first" (a difference of
    gradients; less memory). source_weight, target_weight: of the outer losses. learning_rate: of the embedder;
    head_rate: of the head that goes on with the inner loss, divided as above. batch_size, source_batch: rows of target
    and source. steps; share: of the arm's time that the stage may take.
    """

    name: Literal["meta"] = "meta"
    order: Literal["second", "first"] = "second"
    inner_rate: Positive = 1e-4
    inner_head_rate: NotNegative = 0.3
    source_weight: NotNegative = 1.0
    target_weight: NotNegative = 1.0
    learning_rate: Positive = 1e-3
    head_rate: NotNegative = 1.0
    warmup_steps: Steps = 5
    batch_size: Count = 16
    source_batch: Count = 32
    clip: Positive | None = 1.0
    steps: Steps = 60
    share: Share = 0.3


def source_rows(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """At most ``size`` rows, at least two of every class drawn where the class has them: alignment needs pairs.
    labels: (n,) codes."""
    present = np.unique(labels)
    kinds = rng.permutation(present)[: max(1, size // 2)]
    order = rng.permutation(np.flatnonzero(np.isin(labels, kinds)))
    of_class = [order[labels[order] == kind] for kind in kinds]
    turns = max(len(rows) for rows in of_class)
    chosen = [rows[turn] for turn in range(turns) for rows in of_class if turn < len(rows)]
    return np.asarray(chosen[:size], dtype=np.int64)


def run(state: State, config: MetaConfig, *, streams: Streams) -> tuple[State, StageReport]:
    """Learn the embedder, and a first head. Without labelled source data the target's loss alone is left. ConfigError
    when no outer loss is left; DataError where a single row does not fit the memory."""
    assert state.source is not None, "the run prepares the source bank before the stage"
    notes = []
    if not state.source.labelled:
        if config.source_weight > 0:
            notes.append(UNLABELLED)
        config = config.model_copy(update={"source_weight": 0.0})
    if config.source_weight == 0 and config.target_weight == 0:
        raise ConfigError(
            "the embedder has no outer loss to follow",
            cause="no labelled source data" if notes else "meta.source_weight and meta.target_weight are both 0",
            fix="meta.target_weight=1, or leave the stage out (method finetune)",
        )
    return _Learning(state, config, streams, notes).run()


class _Learning:
    """The stage while it is going on."""

    def __init__(self, state: State, config: MetaConfig, streams: Streams, notes: list[str]) -> None:
        assert state.source is not None
        self.state, self.config, self.streams, self.notes = state, config, streams, notes
        self.model, self.monitor, self.bank = state.model.eval(), state.monitor, state.source
        self.saved = self.monitor.begin("meta", steps=config.steps)
        self.started = time.monotonic()
        # a bank whose rows are samples of tokens has no places for them: they are shown as a sequence then
        self.grid = self.bank.grid if self.bank.whole else None
        self.source_labels = self.bank.token_labels() if self.bank.labelled else None
        recipe = FitConfig(head_rate=config.head_rate)
        self.objective = recipe.objective(state)
        self.embedder = [p for p in self.model.embedder.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.embedder, lr=config.learning_rate, weight_decay=0.0)
        self.names = [n for n, _ in self.model.named_parameters() if part_of(n) != "embedder"]
        heads = [n for n in self.names if part_of(n) == "head"]
        self.head_optimiser = make_optimiser(recipe, parameter_groups(self.model, recipe, heads))
        self.head_width = max(1, self.model.head.linear.in_features)
        self.rng = streams["meta"]
        self.epochs = Epochs(len(state.train), min(config.batch_size, len(state.train)), self.rng)
        self.size, self.order, self.step, self.seconds = config.batch_size, config.order, 0, 0.0
        self.lost = 0
        self.first = {name: value.clone() for name, value in self.model.embedder.state_dict().items()}

    def say(self, text: str) -> None:
        self.notes.append(text)
        self.monitor.event("message", text=text)

    # -- losses --------------------------------------------------------------------------------------------------
    def target_loss(self, fast: Fast, rows: np.ndarray) -> Tensor:
        x, lengths, y = batch(self.state.train, rows, self.model.device)
        assert y is not None
        return self.objective(functional_call(self.model, fast, (x, lengths)), y)

    def source_loss(self, fast: Fast, rows: np.ndarray) -> Tensor:
        """Alignment of source features of one class plus uniformity of all, through the body as it is in ``fast``."""
        assert self.source_labels is not None
        body = {n.removeprefix("body."): p for n, p in fast.items() if part_of(n) == "body"}
        at, device = torch.from_numpy(rows), self.model.device
        mask = self.bank.mask[at].to(device)
        hidden = functional_call(self.model.body, body, (self.bank.tokens[at].to(device), mask, self.grid))
        features = token_means(hidden[-1], mask)
        return class_alignment(features, self.source_labels[at].to(device)) + uniformity(features)

    def rates(self, gradients: Fast) -> dict[str, float]:
        """What the gradients of body and head are multiplied by so that each moves as far as the config says."""
        found: dict[str, float] = {}
        far = {"body": self.config.inner_rate, "head": self.config.inner_head_rate / self.head_width}
        for part, rate in far.items():
            names = [name for name in gradients if part_of(name) == part]
            squares = sum(float(gradients[name].square().sum()) for name in names)
            size = math.sqrt(squares / max(1, sum(gradients[name].numel() for name in names)))
            found |= dict.fromkeys(names, rate / size if size > 0 and math.isfinite(size) else 0.0)
        return found

    def fast(self) -> Fast:
        """What the inner step moves: body and head."""
        parameters = dict(self.model.named_parameters())
        return {name: parameters[name] for name in self.names}

    def losses(self, moved: Fast, target: np.ndarray, source: np.ndarray | None) -> dict[str, tuple[float, Tensor]]:
        terms = {"target": (self.config.target_weight, self.target_loss(moved, target))}
        if source is not None:
            terms["source"] = (self.config.source_weight, self.source_loss(moved, source))
        return terms

    def outer(self, inner: np.ndarray, target: np.ndarray, source: np.ndarray | None, order: Order) -> Outer:
        return outer_gradient(
            lambda at: self.target_loss(at, inner), lambda moved: self.losses(moved, target, source), self.fast(),
            self.rates, self.embedder, order,
        )  # fmt: skip

    # -- steps ---------------------------------------------------------------------------------------------------
    def run(self) -> tuple[State, StageReport]:
        if self.saved:
            self.resume(self.saved)
        stopped = "steps"
        if self.monitor.remaining() is not None:
            self.seconds = self.guess()
        while self.step < self.config.steps:
            remaining = self.monitor.remaining()
            if self.monitor.progress(self.step) >= 1 or (remaining is not None and remaining < self.seconds):
                stopped = "budget"
                if self.step == 0 and remaining is not None:
                    self.say(f"no step was taken: {remaining:.1f} s were left and one takes about {self.seconds:.1f} s")
                break
            began = time.monotonic()
            self.one_step()
            self.seconds = time.monotonic() - began
            self.monitor.checkpoint("meta", self.step, self.save)
        if self.lost:
            self.notes.append(f"{self.lost} steps had a gradient that was not finite and were left out")
        figures: dict[str, Any] = self.compared() if self.step else {}
        figures |= {"order": self.order, "source_rows": len(self.bank.tokens), "batch_rows": self.size}
        seconds = self.monitor.elapsed() or time.monotonic() - self.started
        return self.state, StageReport("meta", self.step, seconds, stopped, figures, tuple(self.notes))

    @torch.no_grad()
    def guess(self) -> float:
        """Seconds that a step will take, from a few rows through the model: forwards of both batches of the target and
        of the source, and backwards, the second of which go through the first."""
        rows = np.arange(min(4, len(self.state.train)))
        self.target_loss(self.fast(), rows)  # the first pass of a process is slower than any other
        began = time.monotonic()
        self.target_loss(self.fast(), rows)
        return STEP_IN_FORWARDS * (time.monotonic() - began) * self.size / len(rows)

    def one_step(self) -> None:
        inner, target, source = self.epochs.next(), self.epochs.next(), self.draw(self.rng)
        found = self.within_memory(inner, target, source)
        norm = self.follow(found)
        if not math.isfinite(norm):
            self.lost += 1
        self.step += 1
        loss = self.config.target_weight * found.parts["target"]
        loss += self.config.source_weight * found.parts.get("source", 0.0)
        self.monitor.event(
            "step", stage="meta", step=self.step, loss=loss, inner=found.inner, gradient=norm, **found.parts
        )

    def follow(self, found: Outer) -> float:
        """One step of the embedder along the outer gradient and of the head along the inner one; gives the norm of the
        first. Neither is taken where it is not finite."""
        for parameter, grad in zip(self.embedder, found.gradients):
            parameter.grad = grad
        norm = float(torch.nn.utils.clip_grad_norm_(self.embedder, self.config.clip or math.inf))
        heads = [(n, p) for n, p in self.model.named_parameters() if part_of(n) == "head"]
        for name, parameter in heads:
            parameter.grad = found.inner_gradients.get(name)
        if math.isfinite(norm) and math.isfinite(found.inner):
            for optimiser in (self.optimiser, self.head_optimiser):
                for group in optimiser.param_groups:
                    base = group.setdefault("base", group["lr"])
                    group["lr"] = base * warm(self.step, self.config.warmup_steps)
                optimiser.step()
        for parameter in [*self.embedder, *(p for _, p in heads)]:
            parameter.grad = None
        return norm

    def draw(self, rng: np.random.Generator) -> np.ndarray | None:
        if self.source_labels is None or self.config.source_weight == 0:
            return None
        return source_rows(self.source_labels.numpy(), self.config.source_batch, rng)

    def within_memory(self, inner: np.ndarray, target: np.ndarray, source: np.ndarray | None) -> Outer:
        """The outer gradient of fewer rows, for good, where memory does not suffice; by differences where a body has
        an operation without second derivatives."""
        while True:
            try:
                cut = None if source is None else source[: max(2, self.size * len(source) // self.config.batch_size)]
                return self.outer(inner[: self.size], target[: self.size], cut, self.order)
            except (RuntimeError, MemoryError) as problem:
                if self.order == "second" and "is not implemented" in str(problem):
                    self.order = "first"
                    self.say(f"first order: the body has no second derivatives ({str(problem).splitlines()[0]})")
                    continue
                if not is_out_of_memory(problem):
                    raise
                if self.size == 1:
                    raise DataError(
                        f"a single row does not fit the memory ({str(problem).splitlines()[0]})",
                        cause="second derivatives of a large body",
                        fix="--set meta.order=first, fewer --tokens, or a smaller backbone",
                    ) from problem
                self.size = -(-min(self.size, len(inner)) // 2)
                self.say(f"the memory does not suffice: steps are made of {self.size} rows from here on")
            release()

    def compared(self) -> dict[str, float]:
        """The outer losses with the embedder as it came and as it goes, both with the head as it is now: before a head
        knows anything no inner step moves the body, and nothing is lost."""
        after, last = self.measure(), {k: v.clone() for k, v in self.model.embedder.state_dict().items()}
        self.model.embedder.load_state_dict(self.first)
        before = self.measure()
        self.model.embedder.load_state_dict(last)
        return {f"{k}_before": v for k, v in before.items()} | {f"{k}_after": v for k, v in after.items()}

    def measure(self) -> dict[str, float]:
        """The losses behind an inner step on fixed rows, without touching the stage's stream."""
        rng = np.random.Generator(np.random.PCG64(0))
        rows = rng.permutation(len(self.state.train))
        size = min(self.size, max(1, len(rows) // 2))
        source = self.draw(rng)
        try:
            return losses_behind(
                lambda at: self.target_loss(at, rows[:size]), lambda at: self.losses(at, rows[-size:], source),
                self.fast(), self.rates,
            )  # fmt: skip
        except (RuntimeError, MemoryError) as problem:
            if not is_out_of_memory(problem):
                raise
        release()
        return {}

    # -- checkpoints ---------------------------------------------------------------------------------------------
    def save(self) -> dict[str, Any]:
        return pack(
            self.step, self.monitor.elapsed(), self.streams, embedder=self.model.embedder.state_dict(),
            head=self.model.head.state_dict(), optimiser=self.optimiser.state_dict(),
            head_optimiser=self.head_optimiser.state_dict(), epochs=self.epochs.state_dict(), first=self.first,
            size=self.size, order=self.order, lost=self.lost, notes=list(self.notes),
        )  # fmt: skip

    def resume(self, saved: dict[str, Any]) -> None:
        self.step, parts = unpack(saved, self.streams)
        self.rng = self.epochs.rng = self.streams["meta"]
        self.model.embedder.load_state_dict(parts["embedder"])
        self.model.head.load_state_dict(parts["head"])
        self.optimiser.load_state_dict(parts["optimiser"])
        self.head_optimiser.load_state_dict(parts["head_optimiser"])
        self.epochs.load_state_dict(parts["epochs"])
        self.first, self.size, self.order = dict(parts["first"]), int(parts["size"]), parts["order"]
        self.lost, self.notes = int(parts["lost"]), list(parts["notes"])
