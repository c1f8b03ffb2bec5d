"""Embedders: amplitude survives, padding and missing values behave, the scale is the one asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from crosstune.backbones import load_backbone
from crosstune.nn.embedders import PatchEmbedder, TableEmbedder
from crosstune.nn.patching import plan_patches

WIDTH = 32
MARGIN = 0.02  # relative distance between the tokens of two signals of different amplitude


def patch_embedder(channels: int, size: tuple[int, ...], tokens: int = 16, width: int = WIDTH) -> PatchEmbedder:
    plan = plan_patches(size, tokens=tokens, limit=64)
    return PatchEmbedder(channels, plan, width, generator=torch.Generator().manual_seed(0))


def variants(x: Tensor) -> dict[str, Tensor]:
    return {"x": x, "-x": -x, "5x": 5 * x, "x/5": x / 5, "x+c": x + 1.5}


def signal(*shape: int) -> Tensor:
    """Noise without values near zero: the negative of nothing is nothing."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    return x.sign() * x.abs().clamp_min(0.3)


def smallest_gap(embed: nn.Module, x: Tensor, after: nn.Module | None = None) -> float:
    """Smallest relative distance between a window's token in x and in a variant of x.

    The statistics token is left out: a symmetric signal and its negative have the same statistics.
    """
    with torch.no_grad():
        tokens = {}
        for name, values in variants(x).items():
            out = embed(values)
            out = out[0][:, 1:] if isinstance(embed, PatchEmbedder) else out[0] if isinstance(out, tuple) else out
            tokens[name] = after(out) if after is not None else out
    gaps = []
    for name in set(tokens) - {"x"}:
        scale = torch.maximum(tokens["x"].norm(dim=-1), tokens[name].norm(dim=-1))
        gaps.append(float(((tokens["x"] - tokens[name]).norm(dim=-1) / scale).min()))
    return min(gaps)


class SignOnly(nn.Module):
    """The smallest wrong embedder: layer-normalised convolution without bias on one-sample tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv1d(1, WIDTH, 1, bias=False)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.project(x).transpose(1, 2))


@pytest.mark.parametrize("size", [(40,), (12, 12), (6, 6, 6)], ids=["1-D", "2-D", "3-D"])
@pytest.mark.parametrize("normed", [False, True], ids=["tokens", "behind layer norm"])
def test_amplitude_sign_and_level_survive(size: tuple[int, ...], normed: bool) -> None:
    x = signal(8, 1, *size)
    embedder = patch_embedder(1, size)
    embedder.calibrate(x, None, rms=0.05)
    after = load_backbone("twin-bert").body.model.embeddings.LayerNorm if normed else None  # type: ignore[union-attr]
    assert smallest_gap(embedder, x, after) > MARGIN  # type: ignore[arg-type]


def test_amplitude_survives_minilm_scale_normalisation() -> None:
    body = load_backbone("minilm").body
    x = signal(8, 1, 64)
    embedder = patch_embedder(1, (64,), width=body.width)
    embedder.calibrate(x, None, rms=0.05)
    assert smallest_gap(embedder, x, body.model.embeddings.LayerNorm) > MARGIN  # type: ignore[union-attr,arg-type]


def test_amplitude_of_table_values_survives() -> None:
    x = torch.rand(32, 5, generator=torch.Generator().manual_seed(2)) + 0.2
    embedder = TableEmbedder(5, {}, WIDTH, generator=torch.Generator().manual_seed(0))
    embedder.calibrate(x, None, rms=0.05)
    assert smallest_gap(embedder, x, nn.LayerNorm(WIDTH)) > MARGIN


def test_the_amplitude_check_rejects_an_embedder_that_keeps_the_sign_only() -> None:
    torch.manual_seed(0)
    assert smallest_gap(SignOnly(), signal(4, 1, 20)) < MARGIN


@pytest.mark.parametrize("rms", [0.05, 1.0])
@pytest.mark.parametrize("ragged", [False, True])
def test_calibrate_gives_the_asked_root_mean_square(rms: float, ragged: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    x = 7 * torch.randn(64, 2, 100, generator=generator)
    lengths = torch.randint(20, 100, (64,), generator=generator) if ragged else None
    embedder = patch_embedder(2, (100,), width=384)
    embedder.calibrate(x, lengths, rms=rms)
    tokens, mask = embedder(x, lengths)
    windows = tokens[:, 1:][mask[:, 1:]]  # the statistics token is not part of the calibration
    assert float(windows.square().mean().sqrt().detach()) == pytest.approx(rms, rel=0.05)


def test_calibrate_table_gives_the_asked_root_mean_square() -> None:
    x = 3 * torch.randn(200, 6, generator=torch.Generator().manual_seed(3))
    embedder = TableEmbedder(6, {}, 384, generator=torch.Generator().manual_seed(0))
    embedder.calibrate(x, None, rms=0.05)
    assert float(embedder(x)[0].square().mean().sqrt().detach()) == pytest.approx(0.05, rel=0.05)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=4),
    pad=st.integers(0, 60),
    junk=st.sampled_from([0.0, 3.0, float("nan")]),
)
def test_padding_never_changes_tokens(lengths: list[int], pad: int, junk: float) -> None:
    """Each row alone and unpadded gives the same valid tokens as inside a padded batch, whatever the pad holds."""
    embedder = patch_embedder(2, (40,), tokens=9)
    embedder.calibrate(torch.randn(16, 2, 40, generator=torch.Generator().manual_seed(0)), None, rms=1.0)
    size = max(lengths) + pad
    generator = torch.Generator().manual_seed(sum(lengths))
    x = torch.full((len(lengths), 2, size), junk)
    for row, n in enumerate(lengths):
        x[row, :, :n] = torch.randn(2, n, generator=generator)
    tokens, mask = embedder(x, torch.tensor(lengths))
    for row, n in enumerate(lengths):
        alone, own = embedder(x[row : row + 1, :, :n], torch.tensor([n]))
        assert bool(own.all())
        assert int(mask[row].sum()) == own.shape[1]
        assert torch.allclose(tokens[row][mask[row]], alone[0], atol=1e-5)


def test_valid_tokens_come_before_padding_so_positions_do_not_move() -> None:
    embedder = patch_embedder(1, (40,))
    _, mask = embedder(torch.randn(3, 1, 40), torch.tensor([5, 20, 40]))
    steps = mask.to(torch.int8).diff(dim=1)
    assert bool((steps <= 0).all())


def test_a_full_ragged_row_equals_a_plain_one_up_to_its_length_entry() -> None:
    embedder = patch_embedder(2, (40,))
    x = torch.randn(3, 2, 40)
    plain, _ = embedder(x)
    ragged, mask = embedder(x, torch.full((3,), 40))
    assert bool(mask.all())
    assert torch.allclose(plain, ragged, atol=1e-5)


def test_other_extents_are_accepted() -> None:
    embedder = patch_embedder(1, (12, 12))
    tokens, mask = embedder(torch.randn(2, 1, 19, 7))
    assert tokens.shape[:2] == mask.shape
    assert tokens.shape[1] == 1 + embedder.plan.grid_for((19, 7))[0] * embedder.plan.grid_for((19, 7))[1]


def test_windows_agree_with_numpy_slices() -> None:
    embedder = patch_embedder(2, (23,), tokens=5)
    x = torch.randn(1, 2, 23)
    window, stride = embedder.plan.window[0], embedder.plan.stride[0]
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (0, 100)))
    features, statistics, _ = embedder.raw_features(x, None)
    for k in range(embedder.plan.tokens):
        values = padded[0, :, k * stride : k * stride + window]
        inside = x[0, :, k * stride : k * stride + window].numpy()  # padding is no part of the mean and spread
        expected = np.concatenate([values.ravel(), np.arcsinh(values).ravel(), inside.mean(1), inside.std(1)])
        assert np.allclose(features[0, k], expected, atol=2e-4)
    flat = x.numpy()[0]
    expected = np.concatenate([flat.mean(1), flat.std(1), np.arcsinh(flat.min(1)), np.arcsinh(flat.max(1)), [0]])
    assert np.allclose(statistics[0], expected, atol=1e-4)


def test_gradients_are_finite_on_constant_windows() -> None:
    embedder = patch_embedder(1, (40,))
    x = torch.zeros(2, 1, 40, requires_grad=True)
    embedder(x)[0].sum().backward()
    assert bool(torch.isfinite(x.grad).all())  # type: ignore[arg-type]


# -- tables -----------------------------------------------------------------------------------------------------


def table(categories: dict[int, int] | None = None) -> TableEmbedder:
    return TableEmbedder(3, categories or {}, WIDTH, generator=torch.Generator().manual_seed(0))


def test_a_missing_value_has_its_own_token_whatever_stands_in_its_place() -> None:
    embedder = table()
    nn.init.normal_(embedder.missing)
    present = torch.tensor([[0.5, 0.5, 0.5, 0.0, 0.0, 0.0]])
    lost = torch.tensor([[0.5, 0.5, 0.5, 0.0, 1.0, 0.0]])
    other = torch.tensor([[0.5, -9.0, 0.5, 0.0, 1.0, 0.0]])
    a, b, c = (embedder(x)[0][0] for x in (present, lost, other))
    assert torch.equal(b, c)
    assert torch.equal(a[[0, 2]], b[[0, 2]])
    assert float((a[1] - b[1]).norm().detach()) > 0.1 * float(a[1].norm().detach())


def test_categories_are_looked_up_per_column() -> None:
    embedder = table({0: 3, 2: 2})
    rows = torch.tensor([[0.0, 0.3, 0.0], [1.0, 0.3, 1.0], [2.0, 0.3, 0.0]])
    tokens, mask = embedder(rows)
    assert bool(mask.all())
    assert torch.allclose(tokens[0, 1], tokens[2, 1])
    assert torch.allclose(tokens[0, 2], tokens[2, 2])
    distinct = torch.cdist(tokens[:, 0], tokens[:, 0]) + 1e9 * torch.eye(3)
    assert float(distinct.min().detach()) > 0.1
    # the same code in two columns is not the same token
    assert not torch.allclose(tokens[0, 0], tokens[0, 2])


@pytest.mark.parametrize("code", [-1.0, 3.0, 1e6])
def test_codes_never_seen_in_training_give_finite_tokens_of_their_own_column(code: float) -> None:
    embedder = table({0: 3, 2: 2})
    known = embedder(torch.tensor([[float(k), 0.0, 0.0] for k in range(3)]))[0][:, 0]
    strange = embedder(torch.tensor([[code, 0.0, 0.0]]))[0]
    assert bool(torch.isfinite(strange).all())
    assert float((known - strange[0, 0]).norm(dim=-1).min().detach()) == pytest.approx(0.0, abs=1e-6)
