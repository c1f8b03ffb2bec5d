"""The first step of fitting: the head in closed form on frozen features. Not a stage itself.

Ridge regression on features pooled from all layers, stacked with a linear part on the raw signal; the mix of the two
and the penalty are chosen by leave-one-out error, so the model starts no worse than the better of "linear floor" and
"head on frozen features" by that criterion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crosstune.assembly import batch, chunks
from crosstune.nn.heads import FieldHead, PooledHead
from crosstune.nn.losses import Setting
from crosstune.nn.model import CrossModalModel
from crosstune.nn.ridge import RidgeFit, fit_ridge
from crosstune.records import Dataset
from crosstune.stages.closed_form_fields import fit_field

UNWEIGHTED = Setting()
MIXES = ((1.0, 0.0), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75), (0.0, 1.0))


@dataclass(frozen=True)
class HeadFit:
    """How the head was fitted: weight of the body's features in the mix (1 = body only), penalty, and the
    leave-one-out error relative to predicting the mean (1 = useless)."""

    body_share: float
    lam: float
    relative_press: float
    rows: int


def pooled_features(model: CrossModalModel, data: Dataset, rows: np.ndarray) -> Tensor:
    """What the head of such a model sees of rows before it standardises it, (n, features)."""
    return _features(model, data, rows)[0]


@torch.no_grad()
def _features(model: CrossModalModel, data: Dataset, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
    head, pooled, raw = model.head, [], []
    assert isinstance(head, PooledHead)
    for some in chunks(rows, 64):
        x, lengths, _ = batch(data, some, model.device)
        z = model.normaliser(x)
        tokens, mask = model.embedder(z, lengths)
        pooled.append(head.pool(model.hidden(tokens, mask), mask).cpu())
        if model.raw is not None:
            raw.append(model.raw(z, lengths).cpu())
    return torch.cat(pooled), torch.cat(raw) if raw else None


def fit_head(
    model: CrossModalModel, data: Dataset, *, max_rows: int, generator: np.random.Generator,
    setting: Setting = UNWEIGHTED, seconds: float | None = None,
) -> HeadFit:  # fmt: skip
    """Fit the model's head in place on at most ``max_rows`` training rows; the rest of the model is untouched. seconds:
    what solving may take, which for large fields leaves fewer rows.

    setting: of the loss. Class weights weigh the rows' squared errors, and the log-loss by which scores become logits;
    weights of positive labels shift the logits."""
    model.eval()
    rows = np.arange(len(data))
    if len(rows) > max_rows:
        rows = np.sort(generator.permutation(len(data))[:max_rows])
    seed = torch.Generator().manual_seed(int(generator.integers(2**31)))
    with solved_on_cpu(model):
        if isinstance(model.head, FieldHead):
            share, lam, relative, used = fit_field(
                model, model.head, data, rows, seed, setting.class_weights, math.inf if seconds is None else seconds
            )
            return HeadFit(share, lam, relative, used)
        return _fit_pooled(model, model.head, data, rows, seed, setting)


@contextmanager
def solved_on_cpu(model: CrossModalModel) -> Iterator[None]:
    """Features come from the model's device; head and solvers, in float64, are on the CPU meanwhile."""
    device = model.device
    parts = [part for part in (model.head, model.scaler) if part is not None]
    for part in parts:
        part.to("cpu")
    try:
        yield
    finally:
        for part in parts:
            part.to(device)


def _fit_pooled(
    model: CrossModalModel, head: PooledHead, data: Dataset, rows: np.ndarray, seed: torch.Generator, setting: Setting
) -> HeadFit:
    pooled, raw = _features(model, data, rows)
    return _solve(model, head, pooled, raw, data, rows, seed, setting)


def fit_head_on_features(model: CrossModalModel, features: Tensor, data: Dataset) -> HeadFit:
    """As ``fit_head`` on all rows of data, from their ``pooled_features`` (n, features); for models without a linear
    part."""
    head, rows, seed = model.head, np.arange(len(data)), torch.Generator().manual_seed(0)
    assert isinstance(head, PooledHead)
    with solved_on_cpu(model):
        return _solve(model, head, features, None, data, rows, seed, UNWEIGHTED)


def _solve(
    model: CrossModalModel, head: PooledHead, pooled: Tensor, raw: Tensor | None, data: Dataset, rows: np.ndarray,
    seed: torch.Generator, setting: Setting,
) -> HeadFit:  # fmt: skip
    head.features.fit(pooled)
    blocks = [head.features(pooled)]
    mixes: list[tuple[float, ...]] = [(1.0,)]
    if raw is not None:
        head.raw_features.fit(raw)
        blocks.append(head.raw_features(raw))
        mixes = list(MIXES)
    target = _regression_target(model, data, rows)
    weights = None
    if setting.class_weights is not None:
        weights = target @ setting.class_weights.to(target)  # one-hot rows: each the weight of its class
    fit = fit_ridge(blocks, target, mixes=mixes, generator=seed, weights=weights)
    slope, offset = _calibrate(model.config.kind, fit, target, weights, setting.pos_weight)
    with torch.no_grad():
        head.linear.weight.copy_((slope * fit.weights[0]).T)
        head.linear.bias.copy_(slope * fit.bias + offset)
        if raw is not None:
            head.skip.weight.copy_((slope * fit.weights[1]).T)
    total = float((target - target.mean(0)).square().mean())
    return HeadFit(fit.mix[0], fit.lam, fit.press / max(total, 1e-12), len(rows))


def _regression_target(model: CrossModalModel, data: Dataset, rows: np.ndarray) -> Tensor:
    assert data.y is not None
    y = torch.from_numpy(np.ascontiguousarray(data.y[rows]))
    if model.config.kind == "classification":
        return F.one_hot(y.long(), model.config.outputs).to(torch.float64)
    if model.config.kind == "multilabel":
        return y.to(torch.float64)
    assert model.scaler is not None
    return model.scaler(y.to(torch.float32)).to(torch.float64)


def _calibrate(
    kind: str, fit: RidgeFit, target: Tensor, weights: Tensor | None = None, pos_weight: Tensor | None = None
) -> tuple[float, Tensor | float]:
    """Slope and offset that turn ridge scores into logits, by the log-loss of the leave-one-out predictions. weights
    (n,) of rows; pos_weight (K,) of positive labels: then each label has an offset of its own, (K,)."""
    if kind == "classification":
        return _slope(fit, target, weights), 0.0
    if kind == "multilabel":
        return _slope_and_offset(fit, target, pos_weight)
    return 1.0, 0.0


SLOPES = tuple(torch.logspace(0, 2, 41).tolist())


def _slope(fit: RidgeFit, target: Tensor, weights: Tensor | None) -> float:
    scores, truth = fit.loo, target[fit.loo_rows]
    best = (math.inf, 1.0)
    for slope in SLOPES:
        losses = -(truth * (slope * scores).log_softmax(-1)).sum(-1)
        loss = float(losses.mean() if weights is None else (weights[fit.loo_rows] * losses).mean())
        best = min(best, (loss, slope), key=lambda pair: pair[0])
    return best[1]


def _slope_and_offset(fit: RidgeFit, target: Tensor, pos_weight: Tensor | None) -> tuple[float, Tensor | float]:
    """A label's score is a probability already: the logit's zero belongs at a score near one half, whatever the slope,
    and lower where positives weigh more than one."""
    scores, truth = fit.loo, target[fit.loo_rows]
    thresholds = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    if pos_weight is None:
        best = (math.inf, 1.0, 0.0)
        for slope in SLOPES:
            for offset in (-slope * t for t in thresholds):
                loss = float(F.binary_cross_entropy_with_logits(slope * scores + offset, truth))
                best = min(best, (loss, slope, offset), key=lambda found: found[0])
        return best[1], best[2]
    places = torch.tensor((-0.1, 0.0, 0.02, 0.05, 0.1, 0.15, *thresholds[1:], 0.8, 0.9)).to(scores)
    found: tuple[float, float, Tensor | float] = (math.inf, 1.0, 0.0)
    for slope in SLOPES:
        losses = [F.binary_cross_entropy_with_logits(slope * (scores - place), truth, pos_weight=pos_weight.to(scores),
                                                     reduction="none").mean(0) for place in places]  # fmt: skip
        lowest, which = torch.stack(losses).min(0)
        if float(lowest.mean()) < found[0]:
            found = (float(lowest.mean()), slope, -slope * places[which])
    return found[1], found[2]
