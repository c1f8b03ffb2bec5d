"""The loss of a pretraining: a sum of classification, contrast and regression of hidden windows, by the recipe."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosstune.nn.embedders import PatchEmbedder
from crosstune.nn.heads import pool_layers
from crosstune.nn.patching import plan_patches
from crosstune.pretraining.networks import Network
from crosstune.pretraining.recipe import Recipe

PROJECTED = 64  # width in which instances are compared
FOREIGN_TOKENS = (16, 32, 32, 49)  # about as many as targets have


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


@torch.no_grad()
def foreign_tokens(network: Network, x: Tensor, generator: torch.Generator) -> tuple[Tensor, tuple[int, ...]]:
    """Tokens (B, T, width) of a random embedder, drawn anew, at the scale of theta's, and their grid.

    In half of the calls level and scale belong to the class: rows 2 i and 2 i + 1 share theirs. The batch is
    standardised as a target's rows are.
    """

    def normal(rows: int) -> Tensor:
        return torch.randn(rows, 1, generator=generator).to(x.device)

    flat = x.flatten(1)
    if bool(torch.rand((), generator=generator) < 0.5):
        pairs = (len(x) + 1) // 2
        level, scale = (normal(pairs).repeat_interleave(2, dim=0)[: len(x)] for _ in range(2))
        flat = flat * (0.5 * scale).exp() + level + 0.2 * normal(len(x))
    flat = (flat - flat.mean()) / flat.std().clamp_min(1e-6)
    signals = flat.reshape(x.shape)
    size = tuple(x.shape[2:])
    count = FOREIGN_TOKENS[int(torch.randint(len(FOREIGN_TOKENS), (), generator=generator))]
    plan = plan_patches(size, tokens=count, limit=network.body.limit(len(size)) - 2, channels=x.shape[1])
    embedder = PatchEmbedder(x.shape[1], plan, network.body.width, generator=generator).to(x.device)
    theta = network.tokens(x)[0].float()
    embedder.calibrate(signals, None, rms=float(theta.square().mean().sqrt()))
    return embedder(signals)[0], plan.grid


def loss_and_parts(
    recipe: Recipe, network: Network, heads: Heads, x: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and its parts and the share of right classes by name. x (B, C, *size), labels (B,).
    generator: of what is hidden, and of foreign embedders."""
    weights = recipe.objective
    if recipe.foreign and bool(torch.rand((), generator=generator) < recipe.foreign):
        assert heads.projection is not None
        tokens, grid = foreign_tokens(network, x, generator)
        seen = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        pooled = heads.norm(pool_layers((network.body(tokens, seen, grid)[-1].float(),), seen))
        loss = contrast(heads.projection(pooled), recipe.temperature)
        return weights.contrastive * loss, {"foreign": float(loss.detach())}
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
