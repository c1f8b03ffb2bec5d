"""Measuring the bound on a model: the one place that turns models and data into what ``crosstune.bounds`` takes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crosstune.assembly import batch, chunks
from crosstune.backbones import Backbone, Body, load_backbone
from crosstune.bounds import BoundReport, bound_report
from crosstune.errors import DataError, UsageError
from crosstune.experiment.source import source_bank
from crosstune.metrics import default_metric
from crosstune.nn.heads import token_means
from crosstune.nn.model import CrossModalModel
from crosstune.records import Dataset
from crosstune.runs.export import LoadedModel
from crosstune.seeding import Streams
from crosstune.stages import source_head
from crosstune.stages.align import target_labels
from crosstune.stages.source_head import SourceHeadConfig
from crosstune.stages.state import SourceBank, SourcePredictor, State


@torch.no_grad()
def target_features(model: CrossModalModel, body: Body, part: Dataset) -> Tensor:
    """Rows through the model's embedder and a (frozen, pretrained) body: mean of the last layer over tokens, (n, H)."""
    model.eval()
    parts = []
    for some in chunks(len(part), 64):
        x, lengths, _ = batch(part, some, model.device)
        tokens, mask = model.tokens(x, lengths)
        grid = model.grid(tokens.shape[1], tuple(x.shape[2:]))
        parts.append(token_means(body.eval()(tokens, mask, grid)[-1], mask).cpu())
    return torch.cat(parts)


@torch.no_grad()
def log_loss(model: CrossModalModel, part: Dataset) -> Tensor:
    """-log p_t(z'|x') per row in nats, (n,); classification only."""
    model.eval()
    parts = []
    for some in chunks(len(part), 64):
        x, lengths, y = batch(part, some, model.device)
        assert y is not None
        parts.append(F.cross_entropy(model(x, lengths), y.long(), reduction="none").cpu())
    return torch.cat(parts)


def measure(
    model: CrossModalModel, body: Body, bank: SourceBank, predictor: SourcePredictor, part: Dataset,
    labels: np.ndarray, *, with_error: bool, max_points: int = 2000, bootstrap: int = 100,
) -> BoundReport:  # fmt: skip
    """Every term of the bound for the model's embedder, in the space h where the source predictor is linear.

    body: the frozen pretrained body the predictor belongs to (the model's own may have been trained since). bank:
    its held-out rows give err_s. labels: z' of each row. with_error: measure err_t too (classification only).
    """
    held = bank.holdout
    return bound_report(
        source_features=bank.hidden[held], source_labels=bank.labels[held],
        target_features=target_features(model, body, part), target_labels=torch.from_numpy(np.asarray(labels)),
        head_weight=predictor.weight, head_bias=predictor.bias,
        target_log_loss=log_loss(model, part) if with_error and part.kind == "classification" else None,
        bootstrap=bootstrap, max_points=max_points,
    )  # fmt: skip


def trained_source(
    backbone: Backbone, proxy: str, model: CrossModalModel, train: Dataset, *, labels: str, tau: float | None, seed: int
) -> tuple[SourceBank, SourcePredictor]:
    """Stage 0 alone: the proxy's bank with its holdout, and the frozen source predictor. UsageError without a proxy."""
    if proxy == "none":
        raise UsageError(
            "the bound needs a labelled source proxy, and there is none (proxy none)",
            cause="err_s, the slope of the source loss and H(z'|z) are measured on labelled source data",
            fix="use --proxy auto, or labelled data of the body's own modality: --proxy PATH",
        )
    state = State(model, backbone, train, train, default_metric(train.kind), source=source_bank(backbone, proxy))  # type: ignore[arg-type]
    state, _ = source_head.run(state, SourceHeadConfig(labels=labels, tau=tau), streams=Streams(seed))
    assert state.source is not None
    assert state.predictor is not None
    return state.source, state.predictor


def bound(
    model: LoadedModel, source: str, target: Dataset, *, labels: str = "clusters:40", tau: float | None = 1.0,
    seed: int = 0, rows: int = 2000, bootstrap: int = 200,
) -> BoundReport:  # fmt: skip
    """The bound for a finished model on labelled target rows that it was not fitted on.

    source: labelled source data: "auto" (by the body's modality), a name, or a path. target: data with a target;
    targets that are not classes are clustered (k-means, k = 10). labels, tau: source classes and Lipschitz target of
    the source predictor, as in stage 0. Nats throughout; W1 and tau in the same space, the mean-pooled last layer of
    the pretrained body.

    Raises DataError for data without a target, UsageError for the source "none", WeightsError when the pretrained body
    is not to be had (a model folder holds the fine-tuned one only).
    """
    if target.y is None:
        raise DataError("the target data have no target column", fix="read them with target=NAME")
    part = model.prepare(target)
    part = part.take(np.arange(len(part))[:: max(1, len(part) // rows)][:rows])
    info = model.config["backbone"]
    backbone = load_backbone(
        info["name"], weights=info["weights"], seed=info.get("seed") or 0, attention=info.get("attention")
    )
    bank, predictor = trained_source(backbone, source, model.model, part, labels=labels, tau=tau, seed=seed)
    classes = target_labels(part, 10, seed)
    return measure(model.model, backbone.body, bank, predictor, part, classes, with_error=True, bootstrap=bootstrap)
