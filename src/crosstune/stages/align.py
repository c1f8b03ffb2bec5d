"""Stage 1: learn the embedder phi by feature alignment (FA) and feature-label distortion (FLD), nothing else.

FA is a transport distance between source tokens and target tokens (or their means, or the body's hidden means);
FLD is an information quantity between the pseudo source label z ~ p_s(.|phi(x')) and the target label z'. The body
and the source predictor are frozen: only phi's parameters are given to the optimiser.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crosstune import ot
from crosstune.assembly import batch
from crosstune.data.vectors import target_vectors
from crosstune.errors import ConfigError
from crosstune.information import cluster_targets, conditional_entropy, label_channel, leep, mutual_information
from crosstune.nn.heads import token_means
from crosstune.records import Dataset, StageReport
from crosstune.seeding import Streams
from crosstune.stages.candidates import Candidates
from crosstune.stages.monitor import pack, unpack
from crosstune.stages.state import Count, NotNegative, Positive, Share, SourceBank, StageConfig, State, Steps

Term = Literal["fa", "fld"]
UNLABELLED = (
    "no labelled source data: stage 1 matched mean and variance of the body's own input tokens; distortion and the "
    "bound were left out"
)


class AlignConfig(StageConfig):
    """Stage 1. Names as in the method's description.

    space: where FA compares clouds: "tokens" (default hypothesis), "means" (token means: the reference; only a lower
    bound on what the theorem needs), "hidden" (the body's mean-pooled last layer, where the bound is measured).
    fa: solver; "moments" matches means and variances only; None leaves FA out. fld: "mutual" = H(z|z') - H(z),
    "conditional" = H(z|z') (can collapse), "leep" = -LEEP; None leaves FLD out.
    weight: lambda of FLD (1 in the bound). tolerance: epsilon of the constrained schedule.
    keep: "best" = of the embedders before, on the way (after half and all of FA) and at the end, the one
    on which the closed-form head has the lowest leave-one-out error; "last" = the one at the end.
    share: part of the arm's time that stage 1 may take.
    """

    name: Literal["align"] = "align"
    space: Literal["tokens", "means", "hidden"] = "tokens"
    fa: Literal["auto", "exact", "sinkhorn", "sliced", "mmd", "otdd", "moments"] | None = "exact"
    cost: Literal["sqeuclidean", "euclidean"] = "sqeuclidean"
    fld: Literal["mutual", "conditional", "leep"] | None = "mutual"
    schedule: Literal["sequential", "joint", "constrained", "alternating"] = "sequential"
    steps: Steps = 60
    distortion_steps: Steps = 15
    weight: NotNegative = 1.0
    tolerance: NotNegative = 0.1
    learning_rate: Positive = 3e-3
    source_points: Count = 2048
    target_points: Count = 256
    batch_size: Count = 64
    clusters: Count = 10
    keep: Literal["best", "last"] = "best"
    share: Share = 0.3


def target_labels(train: Dataset, clusters: int, seed: int) -> np.ndarray:
    """The label z' of each training row: its class, or the k-means cluster of its target (fields, class maps,
    regression, multi-label)."""
    assert train.y is not None
    if train.kind == "classification":
        return train.y.astype(np.int64)
    flat = target_vectors(train)
    k = min(clusters, max(2, len(train) // 4))
    return np.asarray(cluster_targets(flat, k, seed).labels)


class _Problem:
    """Draws batches and evaluates FA and FLD for the current phi."""

    def __init__(self, state: State, config: AlignConfig, streams: Streams) -> None:
        assert state.source is not None
        assert state.labels is not None
        self.state, self.config, self.bank = state, config, state.source
        self.rng = streams["alignment"]
        self.body = state.backbone.body.eval()
        self.labels = torch.from_numpy(np.asarray(state.labels)).long()
        self.label_count = int(self.labels.max()) + 1
        self.source_points, self.source_point_labels = self._source(self.bank)
        if config.fa != "moments":
            self.prepared = ot.prepare(self.source_points, cost=config.cost)
        self.spread = float((self.source_points - self.source_points.mean(0)).square().sum(1).mean())
        self.converged: list[bool] = []

    def _source(self, bank: SourceBank) -> tuple[Tensor, Tensor]:
        """A fixed sample of the source cloud, in the configured space, with the labels of its points."""
        if self.config.space == "hidden":
            points, labels = bank.hidden, bank.labels
        elif self.config.space == "means":
            points, labels = bank.token_means(), bank.labels
        else:
            points, labels = bank.token_points()
        if self.config.fa == "moments":
            return points, labels  # two moments cost nothing: of all points there are
        keep = torch.from_numpy(self.rng.permutation(len(points))[: self.config.source_points])
        return points[keep].contiguous(), labels[keep]

    def rows(self) -> np.ndarray:
        """A batch of training rows, the same number from every class as far as there are rows."""
        n = len(self.labels)
        size = min(self.config.batch_size, n)
        order = self.rng.permutation(n)
        labels = self.labels.numpy()[order]
        # rank within class: taking the smallest ranks first balances the classes
        by_class = np.argsort(labels, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=self.label_count))[:-1]])
        rank = np.empty(n, dtype=np.int64)
        rank[by_class] = np.arange(n) - starts[labels[by_class]]
        return order[np.argsort(rank, kind="stable")[:size]]

    def tokens(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """On the model's device; what follows the body, transport above all, is small and stays on the CPU."""
        x, lengths, _ = batch(self.state.train, rows, self.state.model.device)
        return self.state.model.tokens(x, lengths)

    def hidden(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return token_means(self.body(tokens, mask, self.state.model.grid(tokens.shape[1]))[-1], mask).cpu()

    def points(self, tokens: Tensor, mask: Tensor, hidden: Tensor | None, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.space == "hidden":
            return (hidden if hidden is not None else self.hidden(tokens, mask)), labels
        tokens, mask = tokens.cpu(), mask.cpu()
        if self.config.space == "means":
            return token_means(tokens, mask), labels
        points, point_labels = tokens[mask], labels[:, None].expand_as(mask)[mask]
        keep = torch.from_numpy(self.rng.permutation(len(points))[: self.config.target_points])
        return points[keep], point_labels[keep]

    def alignment(self, points: Tensor, labels: Tensor) -> Tensor:
        """FA relative to the source's own spread: a pure number, comparable between bodies."""
        if self.config.fa == "moments":
            source = self.source_points
            gap = (points.mean(0) - source.mean(0)).square().sum()
            gap = gap + (points.std(0) - source.std(0)).square().sum()
            return gap / self.spread
        if self.config.fa == "otdd":
            result: Any = ot.dataset_distance(self.source_points, self.source_point_labels, points, labels)
        else:
            # directions come from the stage's own stream: fresh each step, the same for every measurement
            own = {"generator": torch.Generator().manual_seed(int(self.rng.integers(2**31)))}
            options: dict[str, Any] = own if self.config.fa == "sliced" else {}
            result = ot.alignment(
                self.prepared, points, method=self.config.fa or "auto", cost=self.config.cost, **options
            )
        self.converged.append(bool(result.converged))
        scale = self.spread if self.config.cost == "sqeuclidean" else self.spread**0.5
        return result.value / scale

    def distortion(self, hidden: Tensor, labels: Tensor) -> Tensor:
        predictor = self.state.predictor
        assert predictor is not None
        probs = F.linear(hidden, predictor.weight, predictor.bias).softmax(-1)
        if self.config.fld == "conditional":
            return conditional_entropy(probs, labels, direction="z_given_label", num_labels=self.label_count)
        if self.config.fld == "leep":
            # the channel is a statistic of the batch, not a path for the gradient (stop-gradient, exact per batch)
            channel = label_channel(probs.detach(), labels, self.label_count)
            return -leep(probs, labels, channel=channel)
        return -mutual_information(probs, labels, num_labels=self.label_count)

    def losses(self, rows: np.ndarray, terms: tuple[Term, ...]) -> dict[Term, Tensor]:
        tokens, mask = self.tokens(rows)
        labels = self.labels[torch.from_numpy(rows)]
        needs_body = "fld" in terms or self.config.space == "hidden"
        hidden = self.hidden(tokens, mask) if needs_body else None
        out: dict[Term, Tensor] = {}
        if "fa" in terms:
            out["fa"] = self.alignment(*self.points(tokens, mask, hidden, labels))
        if "fld" in terms:
            assert hidden is not None
            out["fld"] = self.distortion(hidden, labels)
        return out


def _terms(config: AlignConfig, step: int, used: float, total: int) -> tuple[Term, ...]:
    """Which terms are active at a step. used: share of the stage's steps or time, 0 to 1: where time ends before steps
    do, FLD keeps its share of it."""
    wanted: list[Term] = []
    if config.fa is not None:
        wanted.append("fa")
    if config.fld is not None:
        wanted.append("fld")
    if len(wanted) < 2 or config.schedule == "joint":
        return tuple(wanted)
    if config.schedule == "alternating":
        return ("fa",) if step % 2 == 0 else ("fld",)
    if used < config.steps / total:
        return ("fa",)
    return ("fld",) if config.schedule == "sequential" else ("fa", "fld")


def _total_steps(config: AlignConfig) -> int:
    if config.fa is None:
        return config.distortion_steps
    if config.fld is None or config.schedule in ("joint",):
        return config.steps
    return config.steps + config.distortion_steps


def _milestones(config: AlignConfig, total: int) -> tuple[float, ...]:
    """Shares of the stage after which the embedder is judged: half and all of FA."""
    aligned = min(config.steps, total) if config.fa is not None else total
    return tuple(step / total for step in (aligned // 2, aligned) if step)


@torch.no_grad()
def _measure(problem: _Problem, rows: np.ndarray) -> dict[str, float]:
    """FA, FLD and spread on fixed rows, without touching the training stream."""
    training_stream = problem.rng
    terms: list[Term] = ["fa"] if problem.config.fa else []
    if problem.config.fld and problem.state.predictor is not None:
        terms.append("fld")
    problem.rng = np.random.Generator(np.random.PCG64(0))
    values = problem.losses(rows, tuple(terms)) if terms else {}
    tokens, mask = problem.tokens(rows)
    labels = problem.labels[torch.from_numpy(rows)]
    points, _ = problem.points(tokens, mask, None, labels)
    spread = float((points - points.mean(0)).square().sum(1).mean())
    problem.rng = training_stream
    out: dict[str, float] = {name: float(value) for name, value in values.items()}
    out["spread_ratio"] = (spread / problem.spread) ** 0.5
    return out


@torch.no_grad()
def _cloud(problem: _Problem, rows: np.ndarray) -> np.ndarray:
    tokens, mask = problem.tokens(rows)
    return token_means(tokens, mask).cpu().numpy()


def run(state: State, config: AlignConfig, *, streams: Streams) -> tuple[State, StageReport]:
    """Minimise the configured terms over phi. Raises ConfigError when nothing is left to minimise, or when FLD is
    wanted without a source predictor."""
    notes = []
    if state.source is not None and not state.source.labelled:
        config = config.model_copy(update={"space": "tokens", "fa": "moments", "fld": None})
        notes.append(UNLABELLED)
    if config.fa is None and config.fld is None:
        raise ConfigError("stage 1 has neither FA nor FLD", fix="leave the stage out instead (method no-align)")
    if config.fld is not None and state.predictor is None:
        raise ConfigError(
            f"align.fld = {config.fld!r} needs a source predictor",
            cause="the method has no stage source_head before align",
            fix="put SourceHeadConfig() first, or set align.fld=none",
        )
    monitor, model = state.monitor, state.model
    if state.labels is None:
        state = replace(state, labels=target_labels(state.train, config.clusters, streams.seed_for("clusters") % 2**31))
    total = _total_steps(config)
    resumed = monitor.begin("align", steps=total)
    started = time.monotonic()
    model.eval()
    problem = _Problem(state, config, streams)
    fixed = np.arange(len(state.train))[:: max(1, len(state.train) // state.probe_rows)][: state.probe_rows]
    parameters = [p for p in model.embedder.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0)
    step, reference = 0, float("nan")
    candidates = Candidates(state) if config.keep == "best" else None
    if resumed:
        step, parts = unpack(resumed, streams)
        problem.rng = streams["alignment"]
        model.embedder.load_state_dict(parts["embedder"])
        optimiser.load_state_dict(parts["optimiser"])
        before, cloud_before, reference = parts["before"], parts["cloud"].numpy(), parts["reference"]
        if candidates is not None:
            candidates.load_state_dict(parts["candidates"])
    else:
        before, cloud_before = _measure(problem, fixed), _cloud(problem, fixed)
        if candidates is not None:
            candidates.judge(0)

    milestones = _milestones(config, total)
    passed = sum(monitor.progress(step) >= mark for mark in milestones)

    def save() -> dict[str, Any]:
        return pack(
            step, monitor.elapsed(), streams, embedder=model.embedder.state_dict(), optimiser=optimiser.state_dict(),
            before=before, cloud=torch.from_numpy(cloud_before), reference=reference,
            candidates=None if candidates is None else candidates.state_dict(),
        )  # fmt: skip

    stopped = "steps"
    while step < total:
        used = monitor.progress(step)
        if used >= 1 or not (candidates is None or candidates.affordable(monitor.remaining(), 1)):
            stopped = "steps" if step >= total else "budget"
            break
        terms = _terms(config, step, used, total)
        if config.schedule == "constrained" and len(terms) == 2 and math.isnan(reference):
            reference = _measure(problem, fixed).get("fa", float("nan"))
        values = problem.losses(problem.rows(), terms)
        loss = _objective(values, config, reference)
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, grad in zip(parameters, grads):
            parameter.grad = grad
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        monitor.event(
            "step",
            stage="align",
            step=step,
            loss=float(loss.detach()),
            **{k: float(v.detach()) for k, v in values.items()},
        )
        step += 1
        before_it, passed = passed, sum(monitor.progress(step) >= mark for mark in milestones)
        if (
            candidates is not None
            and passed > before_it
            and candidates.affordable(monitor.remaining(), 2)  # the last one must be judged too
        ):
            candidates.judge(step)
        monitor.checkpoint("align", step, save)
    if candidates is not None:
        candidates.judge(step)
        kept = candidates.restore()
        notes += [] if kept is None else [kept]
    after = _measure(problem, fixed)
    labels = problem.labels.numpy()[fixed]
    source_cloud = problem.bank.token_means()
    source_cloud = source_cloud[:: max(1, len(source_cloud) // 300)][:300]
    monitor.diagnostic(
        "alignment", source=source_cloud.numpy(), before=cloud_before, after=_cloud(problem, fixed), labels=labels
    )
    if after["spread_ratio"] < 0.5:
        notes.append(
            f"the target cloud contracted to {after['spread_ratio']:.2f} of the source's spread: mini-batch transport "
            "with few points in high dimension pulls points together; use more target points or fewer steps"
        )
    if problem.converged and not all(problem.converged):
        notes.append(
            f"{problem.converged.count(False)} of {len(problem.converged)} transport problems did not converge"
        )
    figures: dict[str, Any] = {f"{k}_before": v for k, v in before.items()} | {
        f"{k}_after": v for k, v in after.items()
    }
    figures["converged"] = all(problem.converged)
    if candidates is not None:
        figures |= {"kept_step": candidates.best_step, "press_before": candidates.judged[0],
                    "press_after": candidates.judged[candidates.best_step]}  # fmt: skip
    report = StageReport("align", step, monitor.elapsed() or time.monotonic() - started, stopped, figures, tuple(notes))
    return state, report


def _objective(values: dict[Term, Tensor], config: AlignConfig, reference: float) -> Tensor:
    fa, fld = values.get("fa"), values.get("fld")
    if fa is None:
        assert fld is not None
        return config.weight * fld
    if fld is None:
        return fa
    if config.schedule == "constrained":
        # a penalty on leaving the feasible set, in units of the reference distance
        excess = (fa - (1 + config.tolerance) * reference).clamp_min(0) / max(reference, 1e-12)
        return fld + 10.0 * excess
    return fa + config.weight * fld
