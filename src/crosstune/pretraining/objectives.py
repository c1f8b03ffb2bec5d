"""The loss of a pretraining: a sum of classification, contrast and regression of hidden windows, by the recipe."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosstune.nn.heads import pool_layers
from crosstune.pretraining.networks import Network
from crosstune.pretraining.recipe import Recipe

PROJECTED = 64  # width in which instances are compared


class Heads(nn.Module):
    """What the objectives add to a network; none of it is exported."""

    def __init__(self, recipe: Recipe, network: Network) -> None:
        super().__init__()
        pooled = 2 * network.body.hidden
        self.norm = nn.LayerNorm(pooled)
        self.classes = nn.Linear(pooled, recipe.classes) if recipe.objective.supervised else None
        self.projection = nn.Linear(pooled, PROJECTED) if recipe.objective.contrastive else None
        self.values = nn.Linear(network.body.hidden, network.values) if recipe.objective.masked else None
        self.mask_token = nn.Parameter(0.02 * torch.randn(network.body.width)) if recipe.objective.masked else None


def hidden_places(rows: int, grid: tuple[int, ...], share: float, generator: torch.Generator) -> Tensor:
    """(rows, prod(grid)) booleans: blocks of places to hide, about ``share`` of all. A block spans four places of a
    line (its windows overlap, so that single ones could be read off their neighbours) or two along each axis of a
    grid."""
    span = 4 if len(grid) == 1 else 2
    blocks = [math.ceil(n / span) for n in grid]
    drawn = torch.rand(rows, *blocks, generator=generator) < share
    for axis, n in enumerate(grid):
        drawn = drawn.repeat_interleave(span, dim=1 + axis).narrow(1 + axis, 0, n)
    return drawn.flatten(1)


def contrast(projected: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding a row's partner among all others by cosine; rows 2 i and 2 i + 1 are partners. (Chen et
    al., ICML 2020.) projected (B, d) with even B; a partnerless last row is left out."""
    z = F.normalize(projected[: len(projected) // 2 * 2].float(), dim=1)
    likeness = z @ z.T / temperature
    likeness.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(z), device=z.device) ^ 1
    return F.cross_entropy(likeness, partner)


def loss_and_parts(
    recipe: Recipe, network: Network, heads: Heads, x: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and its parts and the share of right classes by name. x (B, C, *size), labels (B,).
    generator: of what is hidden."""
    weights = recipe.objective
    tokens, grid = network.tokens(x)
    lead = tokens.shape[1] - math.prod(grid)
    hide: Tensor | None = None
    if heads.mask_token is not None:
        hide = hidden_places(len(x), grid, recipe.hidden, generator).to(x.device)
        whole = F.pad(hide, (lead, 0))
        tokens = torch.where(whole[:, :, None], heads.mask_token.to(tokens.dtype), tokens)
    seen = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    last = network.body(tokens, seen, grid)[-1].float()
    pooled = heads.norm(pool_layers((last,), seen))
    total, parts = x.new_zeros(()), {}
    if heads.classes is not None:
        logits = heads.classes(pooled).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.smoothing)
        total, parts["supervised"] = total + weights.supervised * loss, float(loss.detach())
        parts["accuracy"] = float((logits.argmax(1) == labels).float().mean())
    if heads.projection is not None:
        loss = contrast(heads.projection(pooled), recipe.temperature)
        total, parts["contrastive"] = total + weights.contrastive * loss, float(loss.detach())
    if heads.values is not None and hide is not None:
        error = (heads.values(last[:, lead:]) - network.windows(x)).square().mean(-1)
        loss = (error * hide).sum() / hide.sum().clamp_min(1)
        total, parts["masked"] = total + weights.masked * loss, float(loss.detach())
    return total, parts
