"""The transfer bound, every term measured: ``err_t <= err_s + tau W1 + H(z' | z) + fitting excess``.

Everything is measured in one space, the penultimate features h where ``p_s(z | h) = softmax(W h + b)``: distances,
Lipschitz constant and predictions. Pseudo-labels are ``z ~ p_s(. | h)``, so the source loss at h is the entropy
``l_s(h) = H(p_s(. | h))``. Entropies and losses in nats.

What holds by theorem, for the empirical laws of the rows measured (derivation in docs/bound.md):

1. ``-LEEP <= H(z' | z)``: Jensen's inequality.
2. ``E_t[H(p_s)] <= E_s[H(p_s)] + tau W1``: the optimal plan pairs targets with sources, and tau is the largest slope
   of l_s over all such pairs ("support"), or a bound on its slope everywhere ("head").
3. ``-LEEP <= E_t[H(p_s)] + H(z' | z) <= source_entropy + tau W1 + H(z' | z)``: the sum of 1 and 2.
4. ``err_t = -LEEP + fitting``: the definition of the fitting excess.
5. ``err_t <= bound + fitting`` with ``bound = err_s + tau W1 + H(z' | z)``, whenever ``err_s >= source_entropy``.
   That condition is measured, not assumed: ``certified``.

What is an estimate: every statement about the population behind the rows (the intervals are bootstrap intervals;
``self_distance`` shows how large W1 is between two samples of one law); with lipschitz="support", tau for unseen
points; ``err_t <= bound`` without the fitting excess; and the bound when ``certified`` is false.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from crosstune.errors import DataError, UsageError
from crosstune.information.entropies import entropy, label_floor
from crosstune.information.joint import check_labels, negative_plogp
from crosstune.information.lipschitz import entropy_lipschitz, support_slopes
from crosstune.ot import exact

_TINY = torch.finfo(torch.float64).tiny
_CONTRACTED = 0.5
TERMS = (
    "err_s",
    "tau",
    "w1",
    "alignment",
    "distortion",
    "neg_leep",
    "err_t",
    "bound",
    "slack",
    "spread_ratio",
    "floor",
    "self_distance",
    "predictor_entropy",
    "source_entropy",
    "tau_head",
    "fitting",
)


@dataclass(frozen=True)
class Term:
    """A measured quantity with its 95 % bootstrap interval (``low <= value <= high``)."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class BoundReport:
    """Terms of the bound; entropies and losses in nats, w1 in feature units, tau in nats per feature unit.

    err_s: held-out cross-entropy of the source head. tau: Lipschitz constant of ``H(p_s)`` as asked for; tau_head: the
    whole-space one. w1: exact euclidean Wasserstein-1. alignment: tau * w1. distortion: H(z' | z). neg_leep: log-loss
    of the composed predictor. err_t: the target model's log-loss, or None. fitting: err_t - neg_leep, or None. bound:
    err_s + alignment + distortion. slack: bound - err_t (or - neg_leep). spread_ratio: target over source root mean
    squared distance to the mean. floor: H(z') - log K. self_distance: w1 between two halves of the source.
    predictor_entropy: E_t[H(p_s)]; source_entropy: E_s[H(p_s)]. certified: err_s >= source_entropy, so that
    ``err_t <= bound + fitting`` is a theorem for these rows. rows: how many were measured on each side.
    """

    err_s: Term
    tau: Term
    w1: Term
    alignment: Term
    distortion: Term
    neg_leep: Term
    err_t: Term | None
    bound: Term
    slack: Term
    spread_ratio: Term
    floor: Term
    self_distance: Term
    predictor_entropy: Term
    source_entropy: Term
    tau_head: Term
    fitting: Term | None
    certified: bool
    converged: bool
    rows: tuple[int, int]
    notes: tuple[str, ...] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """Plain data: ``{"terms": {...}, "converged", "certified", "rows", "notes"}``; absent terms are None."""
        terms = {name: getattr(self, name) for name in TERMS}
        return {
            "terms": {name: None if term is None else term.as_dict() for name, term in terms.items()},
            "certified": self.certified,
            "converged": self.converged,
            "rows": list(self.rows),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Sample:
    source: Tensor
    source_labels: Tensor
    target: Tensor
    target_labels: Tensor
    loss: Tensor | None
    num_labels: int


def bound_report(
    *,
    source_features: Tensor,
    source_labels: Tensor,
    target_features: Tensor,
    target_labels: Tensor,
    head_weight: Tensor,
    head_bias: Tensor | None = None,
    target_log_loss: Tensor | None = None,
    num_labels: int | None = None,
    bootstrap: int = 200,
    max_points: int = 2000,
    lipschitz: Literal["support", "head"] = "support",
    seed: int = 0,
) -> BoundReport:
    """Measure every term of the bound in the penultimate space h, where ``p_s(z | h) = softmax(W h + b)``.

    source_features: (n, d) and target_features: (m, d), pooled penultimate features of held-out rows.
    source_labels: (n,) codes z below K; target_labels: (m,) codes z' (clusters of other targets).
    head_weight: (K, d), head_bias: (K,) or None: the source head. target_log_loss: (m,) nats, the target model's own
    k-class log-loss per row, or None before there is one (then ``err_t`` and ``fitting`` are None and ``slack`` is
    measured against ``neg_leep``).
    bootstrap: number of resamples of rows behind the 95 % intervals. Each recomputes its own label channel; W1 is
    not solved again but moved by its dual potentials, a lower bound on the re-solved value; an interval of tau
    ("support", a maximum) understates its error. max_points: rows drawn per side; everything is measured on them.
    lipschitz: "support" (exact for these rows) or "head" (``softmax_entropy_constant(K) * sigma_max``, everywhere).

    Raises ``DataError`` when shapes, labels or spaces do not fit together.
    """
    if lipschitz not in ("support", "head"):
        raise UsageError(f"unknown lipschitz {lipschitz!r}", fix="use 'support' or 'head'")
    generator = torch.Generator().manual_seed(seed)
    weight = head_weight.detach().double()
    bias = None if head_bias is None else head_bias.detach().double()
    sample = _draw(
        source_features, source_labels, target_features, target_labels, target_log_loss, num_labels, max_points,
        generator, weight,
    )  # fmt: skip
    log_s = torch.log_softmax(torch.nn.functional.linear(sample.source, weight, bias), dim=1)
    log_t = torch.log_softmax(torch.nn.functional.linear(sample.target, weight, bias), dim=1)
    ps, pt = log_s.exp(), log_t.exp()
    ce = -log_s.gather(1, sample.source_labels[:, None]).squeeze(1)
    hs, ht = -(ps * log_s).sum(dim=1), -(pt * log_t).sum(dim=1)

    n, m = sample.source.shape[0], sample.target.shape[0]
    ws, wt = _resamples(n, bootstrap, generator, ps), _resamples(m, bootstrap, generator, pt)
    draws: dict[str, tuple[Tensor, Tensor]] = {}  # name -> (value, (B,) replicates)

    draws["err_s"] = (ce.mean(), ws @ ce)
    draws["source_entropy"] = (hs.mean(), ws @ hs)
    draws["predictor_entropy"] = (ht.mean(), wt @ ht)
    transport = exact(sample.source, sample.target, cost="euclidean")
    draws["w1"] = _transport_draws(transport, ws, wt)
    slopes = support_slopes(sample.source, sample.target, hs, ht)
    tau_head = torch.tensor(entropy_lipschitz(weight), dtype=torch.float64, device=weight.device)
    draws["tau_head"] = (tau_head, tau_head.expand(bootstrap))
    if lipschitz == "support":
        present = torch.where(wt > 0, slopes[None, :], torch.zeros_like(wt))
        draws["tau"] = (slopes.max(), present.max(dim=1).values)
    else:
        draws["tau"] = draws["tau_head"]
    draws["alignment"] = _combine(lambda t, w: t * w, draws["tau"], draws["w1"])
    draws["distortion"], draws["neg_leep"] = _label_draws(pt, sample.target_labels, sample.num_labels, wt)
    draws["bound"] = _combine(lambda e, a, d: e + a + d, draws["err_s"], draws["alignment"], draws["distortion"])
    reached = draws["neg_leep"]
    if sample.loss is not None:
        draws["err_t"] = (sample.loss.mean(), wt @ sample.loss)
        draws["fitting"] = _combine(lambda e, l: e - l, draws["err_t"], draws["neg_leep"])
        reached = draws["err_t"]
    draws["slack"] = _combine(lambda b, e: b - e, draws["bound"], reached)
    draws["spread_ratio"] = _combine(
        lambda t, s: t / s.clamp_min(1e-12), _spread_draws(sample.target, wt), _spread_draws(sample.source, ws)
    )
    draws["floor"] = _floor_draws(sample, pt.shape[1], wt)
    draws["self_distance"], self_converged = _self_distance(sample.source, bootstrap, generator)

    terms = {name: _term(value, replicates) for name, (value, replicates) in draws.items()}
    certified = bool(hs.mean() <= ce.mean() + 1e-9)
    converged = transport.converged and self_converged
    return BoundReport(
        **{name: terms.get(name) for name in TERMS},  # type: ignore[arg-type]
        certified=certified,
        converged=converged,
        rows=(n, m),
        notes=_notes(terms, certified, converged, (n, m), (source_features.shape[0], target_features.shape[0])),
    )


def _draw(
    source: Tensor, source_labels: Tensor, target: Tensor, target_labels: Tensor, loss: Tensor | None,
    num_labels: int | None, max_points: int, generator: torch.Generator, weight: Tensor,
) -> _Sample:  # fmt: skip
    source, target = source.detach().double(), target.detach().double()
    for name, points in (("source_features", source), ("target_features", target)):
        if points.ndim != 2 or points.shape[1] != weight.shape[1] or points.shape[0] < 2:
            raise DataError(
                f"{name} has shape {tuple(points.shape)}, expected (at least 2, {weight.shape[1]})",
                cause="features were taken from another space than the head's input",
                fix="pass the pooled penultimate features that the source head reads",
            )
    source_labels, _ = check_labels(source_labels, source.shape[0], weight.shape[0], source.device)
    target_labels, count = check_labels(target_labels, target.shape[0], num_labels, target.device)
    if loss is not None:
        loss = loss.detach().double().to(target.device)
        if loss.shape != (target.shape[0],):
            raise DataError(f"target_log_loss has shape {tuple(loss.shape)}, expected ({target.shape[0]},)")
    i = torch.randperm(source.shape[0], generator=generator)[:max_points].to(source.device)
    j = torch.randperm(target.shape[0], generator=generator)[:max_points].to(target.device)
    return _Sample(source[i], source_labels[i], target[j], target_labels[j], None if loss is None else loss[j], count)


def _resamples(n: int, count: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """Bootstrap weights (B, n): multinomial counts over n, rows sum to one."""
    picks = torch.randint(n, (count, n), generator=generator)
    weights = torch.zeros(count, n, dtype=torch.float64).scatter_add_(1, picks, torch.ones(count, n).double())
    return (weights / n).to(like.device)


def _transport_draws(coupling: Any, ws: Tensor, wt: Tensor) -> tuple[Tensor, Tensor]:
    """Replicates of W1 by its dual potentials: the derivative of the optimum with respect to the weights.

    Potentials stay feasible for resampled weights, so each replicate is a lower bound on the re-solved problem.
    """
    f, g = (p.to(ws.device).double() for p in coupling.potentials)
    value = torch.as_tensor(coupling.linear_cost, dtype=torch.float64, device=ws.device)
    change = (ws - 1.0 / ws.shape[1]) @ f + (wt - 1.0 / wt.shape[1]) @ g
    return value, (value + change).clamp_min(0.0)


def _label_draws(
    probs: Tensor, labels: Tensor, count: int, wt: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """``H(z' | z)`` and ``-LEEP``, value and replicates, each with its own channel."""
    uniform = torch.full((1, probs.shape[0]), 1.0 / probs.shape[0], dtype=probs.dtype, device=probs.device)
    every = torch.cat([uniform, wt])
    by_class = [torch.nonzero(labels == c).squeeze(1) for c in range(count)]
    joint = torch.stack([every[:, rows] @ probs[rows] for rows in by_class], dim=1)  # (B, C, K)
    marginal = joint.sum(dim=1)
    distortion = negative_plogp(joint, dim=(1, 2)) - negative_plogp(marginal, dim=1)
    channel = joint / marginal.clamp_min(_TINY)[:, None, :]
    leep = torch.zeros_like(distortion)
    for c, rows in enumerate(by_class):
        likelihood = channel[:, c] @ probs[rows].T
        leep += (every[:, rows] * likelihood.clamp_min(_TINY).log()).sum(dim=1)
    return (distortion[0], distortion[1:]), (-leep[0], -leep[1:])


def _spread_draws(points: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Root mean squared distance to the mean."""
    centred = points - points.mean(dim=0)
    squares = centred.square().sum(dim=1)
    replicates = (w @ squares - (w @ centred).square().sum(dim=1)).clamp_min(0.0).sqrt()
    return squares.mean().sqrt(), replicates


def _floor_draws(sample: _Sample, k: int, wt: Tensor) -> tuple[Tensor, Tensor]:
    one_hot = torch.nn.functional.one_hot(sample.target_labels, sample.num_labels).to(wt.dtype)
    value = torch.tensor(label_floor(sample.target_labels, k, sample.num_labels), dtype=wt.dtype, device=wt.device)
    return value, entropy(wt @ one_hot) - torch.log(torch.tensor(float(k), dtype=wt.dtype, device=wt.device))


def _self_distance(points: Tensor, bootstrap: int, generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], bool]:
    order = torch.randperm(points.shape[0], generator=generator).to(points.device)
    half = points.shape[0] // 2
    first, second = points[order[:half]], points[order[half : 2 * half]]
    coupling = exact(first, second, cost="euclidean")
    w1, w2 = _resamples(half, bootstrap, generator, first), _resamples(half, bootstrap, generator, first)
    return _transport_draws(coupling, w1, w2), coupling.converged


def _combine(function: Any, *draws: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return function(*[d[0] for d in draws]), function(*[d[1] for d in draws])


def _term(value: Tensor, replicates: Tensor) -> Term:
    """Basic (reflected) bootstrap interval: unlike percentiles it moves against the estimator's bias."""
    v = float(value)
    if replicates.numel() == 0:
        return Term(v, v, v)
    q = torch.quantile(replicates.double(), torch.tensor([0.025, 0.975], dtype=torch.float64, device=replicates.device))
    return Term(v, min(v, 2 * v - float(q[1])), max(v, 2 * v - float(q[0])))


def _notes(
    terms: dict[str, Term], certified: bool, converged: bool, sizes: tuple[int, int], given: tuple[int, int]
) -> tuple[str, ...]:
    notes = []
    if sizes != given:
        notes.append(
            f"measured on {sizes[0]:,} of {given[0]:,} source rows and {sizes[1]:,} of {given[1]:,} target rows"
        )
    if not certified:
        entropy_s, err_s = terms["source_entropy"].value, terms["err_s"].value
        notes.append(
            f"the source head is less confident than its loss warrants (E_s[H(p_s)] {entropy_s:.3f} > err_s "
            f"{err_s:.3f} nats): the bound is an estimate, not a certificate"
        )
    if not converged:
        notes.append("a transport problem did not converge: w1 and the bound are not reliable")
    if terms["spread_ratio"].value < _CONTRACTED:
        notes.append(
            f"the target cloud has contracted: its spread is {terms['spread_ratio'].value:.2f} of the source's"
        )
    if terms["w1"].value <= terms["self_distance"].value:
        notes.append("w1 is no larger than between two halves of the source: the clouds cannot be told apart by it")
    return tuple(notes)
