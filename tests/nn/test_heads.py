"""Heads: painting is a partition of unity, pooling sees valid tokens only."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crosstune.nn.heads import FieldHead, PooledHead, pool_layers
from crosstune.nn.patching import plan_patches

same_resolution = [((64,), 1), ((101,), 2), ((7,), 1), ((1,), 1), ((24, 24), 1), ((13, 29), 2), ((31, 5), 1)]


def head_for(size: tuple[int, ...], out_size: tuple[int, ...], channels: int = 1, tokens: int = 36) -> FieldHead:
    return FieldHead((4, 4), plan_patches(size, tokens=tokens, limit=126), channels, out_size)


def constant_patches(head: FieldHead, size: tuple[int, ...], values: Tensor) -> Tensor:
    tokens = 1
    for g in head.plan.grid_for(size):
        tokens *= g
    per_channel = head.linear.out_features // head.out_channels
    return values.repeat_interleave(per_channel).expand(2, tokens, -1)


@pytest.mark.parametrize(("size", "channels"), same_resolution)
def test_constant_patches_paint_a_constant_field(size: tuple[int, ...], channels: int) -> None:
    head = head_for(size, size, channels)
    values = torch.arange(1.0, channels + 1)
    field = head.paint(constant_patches(head, size, values), size)
    assert tuple(field.shape) == (2, channels, *size)
    assert torch.allclose(field, values.view(1, -1, *[1] * len(size)).expand_as(field), atol=1e-5)


def test_the_check_rejects_painting_without_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    head = head_for((64,), (64,))
    monkeypatch.setattr(head, "_blend", lambda: torch.ones(head.out_window[0]))
    even = head.paint(constant_patches(head, (64,), torch.ones(1)), (64,))
    assert torch.allclose(even, torch.ones_like(even))  # any window works, once normalised
    import torch.nn.functional as F

    patches = constant_patches(head, (64,), torch.ones(1)).transpose(1, 2)
    summed = F.fold(patches, output_size=(1, 64), kernel_size=(1, head.out_window[0]), stride=(1, head.out_stride[0]))
    assert not torch.allclose(summed, torch.ones_like(summed))


@pytest.mark.parametrize(("size", "channels"), same_resolution)
def test_the_patches_of_a_field_paint_the_field(size: tuple[int, ...], channels: int) -> None:
    head = head_for(size, size, channels)
    field = torch.randn(3, channels, *size, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(head.paint(head.target_patches(field, size), size), field, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(size=st.one_of(st.tuples(st.integers(1, 300)), st.tuples(st.integers(1, 60), st.integers(1, 60))))
def test_any_size_is_reproduced(size: tuple[int, ...]) -> None:
    head = head_for(size, size)
    field = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(head.paint(head.target_patches(field, size), size), field, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "out_size"),
    [((64,), (128,)), ((64,), (192,)), ((128,), (32,)), ((24, 24), (48, 48)), ((48, 48), (24, 24))],
)
def test_whole_ratios_of_resolution_are_exact(size: tuple[int, ...], out_size: tuple[int, ...]) -> None:
    head = head_for(size, out_size, tokens=16)
    field = torch.randn(2, 1, *out_size, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(head.paint(head.target_patches(field, size), size), field, atol=1e-5)


@pytest.mark.parametrize(("size", "out_size"), [((101,), (50,)), ((64,), (100,)), ((30, 21), (17, 40))])
def test_other_ratios_keep_smooth_fields_and_constants(size: tuple[int, ...], out_size: tuple[int, ...]) -> None:
    head = head_for(size, out_size)
    axes = [torch.sin(3 * (torch.arange(n) + 0.5) / n) for n in out_size]
    field = axes[0] if len(axes) == 1 else axes[0][:, None] * axes[1][None, :]
    field = field[None, None]
    painted = head.paint(head.target_patches(field, size), size)
    assert painted.shape == field.shape
    assert float((painted - field).norm() / field.norm()) < 0.02
    flat = head.paint(constant_patches(head, size, torch.ones(1)), size)
    assert torch.allclose(flat, torch.ones_like(flat), atol=1e-5)


@pytest.mark.parametrize(("fitted", "seen"), [((64,), (96,)), ((64,), (32,)), ((24, 24), (30, 18))])
def test_inputs_of_another_resolution_scale_the_output(fitted: tuple[int, ...], seen: tuple[int, ...]) -> None:
    head = head_for(fitted, fitted)
    field = head.paint(constant_patches(head, seen, torch.ones(1)), seen)
    assert tuple(field.shape[2:]) == seen
    assert torch.allclose(field, torch.ones_like(field), atol=1e-5)


def test_the_statistics_token_paints_nothing() -> None:
    head = head_for((64,), (64,))
    tokens = head.plan.tokens
    hidden = tuple(torch.randn(2, tokens + 1, 4) for _ in range(2))
    torch.nn.init.normal_(head.linear.weight)
    mask = torch.ones(2, tokens + 1, dtype=torch.bool)
    before = head(hidden, mask, None, (64,))
    for states in hidden:
        states[:, 0] = 99.0
    assert torch.equal(before, head(hidden, mask, None, (64,)))


def test_pooling_is_the_masked_mean_and_maximum_of_every_layer() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True]])
    hidden = tuple(torch.randn(2, 3, 5) for _ in range(3))
    pooled = pool_layers(hidden, mask)
    expected = []
    for row in range(2):
        valid = [states[row][mask[row]] for states in hidden]
        expected.append(torch.cat([part for v in valid for part in (v.mean(0), v.amax(0))]))
    assert torch.allclose(pooled, torch.stack(expected), atol=1e-6)


def test_padding_tokens_do_not_reach_the_pooled_head() -> None:
    head = PooledHead((5, 5, 5), 3)
    torch.nn.init.normal_(head.linear.weight)
    mask = torch.tensor([[True, True, False]])
    hidden = tuple(torch.randn(1, 3, 5) for _ in range(3))
    before = head(hidden, mask, None)
    for states in hidden:
        states[:, 2] = 1e6
    assert torch.equal(before, head(hidden, mask, None))
