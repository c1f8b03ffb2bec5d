"""Mixed samples: which tokens go, which come, where to, how many, and what the gate learns from it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crosstune.nn.mixing import Gate, Mixed, curriculum, replace_tokens, replaced_count


def sample(rows: int, tokens: int, start: float, width: int = 3) -> tuple[Tensor, Tensor]:
    """Tokens that say which they are: entry 0 counts up over rows and tokens from ``start``."""
    values = torch.arange(rows * tokens, dtype=torch.float32).reshape(rows, tokens) + start
    return values[:, :, None].repeat(1, 1, width), torch.ones(rows, tokens, dtype=torch.bool)


def mixed(
    scores: list[list[float]], donor_scores: list[list[float]], share: float, *, lead: int = 0,
    mask: Tensor | None = None, donor_mask: Tensor | None = None,
) -> Mixed:  # fmt: skip
    a, b = torch.tensor(scores), torch.tensor(donor_scores)
    tokens, everything = sample(*a.shape, 0)
    donors, all_donors = sample(*b.shape, 1000)
    return replace_tokens(
        (tokens, everything if mask is None else mask, a),
        (donors, all_donors if donor_mask is None else donor_mask, b), share, lead=lead,
    )  # fmt: skip


def first(found: Mixed) -> list[list[float]]:
    return found.tokens[:, :, 0].tolist()


def test_the_lesser_tokens_make_room_for_the_better_ones() -> None:
    """Constructed: the target's 1 and 3 are its least, the source's 1002 and 1001 its best, in their own order."""
    found = mixed([[0.9, 0.1, 0.8, 0.2]], [[0.1, 0.7, 0.9, 0.2]], 0.5)
    assert first(found) == [[0, 1001, 2, 1002]]
    assert found.replaced.tolist() == [[False, True, False, True]]
    assert found.kept.tolist() == [0.5]


def test_the_reverse_choice_would_be_seen() -> None:
    found = mixed([[-0.9, -0.1, -0.8, -0.2]], [[-0.1, -0.7, -0.9, -0.2]], 0.5)
    assert first(found) == [[1000, 1, 1003, 3]]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.99, 1.0])
@pytest.mark.parametrize("tokens", [1, 4, 7, 33])
def test_the_share_is_the_configured_one_exactly(share: float, tokens: int) -> None:
    generator = torch.Generator().manual_seed(tokens)
    found = mixed(torch.rand(5, tokens, generator=generator).tolist(), torch.rand(5, 9).tolist(), share)
    count = int(share * tokens + 0.5)
    assert found.replaced.sum(1).tolist() == [count] * 5
    assert found.kept.tolist() == pytest.approx([1 - count / tokens] * 5, abs=1e-6)
    assert (found.tokens[:, :, 0][found.replaced] >= 1000).all()
    assert (found.tokens[:, :, 0][~found.replaced] < 1000).all()


def test_counts_are_rounded_halves_up() -> None:
    assert replaced_count(0.5, torch.tensor([0, 1, 2, 3, 4, 5])).tolist() == [0, 1, 1, 2, 2, 3]


def test_values_are_copied_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens, donors = torch.randn(4, 11, 8, generator=generator), torch.randn(4, 11, 8, generator=generator)
    mask = torch.ones(4, 11, dtype=torch.bool)
    gate = Gate(8, "learned", generator)
    found = replace_tokens((tokens, mask, gate(tokens, mask)), (donors, mask, gate(donors, mask)), 0.4)
    assert torch.equal(found.tokens[~found.replaced], tokens[~found.replaced])
    for row in range(4):
        given = found.tokens[row][found.replaced[row]]
        assert all(any(torch.equal(token, donor) for donor in donors[row]) for token in given)


def test_padding_and_leading_tokens_stay() -> None:
    mask = torch.tensor([[True, True, True, True, False], [True, True, False, False, False]])
    found = mixed([[0.0] * 5] * 2, [[0.5] * 5] * 2, 1.0, lead=1, mask=mask)
    assert found.replaced.tolist() == [[False, True, True, True, False], [False, True, False, False, False]]
    assert first(found) == [[0, 1000, 1001, 1002, 4], [5, 1005, 7, 8, 9]]
    assert found.kept.tolist() == [0, 0]


def test_a_short_source_sample_gives_its_tokens_again_and_never_its_padding() -> None:
    donor_mask = torch.tensor([[True, True, False]])
    found = mixed([[0.1, 0.2, 0.3, 0.4, 0.5]], [[0.1, 0.2, 0.9]], 1.0, donor_mask=donor_mask)
    assert first(found) == [[1000, 1001, 1000, 1001, 1000]]


def test_a_row_does_not_depend_on_the_others() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(3, 6, generator=generator).tolist(), torch.rand(3, 4, generator=generator).tolist()
    together = mixed(a, b, 0.5).replaced
    alone = torch.cat([mixed([a[i]], [b[i]], 0.5).replaced for i in range(3)])
    assert torch.equal(together, alone)


# -- gates --------------------------------------------------------------------------------------------------------


def test_the_cosine_gate_prefers_what_the_sample_is_about() -> None:
    tokens = torch.tensor([[[1.0, 0.1], [1.0, -0.1], [1.0, 0.0], [-1.0, 0.2]]])
    scores = Gate(2, "cosine", torch.Generator())(tokens, torch.ones(1, 4, dtype=torch.bool))[0]
    assert scores.argmin() == 3
    assert ((scores >= 0) & (scores <= 1)).all()
    longer = Gate(2, "cosine", torch.Generator())(7 * tokens, torch.ones(1, 4, dtype=torch.bool))[0]
    assert torch.allclose(scores, longer, atol=1e-6)


def test_only_the_learned_gate_learns() -> None:
    for kind, learns in (("learned", True), ("cosine", False), ("random", False)):
        gate = Gate(4, kind, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        assert gate.weight.requires_grad == learns
        tokens = torch.randn(2, 5, 4)
        assert gate(tokens, torch.ones(2, 5, dtype=torch.bool)).requires_grad == learns


def test_a_gates_gradient_is_that_of_scaling_its_tokens() -> None:
    """Against the closed form: d loss / d score_t = <d loss / d token_t, token_t>, for kept and given tokens alike."""
    generator = torch.Generator().manual_seed(2)
    tokens, donors = torch.randn(2, 5, 3, generator=generator), torch.randn(2, 4, 3, generator=generator)
    scores = torch.rand(2, 5, generator=generator).requires_grad_()
    donor_scores = torch.rand(2, 4, generator=generator).requires_grad_()
    masks = torch.ones(2, 5, dtype=torch.bool), torch.ones(2, 4, dtype=torch.bool)
    found = replace_tokens((tokens, masks[0], scores), (donors, masks[1], donor_scores), 0.4)
    weight = torch.randn(2, 5, 3, generator=generator)
    (found.tokens * weight).sum().backward()
    each = (found.tokens.detach() * weight).sum(-1)
    assert scores.grad is not None
    assert donor_scores.grad is not None
    assert torch.allclose(scores.grad, torch.where(found.replaced, 0.0, each), atol=1e-6)
    assert donor_scores.grad.sum() == pytest.approx(float(each[found.replaced].sum()), abs=1e-5)


def test_a_learned_gate_finds_the_tokens_that_lower_the_loss() -> None:
    """Planted: only tokens along the first axis lower the loss, whose sign the gate has to find."""
    generator = torch.Generator().manual_seed(3)
    gate = Gate(6, "learned", generator)
    optimiser = torch.optim.Adam([gate.weight], lr=0.1)

    def draw() -> Tensor:
        tokens = 0.3 * torch.randn(8, 10, 6, generator=generator)
        tokens[:, :5, 0] += 2
        tokens[:, 5:, 1] += 2
        return tokens[:, torch.randperm(10, generator=generator)]

    mask = torch.ones(8, 10, dtype=torch.bool)
    for _ in range(25):
        tokens, donors = draw(), draw()
        found = replace_tokens((tokens, mask, gate(tokens, mask)), (donors, mask, gate(donors, mask)), 0.5)
        optimiser.zero_grad()
        (found.tokens[..., 1] - found.tokens[..., 0]).mean().backward()
        optimiser.step()
    tokens, donors = draw(), draw()
    found = replace_tokens((tokens, mask, gate(tokens, mask)), (donors, mask, gate(donors, mask)), 0.5)
    assert (found.tokens[..., 0] > found.tokens[..., 1]).float().mean() > 0.95


# -- curriculum ---------------------------------------------------------------------------------------------------


def test_the_share_falls_in_equal_steps() -> None:
    shares = [curriculum(i / 100, 0.8, 4) for i in range(101)]
    assert sorted(set(shares), reverse=True) == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert shares == sorted(shares, reverse=True)
    assert [shares.count(s) for s in sorted(set(shares), reverse=True)] == [25, 25, 25, 26]
    assert curriculum(7.0, 0.8, 4) == pytest.approx(0.2)
    assert curriculum(0.0, 0.8, 1) == curriculum(1.0, 0.8, 1) == 0.8
