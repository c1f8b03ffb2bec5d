"""What passes from stage to stage. Not a stage itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from crosstune.backbones import Backbone
from crosstune.metrics import Metric
from crosstune.nn.heads import token_means
from crosstune.nn.model import CrossModalModel
from crosstune.records import Dataset
from crosstune.stages.monitor import Monitor

Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


class StageConfig(BaseModel):
    """Base of all stage configurations: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class SourceBank:
    """The source proxy seen through the pretrained body.

    tokens (m, T, D), mask (m, T): theta's output, or a sample of it; rows (m,): the proxy's rows these tokens are of,
    None when they are all of them in order; means (n, D): theta's token means of every row, None when ``tokens`` holds
    every token; grid: extents of the places of a whole sample, None for a sequence. hidden (n, H): mean of the last
    layer over tokens, the space in which the source predictor is linear; labels (n,); holdout (n,) booleans: rows the
    predictor was not trained on.

    Without a labelled proxy (``labelled`` is false) ``tokens`` alone is filled: what theta gives on average, from its
    embedding table or from noise. There are no hidden features, labels or classes then.
    """

    tokens: Tensor
    mask: Tensor
    hidden: Tensor
    labels: Tensor
    holdout: Tensor
    classes: tuple[str, ...]
    name: str
    grid: tuple[int, ...] | None = None
    rows: Tensor | None = None
    means: Tensor | None = None

    @property
    def labelled(self) -> bool:
        return len(self.classes) > 0

    @property
    def whole(self) -> bool:
        """Whether ``tokens`` holds every token of its rows: a body may then be shown them as the samples they are."""
        return self.grid is None or self.tokens.shape[1] - math.prod(self.grid) in (0, 1)

    def token_labels(self) -> Tensor:
        """Label of each of the rows that ``tokens`` is of."""
        return self.labels if self.rows is None else self.labels[self.rows]

    def token_points(self) -> tuple[Tensor, Tensor]:
        """The token cloud (p, D) and the label of the row each token is of, (p,); -1 without labels."""
        if not self.labelled:
            labels = torch.full((len(self.tokens),), -1)
        else:
            labels = self.token_labels()
        return self.tokens[self.mask], labels[:, None].expand_as(self.mask)[self.mask]

    def token_means(self) -> Tensor:
        """Mean over the tokens of every row, (n, D)."""
        return token_means(self.tokens, self.mask) if self.means is None else self.means


@dataclass(frozen=True)
class SourcePredictor:
    """p_s(z|h) = softmax(h W' + b), frozen. weight (K, H), bias (K,)."""

    weight: Tensor
    bias: Tensor


@dataclass
class State:
    """The working set of one arm. Stages get train and validation rows only; the test rows are not in here."""

    model: CrossModalModel
    backbone: Backbone
    train: Dataset
    validation: Dataset
    metric: Metric
    monitor: Monitor = field(default_factory=Monitor)
    source: SourceBank | None = None
    predictor: SourcePredictor | None = None
    labels: np.ndarray | None = None  # class or cluster per training row, for distortion
    validation_labels: np.ndarray | None = None
    max_head_rows: int = 8192
    head_seconds: float | None = None  # what solving for the head may take
    selection_rows: int = 5000
    probe_rows: int = 300
    batch_size: int = 32
    best_score: float | None = None
