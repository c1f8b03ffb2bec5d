"""The model: ``embedder -> body -> head``, taking raw data and giving predictions in the target's own units."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from crosstune.nn.embedders import Embedder, PatchEmbedder, TableEmbedder
from crosstune.nn.features import RawFeatures
from crosstune.nn.heads import FieldHead, PooledHead
from crosstune.nn.normalise import InputNormaliser, TargetScaler
from crosstune.nn.patching import PatchPlan
from crosstune.records import FIELD_KINDS, TargetKind


class Body(Protocol):
    """What the model needs from a backbone: token width in, hidden states of every layer out."""

    width: int
    widths: tuple[int, ...]

    def __call__(self, tokens: Tensor, mask: Tensor, grid: tuple[int, ...] | None) -> tuple[Tensor, ...]: ...


Layers = Literal["all", "last"]  # whose hidden states the head sees


class ModelConfig(BaseModel):
    """Everything but the weights: enough to rebuild the model from its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: TargetKind
    shape: tuple[int, ...]  # sample shape: (C, L), (C, H, W), (C, D, H, W) or (F,)
    outputs: int  # classes, labels, regression outputs or field channels
    out_size: tuple[int, ...] = ()  # fields and class maps: spatial extent of the target
    ragged: bool = False
    missing: bool = False
    categories: dict[int, int] = {}
    window: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    pool: int = 1
    linear_part: bool = False
    layers: Layers = "all"
    rank: int = 0
    raw_limit: int = 4096
    embedder_seed: int = 0

    @property
    def plan(self) -> PatchPlan:
        return PatchPlan(self.shape[1:], self.window, self.stride, self.pool)

    @property
    def is_table(self) -> bool:
        return len(self.shape) == 1


class CrossModalModel(nn.Module):
    """Raw data (B, C, ...) or (B, F) with optional lengths (B,) to outputs.

    ``forward`` gives what the losses take: logits, or standardised values or fields. ``predict`` gives canonical
    predictions: probabilities, or values and fields in the target's units.
    """

    embedder: Embedder
    head: PooledHead | FieldHead

    def __init__(self, config: ModelConfig, body: Any) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(config.embedder_seed)
        channels = config.shape[0]
        self.normaliser = InputNormaliser(channels, missing=config.missing or config.is_table)
        if config.is_table:
            self.embedder = TableEmbedder(channels, config.categories, body.width, generator=generator)
        else:
            self.embedder = PatchEmbedder(self.normaliser.out_channels, config.plan, body.width, generator=generator)
        self.body = body
        self.body_dtype: torch.dtype | None = None
        self.raw: RawFeatures | None = None
        if config.linear_part:
            shape = config.shape if config.is_table else (self.normaliser.out_channels, *config.shape[1:])
            self.raw = RawFeatures(shape, ragged=config.ragged, categories=config.categories, limit=config.raw_limit)
        raw_width = self.raw.width if self.raw is not None else 0
        widths = body.widths if config.layers == "all" else body.widths[-1:]
        if config.kind in FIELD_KINDS:
            self.head = FieldHead(widths, config.plan, config.outputs, config.out_size, raw_width, config.rank,
                                  config.ragged, generator=generator)  # fmt: skip
        else:
            self.head = PooledHead(widths, config.outputs, raw_width)
        self.scaler = TargetScaler(config.outputs) if config.kind in ("regression", "dense") else None

    def tokens(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, D) in the body's input space, and their mask (B, T)."""
        return self.embedder(self.normaliser(x), lengths)

    def grid(self, tokens: int, size: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Extents of the places that so many tokens belong to; ``size``: of the signal, for grids of several axes."""
        if self.config.is_table:
            return (tokens,)
        if len(self.config.window) == 1:
            return (tokens - 1,)
        return self.config.plan.grid_for(size or self.config.shape[1:])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def hidden(self, tokens: Tensor, mask: Tensor, size: tuple[int, ...] = ()) -> tuple[Tensor, ...]:
        """Hidden states of every layer, the body's input included: layers + 1 tensors (B, T, H), float32; of the last
        layer alone where the head sees no other. size: of the signal the tokens were made from, where it is not the one
        the model was made for."""
        grid = self.grid(tokens.shape[1], size)
        seen = slice(None) if self.config.layers == "all" else slice(-1, None)
        if self.body_dtype is None:
            return self.body(tokens, mask, grid)[seen]
        with torch.autocast(tokens.device.type, dtype=self.body_dtype):
            states = self.body(tokens, mask, grid)[seen]
        return tuple(part.to(tokens.dtype) for part in states)

    @contextmanager
    def body_in(self, dtype: torch.dtype | None) -> Iterator[None]:
        """While this lasts, the body multiplies in a lower precision; its weights, and all else, stay as they are."""
        before, self.body_dtype = self.body_dtype, dtype
        try:
            yield
        finally:
            self.body_dtype = before

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        z = self.normaliser(x)
        tokens, mask = self.embedder(z, lengths)
        raw = self.raw(z, lengths) if self.raw is not None else None
        size = tuple(x.shape[2:])
        return self.head(self.hidden(tokens, mask, size), mask, raw, size)

    def canonical(self, outputs: Tensor) -> Tensor:
        """Outputs to canonical predictions (records.py), float64; values within reach of the training targets."""
        outputs = outputs.to(torch.float64)
        if self.config.kind == "classification":
            return outputs.softmax(-1)
        if self.config.kind == "segmentation":
            return outputs.softmax(1)
        if self.config.kind == "multilabel":
            return outputs.sigmoid()
        assert self.scaler is not None
        values = self.scaler.inverse(outputs)
        return self.scaler.within(values) if self.config.kind == "regression" else values

    @torch.no_grad()
    def predict(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.canonical(self(x, lengths))


Part = Literal["embedder", "body", "head"]


def part_of(name: str) -> Part:
    """Which part of the model a parameter belongs to; parts have their own learning rates."""
    if name.startswith("embedder."):
        return "embedder"
    if name.startswith("body."):
        return "body"
    return "head"
