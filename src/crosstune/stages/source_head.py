"""Stage 0: the source predictor p_s(z|u) = frozen pretrained body + a linear head on a labelled source proxy.

Cross-entropy plus the hinge penalty ``rho * mean_i relu(||grad_h l_i|| - tau)^2`` that enforces the Lipschitz constant
of the bound at the samples (not between them: the global constant is reported beside it). The head is linear in the
mean-pooled last layer h, where the gradient of ``-log p_s(z|h)`` is ``W'(p - e_z)`` in closed form, so the norm is
exact and per sample.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from crosstune.backbones import Body
from crosstune.information.lipschitz import linear_head_gradient_norms, linear_head_lipschitz
from crosstune.nn.heads import token_means
from crosstune.records import StageReport
from crosstune.seeding import Streams
from crosstune.stages.state import Count, NotNegative, Positive, Share, SourceBank, SourcePredictor, StageConfig, State


class SourceHeadConfig(StageConfig):
    """labels: the proxy's own classes ("classes", or "topics", as those of texts are called), or "clusters:K" of the
    source features, whatever their modality (more classes lower the bound's floor).
    tau, rho: Lipschitz target and weight of the penalty (0.4 and 100 in the reference)."""

    name: Literal["source_head"] = "source_head"
    labels: Annotated[str, Field(pattern=r"^(topics|classes|clusters:[1-9][0-9]*)$")] = "topics"
    iterations: Count = 150
    weight_decay: NotNegative = 1e-4
    tau: Positive | None = 0.4
    rho: NotNegative = 100.0
    holdout: Share = 0.2


@torch.no_grad()
def mean_hidden(
    body: Body, tokens: Tensor, mask: Tensor, grid: tuple[int, ...] | None = None, *, batch_size: int = 64,
    on_share: Callable[[float], None] | None = None,
) -> Tensor:  # fmt: skip
    """Last layer's mean over valid tokens, (n, H) on the CPU, body in evaluation mode. grid: of the tokens, None for a
    sequence. ``on_share`` hears how far."""
    body.eval()
    device = next(body.parameters()).device
    parts = []
    for start in range(0, len(tokens), batch_size):
        m = mask[start : start + batch_size].to(device)
        parts.append(token_means(body(tokens[start : start + batch_size].to(device), m, grid)[-1], m).cpu())
        if on_share is not None:
            on_share(min(1.0, (start + batch_size) / len(tokens)))
    return torch.cat(parts)


def cluster_labels(hidden: Tensor, k: int, seed: int) -> Tensor:
    """k-means of the standardised source features: as many source classes as the target needs."""
    from crosstune.information import cluster_targets

    z = (hidden - hidden.mean(0)) / hidden.std(0).clamp_min(1e-6)
    return torch.as_tensor(np.asarray(cluster_targets(z.numpy(), k, seed).labels)).long()


def source_labels(bank: SourceBank, spec: str, seed: int) -> tuple[Tensor, tuple[str, ...]]:
    """Labels by specification: "classes", "topics" or "clusters:K"."""
    if spec in ("topics", "classes"):
        return bank.labels, bank.classes
    k = min(int(spec.removeprefix("clusters:")), len(bank.hidden) // 4)
    labels = cluster_labels(bank.hidden, k, seed)
    return labels, tuple(f"cluster {i}" for i in range(k))


def run(state: State, config: SourceHeadConfig, *, streams: Streams) -> tuple[State, StageReport]:
    """Train the head on cached features; the bank and the frozen predictor go into the state. Without labelled source
    data there is nothing to learn: the stage is skipped, the state comes back as it was."""
    assert state.source is not None, "the run prepares the source bank before the stage"
    if not state.source.labelled:
        state.monitor.begin("source_head")
        return state, StageReport("source_head", 0, 0.0, "no labels", {}, ("no labelled source data: no source head",))
    started = time.monotonic()
    rng = streams["source_head"]
    labels, classes = source_labels(state.source, config.labels, int(rng.integers(2**31)))
    n, k = len(labels), len(classes)
    held = torch.zeros(n, dtype=torch.bool)
    held[torch.from_numpy(rng.permutation(n)[: int(config.holdout * n)])] = True
    bank = replace(state.source, labels=labels, classes=classes, holdout=held)
    h, z = bank.hidden[~held], labels[~held]
    centre, spread = h.mean(0), h.std(0)
    # a direction in which the features hardly move must not be blown up: it would carry the whole gradient norm
    spread = spread.clamp_min(0.1 * float(spread.median()))

    # trained on standardised features, then folded back: the penalty is measured in h itself
    weight = torch.zeros(k, h.shape[1], requires_grad=True)
    bias = torch.zeros(k, requires_grad=True)

    def folded_head() -> tuple[Tensor, Tensor]:
        folded = weight / spread
        return folded, bias - folded @ centre

    def objective() -> Tensor:
        folded, shift = folded_head()
        loss = F.cross_entropy(F.linear(h, folded, shift), z) + config.weight_decay * weight.square().sum() / 2
        if config.tau is not None:
            norms = linear_head_gradient_norms(h, folded, shift, z)
            loss = loss + config.rho * (norms - config.tau).clamp_min(0).square().mean()
        return loss

    state.monitor.begin("source_head")
    # Smooth (but for the hinge) in few thousand parameters: a quasi-Newton method needs no tuning. The reference
    # trains without the penalty first; from that optimum the penalty is so steep that no step is found at all, so
    # the penalised problem is solved from zero, where the head is feasible.
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=config.iterations, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = objective()
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[arg-type]
    total = int(optimiser.state[weight]["n_iter"])
    state.monitor.event("step", stage="source_head", step=total, loss=float(objective().detach()))
    with torch.no_grad():
        folded, shift = (part.detach() for part in folded_head())
        logits = F.linear(bank.hidden, folded, shift)
        norms = linear_head_gradient_norms(bank.hidden, folded, shift, labels)
        figures = {
            "classes": k,
            "passages": n,
            "holdout_accuracy": float((logits[held].argmax(1) == labels[held]).float().mean()),
            "holdout_log_loss": float(F.cross_entropy(logits[held], labels[held])),
            "gradient_norm_max": float(norms.max()),
            "gradient_norm_p99": float(norms.quantile(0.99)),
            "lipschitz": linear_head_lipschitz(folded),
        }
    state = replace(state, source=bank, predictor=SourcePredictor(folded, shift))
    report = StageReport("source_head", total, time.monotonic() - started, "steps", figures)
    return state, report
