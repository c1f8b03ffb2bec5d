"""Layers computed twice give the same gradients in less memory, in every family; what counts as out of memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crosstune.backbones import load_backbone
from crosstune.backbones.contract import Body
from crosstune.backbones.load import families
from crosstune.nn.memory import is_out_of_memory, recomputed

# an even grid that windows shift over, one that a single window covers, a series with padding
PLACES: list[tuple[tuple[int, ...], int | None]] = [((8, 8), None), ((3, 3), None), ((7,), 4)]


def gradients(body: Body, grid: tuple[int, ...], padded_from: int | None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    count = int(torch.tensor(grid).prod())
    tokens = (0.3 * torch.randn(2, count, body.width, generator=generator)).requires_grad_()
    mask = torch.ones(2, count, dtype=torch.bool)
    if padded_from is not None:
        mask[0, padded_from:] = False
    body.zero_grad(set_to_none=True)
    states = body(tokens, mask, grid)
    weights = [torch.linspace(-1, 1, s.numel()).view_as(s) for s in states]
    sum(((s * w).sum() for s, w in zip(states, weights)), torch.zeros(())).backward()
    assert tokens.grad is not None
    return {n: p.grad.clone() for n, p in body.named_parameters() if p.grad is not None} | {"tokens": tokens.grad}


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[n] - other[n]).abs().max() / one[n].abs().max().clamp_min(1e-9)) for n in one)


@pytest.mark.parametrize("family", list(families()))
@pytest.mark.parametrize(("grid", "padded_from"), PLACES, ids=str)
def test_gradients_are_the_same(family: str, grid: tuple[int, ...], padded_from: int | None) -> None:
    body = load_backbone(f"twin-{family}").body.eval()  # evaluation mode, in which transformers' own does nothing
    plain = gradients(body, grid, padded_from)
    with recomputed(body.blocks(), body.volatile):
        assert furthest(plain, gradients(body, grid, padded_from)) < 1e-6
    assert all("forward" not in vars(block) for block in body.blocks())


def test_dropout_is_drawn_once() -> None:
    body = load_backbone("twin-bert").body.train()
    torch.manual_seed(3)
    plain = gradients(body, (7,), None)
    torch.manual_seed(3)
    with recomputed(body.blocks()):
        assert furthest(plain, gradients(body, (7,), None)) < 1e-6
    torch.manual_seed(4)
    assert furthest(plain, gradients(body, (7,), None)) > 1e-2


def test_what_a_call_sets_on_a_block_must_be_remembered() -> None:
    """Swin turns its shift off where one window covers the grid. The second computation would turn it on again."""
    body = load_backbone("twin-swin").body.eval()
    plain = gradients(body, (4, 4), None)
    with recomputed(body.blocks(), body.volatile):
        assert furthest(plain, gradients(body, (4, 4), None)) < 1e-6
    with recomputed(body.blocks()):
        assert furthest(plain, gradients(body, (4, 4), None)) > 1e-3


def kept(body: Body, tokens: Tensor) -> int:
    """Bytes that the forward pass keeps for the backward pass."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        body(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))
    return sum(sizes.values())


@pytest.mark.parametrize("family", ["bert", "gpt2", "vit", "swin", "t5"])
def test_less_is_kept(family: str) -> None:
    body = load_backbone(f"twin-{family}").body.eval()
    tokens = torch.randn(2, 64, body.width, requires_grad=True)
    plain = kept(body, tokens)
    with recomputed(body.blocks(), body.volatile):
        assert kept(body, tokens) < plain / 3


def test_nothing_is_kept_without_gradients() -> None:
    body = load_backbone("twin-bert").body.eval()
    tokens, mask = torch.randn(1, 5, body.width), torch.ones(1, 5, dtype=torch.bool)
    with torch.no_grad():
        plain = body(tokens, mask)[-1]
        with recomputed(body.blocks()):
            assert torch.equal(body(tokens, mask)[-1], plain)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(problem: Exception, expected: bool) -> None:
    assert is_out_of_memory(problem) is expected


def test_the_allocator_of_the_cpu_says_what_we_expect() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.float32)
    assert is_out_of_memory(caught.value)
