"""Hyper-parameters of the public recipe, task by task, and as settings of ``recraft-reference``.

The tables hold what the published configurations state. ``Recipe.settings`` says it in the words of ``--set``, and
``Recipe.unmapped`` lists what this program has no word for, so that nothing is dropped in silence.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from crosstune.discovery import suggest
from crosstune.errors import UsageError

_NEVER = 1_000_000
_HIGHEST_RATE_TO_RAISE = 1e-3  # the embedder's stage has ten times the rate, where the rate is not above this


@dataclass(frozen=True)
class Recipe:
    """One row of ``recipes.csv``; None where a value is absent or off.

    epochs: of the main stage; embedder_epochs, label_epochs: of feature and label matching. rate, weight_decay,
    momentum: of the optimiser. batch, accumulation: rows of a micro-batch, and micro-batches whose gradients are
    summed, not averaged. clip: norm of the gradient. warmup, decay: epochs in which the rate rises, and at which it is
    zero again. chunk: rows an evaluation averages over. samples, label_samples: target rows of a step of feature and
    label matching. target_seq_len, stack, tokens: most tokens asked for, stride and number of the tokens of 1-D data.
    label_rows: rows the label stage is restricted to.
    """

    name: str
    backbone: str
    epochs: int
    embedder_epochs: int
    optimiser: str
    rate: float
    weight_decay: float
    batch: int
    accumulation: int
    warmup: int
    decay: int
    chunk: int
    samples: int
    dropout: float
    momentum: float | None = None
    clip: float | None = None
    label_epochs: int | None = None
    label_samples: int | None = None
    target_seq_len: int | None = None
    stack: int | None = None
    tokens: int | None = None
    label_rows: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of ``recraft-reference``, keys as in ``--set``.

        Summed gradients of ``accumulation`` micro-batches are the mean's times their number: SGD takes that into its
        rate, and decay that is part of the gradient (SGD, Adam) is divided by it; the steps are then the same. Nothing
        stops early in the recipe, hence the patience.
        """
        matching = self.rate * 10 if self.rate <= _HIGHEST_RATE_TO_RAISE else self.rate
        rate = self.rate * self.accumulation if self.optimiser == "SGD" else self.rate
        decay = self.weight_decay if self.optimiser == "AdamW" else self.weight_decay / self.accumulation
        found: dict[str, Any] = {
            "align.steps": self.embedder_epochs,
            "align.learning_rate": _short(matching),
            "align.batch_size": self.samples,
            "align.target_points": self.samples,
            "fit.optimiser": self.optimiser.lower(),
            "fit.body_rate": _short(rate),
            "fit.embedder_rate": _short(rate),
            "fit.weight_decay": _short(decay),
            "fit.batch_size": self.batch,
            "fit.accumulate": self.accumulation,
            "fit.clip": self.clip,
            "fit.schedule": "linear",
            "fit.warmup_epochs": self.warmup,
            "fit.decay_epochs": self.decay,
            "fit.epochs": self.epochs,
            "fit.patience": _NEVER,
        }
        return found | ({"fit.momentum": self.momentum} if self.momentum is not None else {})

    @property
    def unmapped(self) -> dict[str, Any]:
        """What the recipe states and no setting expresses."""
        found = {
            "backbone": self.backbone, "label_epochs": self.label_epochs, "chunk": self.chunk,
            "label_samples": self.label_samples, "target_seq_len": self.target_seq_len, "stack": self.stack,
            "tokens": self.tokens, "dropout": self.dropout, "label_rows": self.label_rows, "head_rate": self.rate,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}


def _short(value: float) -> float:
    """Twelve digits: 3e-05 x 10 is 0.0003."""
    return float(f"{value:.12g}")


@lru_cache(maxsize=1)
def recipes() -> Mapping[str, Recipe]:
    """Every recipe by the name its configuration has in public code."""
    text = files("crosstune.benchmarks").joinpath("recipes.csv").read_text(encoding="utf-8")
    rows = [_typed(row) for row in csv.DictReader(text.splitlines())]
    return {row["name"]: Recipe(**row) for row in rows}


def recipe(name: str) -> Recipe:
    """UsageError with a suggestion for an unknown name."""
    known = recipes()
    if name not in known:
        raise UsageError(f"unknown recipe {name!r}", fix=suggest(name, list(known)))
    return known[name]


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    """Cells by the types of ``Recipe``'s fields; empty ones are None."""
    kinds = Recipe.__annotations__
    words = {"int": int, "float": float, "str": str}
    return {name: words[kinds[name].split(" ")[0]](cell) if cell else None for name, cell in row.items()}
