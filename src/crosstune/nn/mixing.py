"""Samples between two modalities: some tokens of a target sample replaced by tokens of a source sample.

After "Enhancing Cross-Modal Fine-Tuning with Gradually Intermediate Modality Generation" (Cai et al., ICML 2024, arXiv
2406.09003), from its description: a gate scores the tokens of both samples; the target keeps those of highest score,
the others make room for the source's tokens of highest score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosstune.nn.heads import token_means

GateKind = Literal["learned", "cosine", "random"]


class Gate(nn.Module):
    """Scores in (0, 1) of how much a token matters: ``gate(tokens (B, T, D), mask (B, T)) -> (B, T)``.

    "learned": sigmoid of a linear map of the layer-normalised token, one map for both modalities; it learns through
    ``replace_tokens``. "cosine": (1 + cos) / 2 between the token and the mean of its sample. "random": uniform, what a
    gate has to beat. generator: of the map's first weights and of the random scores.
    """

    def __init__(self, width: int, kind: GateKind, generator: torch.Generator) -> None:
        super().__init__()
        self.kind, self.generator = kind, generator
        # never zero: equal scores would choose by position
        weight = torch.randn(width, generator=generator) / math.sqrt(width)
        self.weight = nn.Parameter(weight, requires_grad=kind == "learned")

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        if self.kind == "random":
            return torch.rand(tokens.shape[:2], generator=self.generator).to(tokens)
        if self.kind == "cosine":
            return (1 + F.cosine_similarity(tokens, token_means(tokens, mask)[:, None], dim=-1)) / 2
        return (F.layer_norm(tokens, tokens.shape[-1:]) @ self.weight).sigmoid()


@dataclass(frozen=True)
class Mixed:
    """tokens (B, T, D) and their mask (B, T); replaced (B, T): places that hold a source token; kept (B,): share of the
    target's own tokens among those that could be replaced, exactly."""

    tokens: Tensor
    mask: Tensor
    replaced: Tensor
    kept: Tensor


def replaced_count(share: float, places: Tensor) -> Tensor:
    """How many of so many places are replaced: share x places to the nearest whole number, halves up. places: (B,)."""
    return torch.floor(share * places.double() + 0.5).long().clamp_max(places)


def replace_tokens(
    target: tuple[Tensor, Tensor, Tensor], source: tuple[Tensor, Tensor, Tensor], share: float, *, lead: int = 0
) -> Mixed:  # fmt: skip
    """The target's tokens of lowest score give their places to the source's tokens of highest score.

    target, source: tokens (B, T, D), mask (B, T) and scores (B, T), of one source sample per target sample; lengths
    may differ, widths may not. share: of a row's tokens that is replaced, 0 to 1. lead: so many first tokens belong to
    no place and stay. Source tokens come in their own order; a source sample with fewer tokens than there are places
    gives them again from its first. Values are copied as they are; a score's gradient is that of scaling its token
    (straight through: Bengio et al., arXiv 1308.3432), so that a gate learns which tokens the loss asks for.
    """
    tokens, mask, scores = target
    donors, donor_mask, donor_scores = source
    free = mask.clone()
    free[:, :lead] = False
    count = replaced_count(share, free.sum(1))
    rank = _rank(scores.detach().masked_fill(~free, torch.inf))
    replaced = (rank < count[:, None]) & free
    # the chosen source tokens in the order of their sample, then the slot that each place draws from
    chosen = torch.minimum(count, donor_mask.sum(1)).clamp_min(1)
    best = _rank((-donor_scores.detach()).masked_fill(~donor_mask, torch.inf)) < chosen[:, None]
    places = torch.arange(donors.shape[1], device=donors.device).expand_as(best)
    ordered = places.masked_fill(~best, donors.shape[1]).sort(1).values
    slot = (replaced.cumsum(1) - 1).clamp_min(0) % chosen[:, None]
    pick = ordered.gather(1, slot)
    given = donors.gather(1, pick[:, :, None].expand(-1, -1, donors.shape[2]))
    score = torch.where(replaced, donor_scores.gather(1, pick), scores)
    out = torch.where(replaced[:, :, None], given, tokens)
    if score.requires_grad:
        out = out * (1 + (score - score.detach()))[:, :, None]
    kept = 1 - count.double() / free.sum(1).clamp_min(1)
    return Mixed(out, mask, replaced, kept.to(tokens.dtype))


def _rank(values: Tensor) -> Tensor:
    """Place of every entry in its sorted row; equal entries in the order of their columns."""
    return values.argsort(dim=1, stable=True).argsort(dim=1)


def curriculum(progress: float, start: float, levels: int) -> float:
    """Share of replaced tokens at a point of the stage: ``start`` at first, then one of ``levels`` equal steps down at
    a time; the last of them is start / levels, and what comes after the stage has none."""
    level = min(levels - 1, math.floor(max(0.0, progress) * levels))
    return start * (1 - level / levels)
