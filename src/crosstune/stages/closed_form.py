"""The first step of fitting: the head in closed form on frozen features. Not a stage itself.

Ridge regression on features pooled from all layers, stacked with a linear part on the raw signal; the mix of the two
and the penalty are chosen by leave-one-out error, so the model starts no worse than the better of "linear floor" and
"head on frozen features" by that criterion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crosstune.assembly import batch, chunks
from crosstune.nn.heads import FieldHead, PooledHead
from crosstune.nn.losses import Setting
from crosstune.nn.model import CrossModalModel
from crosstune.nn.ridge import LAMBDAS, RidgeFit, fit_ridge
from crosstune.records import Dataset

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


@torch.no_grad()
def _features(model: CrossModalModel, data: Dataset, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
    head, pooled, raw = model.head, [], []
    assert isinstance(head, PooledHead)
    for some in chunks(rows, 64):
        x, lengths, _ = batch(data, some)
        z = model.normaliser(x)
        tokens, mask = model.embedder(z, lengths)
        pooled.append(head.pool(model.hidden(tokens, mask), mask))
        if model.raw is not None:
            raw.append(model.raw(z, lengths))
    return torch.cat(pooled), torch.cat(raw) if raw else None


def fit_head(
    model: CrossModalModel, data: Dataset, *, max_rows: int, generator: np.random.Generator,
    setting: Setting = UNWEIGHTED,
) -> HeadFit:  # fmt: skip
    """Fit the model's head in place on at most ``max_rows`` training rows; the rest of the model is untouched.

    setting: of the loss. Class weights weigh the rows' squared errors, and the log-loss by which scores become logits;
    weights of positive labels shift the logits."""
    model.eval()
    rows = np.arange(len(data))
    if len(rows) > max_rows:
        rows = np.sort(generator.permutation(len(data))[:max_rows])
    seed = torch.Generator().manual_seed(int(generator.integers(2**31)))
    if isinstance(model.head, FieldHead):
        return _fit_field(model, model.head, data, rows, seed)
    return _fit_pooled(model, model.head, data, rows, seed, setting)


def _fit_pooled(
    model: CrossModalModel, head: PooledHead, data: Dataset, rows: np.ndarray, seed: torch.Generator, setting: Setting
) -> HeadFit:
    pooled, raw = _features(model, data, rows)
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


# -- fields ---------------------------------------------------------------------------------------------------------


def _fit_field(
    model: CrossModalModel, head: FieldHead, data: Dataset, rows: np.ndarray, seed: torch.Generator
) -> HeadFit:
    y = _regression_target(model, data, rows).to(torch.float32)
    residual, residual_rows = y, torch.arange(len(rows))
    lam = 0.0
    if head.raw_width:
        raw = _raw(model, data, rows)
        head.raw_features.fit(raw)
        x = head.raw_features(raw)
        fit = fit_ridge([x], y.flatten(1), generator=seed)
        _low_rank(head, fit)
        residual_rows = fit.loo_rows
        # the body learns what the linear part misses on rows it has not seen: leave-one-out residuals
        residual = (y.flatten(1)[residual_rows] - fit.loo.to(y)).view(-1, *y.shape[1:])
        lam = fit.lam
    share = _fit_tokens(model, head, data, rows[residual_rows.numpy()], residual, seed)
    total = float((y - y.mean(0)).square().mean())
    return HeadFit(share[0], lam, share[1] * float(residual.square().mean()) / max(total, 1e-12), len(rows))


@torch.no_grad()
def _raw(model: CrossModalModel, data: Dataset, rows: np.ndarray) -> Tensor:
    assert model.raw is not None
    parts = []
    for some in chunks(rows, 256):
        x, lengths, _ = batch(data, some)
        parts.append(model.raw(model.normaliser(x), lengths))
    return torch.cat(parts)


@torch.no_grad()
def _low_rank(head: FieldHead, fit: RidgeFit) -> None:
    """Store the operator (R, O) as two factors of the head's rank, by truncated singular value decomposition."""
    weight = fit.weights[0]
    q, r = torch.linalg.qr(weight) if weight.shape[0] >= weight.shape[1] else (None, None)
    if q is not None and r is not None:
        u, s, vh = torch.linalg.svd(r, full_matrices=False)
        u = q @ u
    else:
        q2, r2 = torch.linalg.qr(weight.T)
        v, s, uh = torch.linalg.svd(r2, full_matrices=False)
        u, vh = uh.T, (q2 @ v).T
    rank = min(head.rank, len(s))
    root = s[:rank].sqrt()
    head.skip_in.weight.zero_()
    head.skip_out.weight.zero_()
    head.skip_in.weight[:rank] = (u[:, :rank] * root).T.to(head.skip_in.weight)
    head.skip_out.weight[:, :rank] = (vh[:rank].T * root).to(head.skip_out.weight)
    head.skip_out.bias.copy_(fit.bias)


@torch.no_grad()
def _fit_tokens(
    model: CrossModalModel, head: FieldHead, data: Dataset, rows: np.ndarray, residual: Tensor, seed: torch.Generator
) -> tuple[float, float]:
    """Token-wise ridge on the residual fields; the penalty by holding out a fifth of the samples, no contribution at
    all being one of the candidates. Gives (share of the residual explained on held-out rows, relative error)."""
    size = tuple(data.X.shape[2:])
    tokens = math.prod(head.plan.grid_for(size))
    # bound the work: token rows, not samples, are the cost
    keep = torch.randperm(len(rows), generator=seed)[: max(8, 16384 // tokens)].sort().values
    features = []
    for some in chunks(rows[keep.numpy()], 64):
        x, lengths, _ = batch(data, some)
        tok, mask = model.tokens(x, lengths)
        features.append(head.token_features(model.hidden(tok, mask), tokens))
    phi = torch.cat(features)
    head.features.fit(phi.flatten(0, 1))
    phi = head.features(phi)
    target = residual[keep]
    patches = head.target_patches(target, size)
    n = len(keep)
    held = torch.zeros(n, dtype=torch.bool)
    held[torch.randperm(n, generator=seed)[: max(1, n // 5)]] = True
    base = float(target[held].square().mean())
    best: tuple[float, float | None] = (base, None)
    if n >= 5:
        gram, cross = _normal_equations(phi[~held], patches[~held])
        for lam in LAMBDAS[4:]:
            weight, bias = _ridge_primal(gram, cross, lam, phi[~held], patches[~held])
            painted = head.paint(phi[held] @ weight + bias, size)
            error = float((painted - target[held]).square().mean())
            if error < best[0] * (1 - 1e-3):
                best = (error, lam)
    head.linear.weight.zero_()
    head.linear.bias.zero_()
    if best[1] is None:
        return 0.0, 1.0
    gram, cross = _normal_equations(phi, patches)
    weight, bias = _ridge_primal(gram, cross, best[1], phi, patches)
    head.linear.weight.copy_(weight.T)
    head.linear.bias.copy_(bias)
    relative = best[0] / max(base, 1e-30)
    return 1 - relative, relative


def _normal_equations(phi: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
    x, y = phi.flatten(0, 1), patches.flatten(0, 1)
    y = y - y.mean(0)
    return x.T @ x / len(x), x.T @ y / len(x)


def _ridge_primal(gram: Tensor, cross: Tensor, lam: float, phi: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
    penalised = gram.clone()
    penalised.diagonal().add_(lam * gram.diagonal().mean() + 1e-7)
    weight = torch.linalg.solve(penalised, cross)
    bias = patches.flatten(0, 1).mean(0) - phi.flatten(0, 1).mean(0) @ weight
    return weight, bias
