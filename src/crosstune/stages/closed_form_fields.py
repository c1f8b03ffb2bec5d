"""The head of fields and class maps in closed form: a low-rank linear operator on the raw signal, then a ridge
regression from tokens to the windows they paint, on what the operator leaves. Not a stage itself.

Class maps are regressed on as one indicator per class; one temperature and one offset per class, of least log-loss on
predictions of rows that the fit has not seen, make logits of these scores. Positions that do not count are left out:
wherever a solver needs a full matrix they are filled with what the model predicts, and it is solved again. Each round
lowers the penalised error of the known positions, so that its fixed point is the fit to these alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crosstune.assembly import batch, chunks
from crosstune.nn.heads import FieldHead
from crosstune.nn.model import CrossModalModel
from crosstune.nn.ridge import LAMBDAS, RidgeFit, fit_ridge
from crosstune.records import IGNORED, Dataset

ROUNDS, FILLINGS = 4, 60  # of filling positions that do not count: of tokens, and of the linear operator
CALIBRATION_POSITIONS = 100_000
MOST_VALUES = 1 << 26  # of all target fields that are fitted to, float64 in the solver: 0.5 GiB
OPERATIONS = 2e10  # of float64 in a second
JUDGED = 512  # tokens by which embedders are compared


@dataclass(frozen=True)
class Fields:
    """values: (n, C, ...) float32, 0 where unknown; known: (n, 1 or C, ...) bool, or None where all of it is."""

    values: Tensor
    known: Tensor | None

    def take(self, rows: Tensor) -> Fields:
        return Fields(self.values[rows], None if self.known is None else self.known[rows])

    def error(self, guess: Tensor) -> float:
        """Mean squared error over the known values."""
        square = (guess - self.values).square()
        if self.known is None:
            return float(square.mean())
        known = self.known.expand_as(square)
        return float(square[known].mean()) if bool(known.any()) else 0.0

    def filled(self, guess: Tensor) -> Tensor:
        return self.values if self.known is None else torch.where(self.known, self.values, guess)

    def mean(self) -> Tensor:
        """(C, ...) means over the rows where a position is known, 0 where none is."""
        if self.known is None:
            return self.values.mean(0)
        return self.values.sum(0) / self.known.sum(0).clamp_min(1)


def regression_fields(model: CrossModalModel, y: Tensor) -> Fields:
    """The targets that the head is regressed on: standardised fields, or indicators of classes."""
    if model.config.kind == "segmentation":
        known = (y != IGNORED)[:, None]
        indicators = torch.stack([(y == k).to(torch.float32) for k in range(model.config.outputs)], dim=1)
        return Fields(indicators, None if bool(known.all()) else known)
    assert model.scaler is not None
    values = model.scaler(y.to(torch.float32))
    known = torch.isfinite(values)
    return Fields(torch.where(known, values, torch.zeros_like(values)), None if bool(known.all()) else known)


def fit_field(
    model: CrossModalModel, head: FieldHead, data: Dataset, rows: np.ndarray, seed: torch.Generator,
    class_weights: Tensor | None = None, seconds: float = math.inf,
) -> tuple[float, float, float, int]:  # fmt: skip
    """Fit the head in place on these rows, or on fewer, evenly spaced, that are solved in about so many seconds.
    class_weights: (K,) of the log-loss. Gives the share of the body, the penalty of the linear part, the error on rows
    that were left out relative to the mean field, and the number of rows."""
    assert data.y is not None
    most = affordable_rows(head, seconds)
    if len(rows) > most:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]
    y = torch.from_numpy(np.ascontiguousarray(data.y[rows]))
    target = regression_fields(model, y)
    residual, residual_rows, lam = target, torch.arange(len(rows)), 0.0
    left_out = torch.zeros_like(target.values)  # what the linear part says of rows it has not seen
    if head.raw_width:
        raw = _raw(model, data, rows)
        head.raw_features.fit(raw)
        fit = _fit_operator(head.raw_features(raw), target, model.config.kind, seed)
        _low_rank(head, fit, head.raw_features(raw))
        residual_rows, lam = fit.loo_rows, fit.lam
        left_out = fit.loo.to(torch.float32).view(-1, *target.values.shape[1:])
        # the body learns what the linear part misses on rows it has not seen: leave-one-out residuals
        some = target.take(residual_rows)
        residual = Fields(some.filled(left_out) - left_out, some.known)
    tokens = _fit_tokens(model, head, data, rows[residual_rows.numpy()], residual, seed)
    if model.config.kind == "segmentation":
        at = tokens.held
        _calibrate(head, left_out[at] + tokens.painted, y[residual_rows[at]], class_weights)
    total = target.error(target.mean().expand_as(target.values))
    linear = residual.error(torch.zeros_like(residual.values))
    return tokens.share, lam, tokens.relative * linear / max(total, 1e-12), len(rows)


def affordable_rows(head: FieldHead, seconds: float) -> int:
    """Rows for which the linear operator is found in about so many seconds, and its targets fit into memory; at least
    64. With O outputs and R raw features it takes some O n (8 n + 6 R) operations."""
    outputs = head.out_channels * math.prod(head.out_size)
    most = max(64.0, MOST_VALUES / outputs)
    if head.raw_width and math.isfinite(seconds):
        a, b = 8.0 * outputs, 6.0 * outputs * head.raw_width
        most = min(most, max(64.0, (math.sqrt(b * b + 4 * a * OPERATIONS * seconds) - b) / (2 * a)))
    return int(most)


def _fit_operator(x: Tensor, target: Fields, kind: str, seed: torch.Generator) -> RidgeFit:
    """Ridge from raw features to all positions. The last class follows from the others, whose indicators sum to one
    with it: the intercept is not penalised, so that the regressions sum to one as well."""
    values = target.filled(target.mean())
    drop = 1 if kind == "segmentation" else 0
    classes = values.shape[1]
    some = Fields(target.values[:, : classes - drop], target.known)
    y = values[:, : classes - drop]
    state = seed.get_state()
    tolerance = 1e-2 if drop else 1e-4  # indicators of classes only begin the fit of a log-loss
    last = None
    for _ in range(1 if target.known is None else 3):
        seed.set_state(state)  # the same rows are left out in every round
        fit = fit_ridge([x], y.flatten(1), generator=seed)
        if target.known is None or fit.lam == last:
            break
        last = fit.lam
        y = _filled_in(x, some, y, fit.lam * len(x) / len(fit.loo_rows), tolerance)
    return _with_last(fit, classes) if drop else fit


def _filled_in(x: Tensor, target: Fields, y: Tensor, lam: float, tolerance: float) -> Tensor:
    """The fields y with their unknown positions at the fixed point of "solve, fill": the ridge of ``fit_ridge`` at the
    penalty ``lam``, fitted to the known positions alone. Ends when no value changes by more than ``tolerance``."""
    assert target.known is not None
    z = x.to(torch.float64) - x.to(torch.float64).mean(0)
    z = z / z.square().sum(1).mean().clamp_min(1e-12).sqrt()
    kernel = z @ z.T
    inverse = torch.linalg.inv(kernel + lam * torch.eye(len(z), dtype=kernel.dtype))
    hat = (kernel @ inverse).to(torch.float32)
    values = y.flatten(1).clone()
    known = target.known.expand_as(target.values).flatten(1)
    gappy = (~known).any(0)
    some, known = values[:, gappy], known[:, gappy]
    for _ in range(FILLINGS):
        centre = some.mean(0)
        guess = centre + hat @ (some - centre)
        change = float((guess - some).masked_fill(known, 0.0).abs().max())
        some = torch.where(known, some, guess)
        if change < tolerance:
            break
    values[:, gappy] = some
    return values.view(y.shape)


def _with_last(fit: RidgeFit, classes: int) -> RidgeFit:
    def extended(part: Tensor, total: float) -> Tensor:
        some = part.unflatten(-1, (classes - 1, -1))
        return torch.cat([some, total - some.sum(-2, keepdim=True)], dim=-2).flatten(-2)

    return RidgeFit(
        weights=(extended(fit.weights[0], 0.0),), bias=extended(fit.bias, 1.0), lam=fit.lam, mix=fit.mix,
        loo=extended(fit.loo, 1.0), loo_rows=fit.loo_rows, press=fit.press,
    )  # fmt: skip


@torch.no_grad()
def _raw(model: CrossModalModel, data: Dataset, rows: np.ndarray) -> Tensor:
    assert model.raw is not None
    parts = []
    for some in chunks(rows, 256):
        x, lengths, _ = batch(data, some, model.device)
        parts.append(model.raw(model.normaliser(x), lengths).cpu())
    return torch.cat(parts)


@torch.no_grad()
def _low_rank(head: FieldHead, fit: RidgeFit, x: Tensor) -> None:
    """Store the operator W (R, O) as two factors of the head's rank: U U' W with the first left singular vectors U.
    They are eigenvectors of W W', within the span of the n rows of x, of which W consists."""
    weight = fit.weights[0]
    inside = None
    if len(x) < min(weight.shape):
        inside = torch.linalg.qr((x - x.mean(0)).to(weight).T).Q
    core = weight if inside is None else inside.T @ weight
    if core.shape[0] <= core.shape[1]:
        squares, left = torch.linalg.eigh(core @ core.T)
    else:
        squares, right = torch.linalg.eigh(core.T @ core)
        left = core @ (right / squares.clamp_min(1e-24 * float(squares[-1]) + 1e-300).sqrt())
    rank = min(head.rank, len(squares))
    left, values = left.flip(1)[:, :rank], squares.flip(0)[:rank]
    root = values.clamp_min(1e-16 * float(values[0]) + 1e-300) ** 0.25
    u = left if inside is None else inside @ left
    head.skip_in.weight.zero_()
    head.skip_out.weight.zero_()
    head.skip_in.weight[:rank] = (u * root).T.to(head.skip_in.weight)
    head.skip_out.weight[:, :rank] = ((left.T @ core) / root[:, None]).T.to(head.skip_out.weight)
    head.skip_out.bias.copy_(fit.bias)


@dataclass(frozen=True)
class _Tokens:
    """share of the residual explained on held-out rows, error relative to none; held: (m,) those rows, painted: what
    the tokens alone say of them."""

    share: float
    relative: float
    held: Tensor
    painted: Tensor


@torch.no_grad()
def _fit_tokens(
    model: CrossModalModel, head: FieldHead, data: Dataset, rows: np.ndarray, residual: Fields, seed: torch.Generator
) -> _Tokens:
    """Token-wise ridge on the residual fields; the penalty by holding out a fifth of the samples, no contribution at
    all being one of the candidates."""
    size = tuple(data.X.shape[2:])
    tokens = math.prod(head.plan.grid_for(size))
    # bound the work: token rows, not samples, are the cost
    keep = torch.randperm(len(rows), generator=seed)[: max(8, 16384 // tokens)].sort().values
    phi, valid = _token_features(model, head, data, rows[keep.numpy()])
    head.features.fit(phi[valid])
    phi = head.features(phi)
    target = residual.take(keep)
    patches = _patches(head, target, size)
    n = len(keep)
    held = torch.zeros(n, dtype=torch.bool)
    held[torch.randperm(n, generator=seed)[: max(1, n // 5)]] = True
    part = target.take(held)
    painted = torch.zeros_like(part.values)
    base = part.error(painted)
    best: tuple[float, float | None] = (base, None)
    if n >= 5:
        seen = Fields(patches.values[~held], None if patches.known is None else patches.known[~held])
        gram = _gram(phi[~held], valid[~held])
        for lam in LAMBDAS[4:]:
            weight, bias = _ridge(gram, lam, phi[~held], seen, valid[~held])
            guess = head.paint(phi[held] @ weight + bias, size, valid[held] if head.ragged else None)
            error = part.error(guess)
            if error < best[0] * (1 - 1e-3):
                best, painted = (error, lam), guess
    head.linear.weight.zero_()
    head.linear.bias.zero_()
    at = keep[held]
    if best[1] is None:
        return _Tokens(0.0, 1.0, at, painted)
    weight, bias = _ridge(_gram(phi, valid), best[1], phi, patches, valid)
    head.linear.weight.copy_(weight.T)
    head.linear.bias.copy_(bias)
    relative = best[0] / max(base, 1e-30)
    return _Tokens(1 - relative, relative, at, painted)


@torch.no_grad()
def token_error(
    model: CrossModalModel, head: FieldHead, data: Dataset, rows: np.ndarray, seed: torch.Generator
) -> float:
    """Leave-one-out error of a ridge from single tokens to what they should paint, relative to the mean of all tokens.

    On at most JUDGED tokens of these rows, without the linear operator: a quick comparison of embedders, not a fit.
    Changes the head's features, which ``fit_field`` sets anew."""
    size = tuple(data.X.shape[2:])
    phi, valid = _token_features(model, head, data, rows)
    head.features.fit(phi[valid])
    assert data.y is not None
    y = torch.from_numpy(np.ascontiguousarray(data.y[rows]))
    patches = _patches(head, regression_fields(model, y), size)
    x = head.features(phi[valid])
    flat = Fields(patches.values[valid], None if patches.known is None else patches.known[valid])
    wanted = flat.filled(flat.mean().expand_as(flat.values))
    some = torch.randperm(len(x), generator=seed)[:JUDGED]
    x, wanted = x[some], wanted[some].to(torch.float64)
    total = float((wanted - wanted.mean(0)).square().mean())
    return fit_ridge([x], wanted, generator=seed).press / max(total, 1e-30)


def _patches(head: FieldHead, target: Fields, size: tuple[int, ...]) -> Fields:
    """What each token should paint, (n, tokens, C * window), and where that is known."""
    patches = head.target_patches(target.values, size)
    if target.known is None:
        return Fields(patches, None)
    known = target.known.expand_as(target.values).to(torch.float32)
    return Fields(patches, head.target_patches(known, size) > 1 - 1e-4)


def _token_features(model: CrossModalModel, head: FieldHead, data: Dataset, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Features (n, tokens, d) of the grid's tokens at the data's full extent, and which tokens are not padding."""
    size = tuple(data.X.shape[2:])
    tokens = math.prod(head.plan.grid_for(size))
    features, valid = [], []
    for some in chunks(rows, 64):
        x, lengths, _ = batch(data, some, model.device)
        x = F.pad(x, (0, size[-1] - x.shape[-1]))  # ragged batches come cut to their longest row
        tok, mask = model.tokens(x, lengths)
        features.append(head.token_features(model.hidden(tok, mask, size), tokens).cpu())
        valid.append(mask[:, 1 : 1 + tokens].cpu())
    return torch.cat(features), torch.cat(valid)


def _gram(phi: Tensor, valid: Tensor) -> Tensor:
    x = phi[valid]
    return x.T @ x / len(x)


def _ridge(gram: Tensor, lam: float, phi: Tensor, patches: Fields, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (d, C * window) and bias of the ridge from features (n, tokens, d) to patches, over the valid tokens."""
    penalised = gram.clone()
    penalised.diagonal().add_(lam * gram.diagonal().mean() + 1e-7)
    x, mean = phi[valid], phi[valid].mean(0)
    flat = Fields(patches.values[valid], None if patches.known is None else patches.known[valid])
    y = flat.filled(flat.mean().expand_as(flat.values))
    for _ in range(1 if flat.known is None else ROUNDS):
        centre = y.mean(0)
        weight = torch.linalg.solve(penalised, x.T @ (y - centre) / len(x))
        bias = centre - mean @ weight
        if flat.known is not None:
            y = flat.filled(x @ weight + bias)
    return weight, bias


def _calibrate(head: FieldHead, scores: Tensor, codes: Tensor, weights: Tensor | None) -> None:
    """Scale the head and shift its classes so that its outputs are logits: logit_k = a score_k + b_k with the a and b
    of least log-loss over positions (a convex problem). scores: (m, K, ...) of rows left out; codes: (m, ...)."""
    classes = scores.shape[1]
    counted = codes != IGNORED
    s = scores.movedim(1, -1)[counted].to(torch.float64)
    t = codes[counted].long()
    if not len(t):
        return
    s, t = s[:: -(-len(t) // CALIBRATION_POSITIONS)], t[:: -(-len(t) // CALIBRATION_POSITIONS)]
    with torch.enable_grad():
        slope = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
        shift = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([slope, shift], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            # a class that does not occur would be shifted to minus infinity, and a perfect slope to infinity
            weight = None if weights is None else weights.to(s)
            loss = F.cross_entropy(slope * s + shift, t, weight=weight)
            loss = loss + 1e-4 * shift.square().mean() + 1e-6 * slope.square()
            loss.backward()
            return loss

        optimiser.step(closure)
    a, b = max(float(slope.detach()), 0.0), shift.detach().to(torch.float32)
    with torch.no_grad():
        head.linear.weight.mul_(a)
        head.linear.bias.copy_((a * head.linear.bias.view(classes, -1) + b[:, None]).flatten())
        if head.raw_width:
            head.skip_out.weight.mul_(a)
            head.skip_out.bias.mul_(a)
