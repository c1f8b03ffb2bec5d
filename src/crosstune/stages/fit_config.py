"""The settings of stage 2. Not a stage itself."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from crosstune.discovery import suggest
from crosstune.errors import ConfigError
from crosstune.nn.losses import Objective, check_loss, loss_names, make_objective
from crosstune.records import TargetKind
from crosstune.stages.state import Count, NotNegative, Positive, StageConfig, State, Steps

PARTS = ("all", "head", "embedder+head", "norms")
ADAPTERS = ("lora", "dora", "rslora", "pissa", "ia3", "loha", "lokr")
WITHOUT_RANK = ("ia3",)
WITHOUT_ALPHA = ("ia3",)


def _trainable(text: str) -> str:
    if text not in (*PARTS, *ADAPTERS) and re.fullmatch(r"last:[1-9][0-9]*", text) is None:
        raise ValueError(f"nothing trainable is called so; {suggest(text, [*PARTS, 'last:K', *ADAPTERS])}")
    return text


Trainable = Annotated[str, AfterValidator(_trainable)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(gt=0, le=1)]


class FitConfig(StageConfig):
    """Stage 2, in six groups.

    **What trains.** trainable: "all"; "head"; "embedder+head"; "norms" = embedder, head and the body's normalisations;
    "last:K" = embedder, head, the body's last K layers and its final norm; an adapter ("lora", "dora", "rslora",
    "pissa", "ia3", "loha", "lokr") = embedder, head and new small matrices at every linear map of the body's layers,
    merged into plain weights at the end. adapter_rank, adapter_alpha: of these matrices; alpha None is twice the rank.
    head_init: "ridge" (closed form on features of all layers) or "zero". head_steps: only the head trains for so many
    steps.

    **How fast.** body_rate, embedder_rate, adapter_rate: learning rates; head_rate is divided by the width of the
    head's features, since a step of every weight by the same amount moves the output in proportion to their number.
    layer_decay: the body's rate is multiplied by it once more for every layer from the output down, the last layer
    included (ELECTRA, BEiT); adapters likewise. warmup_steps, or warmup_epochs: linear ramp of all rates; schedule:
    what follows, to zero at the end of the stage, or after decay_epochs.

    **Steps.** optimiser: "adamw", "adam" (decay is part of the gradient) or "sgd" with momentum (None is 0.9).
    batch_size rows at a time, accumulate of them in a step. clip: norm of the gradient, None for no limit. dropout:
    the body's own; off by default, since the closed-form head is fitted without it and its loss under dropout is a
    thousand times larger than without.

    **Machine.** checkpointing: keep the inputs of the body's layers only and compute them again on the way back, slower
    in less memory. precision: of the body's products while training; "auto" is bfloat16 where the hardware has it and,
    on a CPU, the first steps, done in both by turns, say that it is faster (never in stages that end by steps: those
    repeat bit by bit).
    compile: translate the model first; pays off in long runs only.

    **End.** patience: evaluations without improvement. max_steps, epochs: None leaves the end to the budget.

    **Loss.** loss: by name (`crosstune list losses`), None for the usual one of the target's kind; loss_gamma: of the
    focal loss, None for 2. class_weights: "balanced" weighs every class alike; pos_weight: of positive labels, a
    number or "balanced" (negatives / positives per label). Both also shape the closed-form head.
    """

    name: Literal["fit"] = "fit"
    trainable: Trainable = "all"
    adapter_rank: Count = 8
    adapter_alpha: Positive | None = None
    head_init: Literal["ridge", "zero"] = "ridge"
    head_steps: Steps = 0
    body_rate: NotNegative = 1e-4
    embedder_rate: NotNegative = 1e-3
    head_rate: NotNegative = 0.03
    adapter_rate: NotNegative = 3e-4
    layer_decay: Decay = 1.0
    warmup_steps: Steps = 20
    warmup_epochs: NotNegative | None = None
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    decay_epochs: Positive | None = None
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: Fraction | None = None
    weight_decay: NotNegative = 0.01
    batch_size: Count = 32
    accumulate: Count = 1
    clip: Positive | None = 1.0
    dropout: bool = False
    checkpointing: bool = False
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    patience: Count = 10
    max_steps: Steps | None = None
    epochs: Positive | None = None
    loss: str | None = None
    loss_gamma: NotNegative | None = None
    class_weights: Literal["balanced"] | None = None
    pos_weight: Positive | Literal["balanced"] | None = None

    @property
    def adapter(self) -> str | None:
        """The kind of adapter, or None."""
        return self.trainable if self.trainable in ADAPTERS else None

    def check(self, kind: TargetKind | None = None) -> None:
        """ConfigError, with what fits, for settings that nothing would read, or that do not fit the kind of target."""
        for name, given, reads, fix in (
            ("momentum", self.momentum is not None, self.optimiser == "sgd", "fit.optimiser=sgd"),
            ("adapter_alpha", self.adapter_alpha is not None, self.adapter not in (None, *WITHOUT_ALPHA),
             "fit.trainable=lora"),
            ("decay_epochs", self.decay_epochs is not None, self.schedule != "constant", "fit.schedule=linear"),
        ):  # fmt: skip
            if given and not reads:
                raise ConfigError(
                    f"fit.{name} = {getattr(self, name)} is read by nothing here",
                    fix=f"take it with {fix}, or leave it out",
                )
        if self.adapter is not None:
            require_peft(self.adapter)
        if kind is not None:
            check_loss(kind, self.loss, **self._weights())
        elif self.loss not in (None, *loss_names()):
            raise ConfigError(f"unknown loss {self.loss!r}", fix=suggest(str(self.loss), loss_names()))

    def objective(self, state: State) -> Objective:
        """The loss with its weights taken from the training rows."""
        config, y = state.model.config, state.train.y
        assert y is not None
        scaler = state.model.scaler
        return make_objective(config.kind, y, config.outputs, name=self.loss, scaler=scaler, **self._weights())

    def _weights(self) -> dict[str, Any]:
        return {"gamma": self.loss_gamma, "class_weights": self.class_weights, "pos_weight": self.pos_weight}


def require_peft(adapter: str) -> None:
    """ConfigError, with the command that installs it, where adapters cannot be had."""
    import importlib.util

    if importlib.util.find_spec("peft") is None:
        raise ConfigError(
            f"fit.trainable = {adapter!r} needs peft, which is not installed",
            cause="adapters are an extra",
            fix="pip install 'crosstune[peft]', or fit.trainable=last:2, which needs nothing",
        )
