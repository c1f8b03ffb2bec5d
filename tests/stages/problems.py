"""Tiny but complete problems: a random twin body, a source bank of made-up topics, targets of every kind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crosstune.assembly import build_model, plan_model
from crosstune.backbones import Backbone, load_backbone
from crosstune.metrics import default_metric
from crosstune.records import Dataset, TargetKind
from crosstune.seeding import Streams
from crosstune.stages import source_head
from crosstune.stages.monitor import Limit, Monitor
from crosstune.stages.source_head import SourceHeadConfig, mean_hidden
from crosstune.stages.state import SourceBank, State

TOPICS = (
    "river lake sea rain water", "sun star moon sky light", "bread corn rice fruit salt", "iron gold lead tin zinc",
)  # fmt: skip


class Recorder(Monitor):
    """Keeps events and diagnostics; stores the checkpoint of one step; hands it back on request."""

    def __init__(
        self, limits: dict[str, Limit] | None = None, *, keep: int | None = None, saved: dict[str, Any] | None = None
    ) -> None:
        super().__init__(limits)
        self.events: list[dict[str, Any]] = []
        self.arrays: dict[str, dict[str, np.ndarray]] = {}
        self.keep, self.saved = keep, saved
        self.stored: dict[str, Any] | None = None

    def event(self, kind: str, **values: Any) -> None:
        self.events.append({"kind": kind, **values})

    def diagnostic(self, name: str, **arrays: np.ndarray) -> None:
        self.arrays[name] = arrays

    def checkpoint(self, stage: str, step: int, state: Callable[[], dict[str, Any]]) -> None:
        if step == self.keep:
            self.stored = copy.deepcopy(state())

    def resume(self, stage: str) -> dict[str, Any] | None:
        return copy.deepcopy(self.saved)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]


@lru_cache(maxsize=None)
def backbone(name: str = "twin-bert") -> Backbone:
    return load_backbone(name)


@lru_cache(maxsize=1)
def bank() -> SourceBank:
    rng = np.random.default_rng(0)
    labels = np.arange(160) % len(TOPICS)
    passages = [" ".join(rng.choice(TOPICS[k].split(), rng.integers(4, 10))) for k in labels]
    twin = backbone()
    tokens, mask, _ = twin.source_tokens(twin.encode(passages, max_tokens=10))
    return SourceBank(
        tokens=tokens, mask=mask, hidden=mean_hidden(twin.body, tokens, mask), labels=torch.from_numpy(labels),
        holdout=torch.zeros(len(labels), dtype=torch.bool), classes=("a", "b", "c", "d"), name="topics",
    )  # fmt: skip


def dataset(kind: TargetKind, n: int, seed: int) -> Dataset:
    """Noisy waves; the target is their frequency (class, labels, value) or their square (field)."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 3
    phase = rng.uniform(0, 2 * np.pi, n)
    t = np.arange(24) / 24
    clean = np.sin(2 * np.pi * (1 + label[:, None]) * t + phase[:, None])
    x = (clean + 0.5 * rng.normal(size=clean.shape))[:, None].astype(np.float32)
    if kind == "classification":
        return Dataset(X=x, y=label, kind=kind, classes=("slow", "middle", "fast"))
    if kind == "multilabel":
        return Dataset(X=x, y=np.stack([label == 0, label > 0], 1).astype(np.float32), kind=kind)
    if kind == "regression":
        return Dataset(X=x, y=(10 + 3.0 * label[:, None] + rng.normal(size=(n, 1)) / 5).astype(np.float32), kind=kind)
    if kind == "segmentation":
        y = np.where(rng.random(clean.shape) < 0.1, -1, clean > 0.3)
        return Dataset(X=x, y=y.astype(np.int64), kind=kind, classes=("trough", "crest"))
    return Dataset(X=x, y=(x**2).astype(np.float32), kind=kind)


def state(
    kind: TargetKind = "classification", *, monitor: Monitor | None = None, predictor: bool = False, rows: int = 60,
    linear_part: bool = True, seed: int = 0, body: str = "twin-bert",
) -> State:  # fmt: skip
    """A fresh arm on copies: nothing is shared between two calls but the read-only bank."""
    train, validation = dataset(kind, rows, seed), dataset(kind, 30, seed + 100)
    twin = backbone(body)
    fresh = Backbone(twin.info, copy.deepcopy(twin.body), twin.source, None)
    config = plan_model(train, fresh.body, linear_part=linear_part, tokens=8)
    model = build_model(config, fresh.body, train, token_rms=0.05)
    made = State(
        model=model, backbone=fresh, train=train, validation=validation, metric=default_metric(kind),
        monitor=monitor or Recorder(), source=bank(),
    )  # fmt: skip
    if predictor:
        keep, made.monitor = made.monitor, Monitor()
        made, _ = source_head.run(made, SourceHeadConfig(tau=None), streams=Streams(seed))
        made.monitor = keep
    return made


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Names of tensors that are not bit-identical."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}
