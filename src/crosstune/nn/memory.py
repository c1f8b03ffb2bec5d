"""Doing with less memory: layers computed twice instead of kept, and pieces halved where there is not enough."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

# what allocators say that raise a plain RuntimeError: of the CPU, and of drivers beneath torch's own allocator
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "failed to allocate")


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an error means that the work was too large for the memory, and a smaller piece may go through."""
    if isinstance(problem, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(problem, RuntimeError) and any(words in str(problem).lower() for words in OUT_OF_MEMORY)


def release() -> None:
    """Give back what the failed attempt left behind."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def recomputed(blocks: Sequence[nn.Module], volatile: tuple[str, ...] = ()) -> Iterator[None]:
    """While this lasts, the blocks keep their inputs only and compute again what the backward pass needs (Chen et al.,
    Training Deep Nets with Sublinear Memory Cost, 2016): memory of one block instead of all, one more forward pass.

    In training and in evaluation mode alike. volatile: names of plain attributes that the caller sets on a block for
    the length of one call; the second computation sees them as the first did.
    """
    for block in blocks:
        block.forward = _twice(block, block.forward, volatile)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the class's own comes back


def _twice(block: nn.Module, forward: Callable[..., Any], volatile: tuple[str, ...]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        then = {name: getattr(block, name) for name in volatile}

        def again(*args: Any, **kwargs: Any) -> Any:
            now = {name: getattr(block, name) for name in volatile}
            _set(block, then)
            try:
                return forward(*args, **kwargs)
            finally:
                _set(block, now)

        return checkpoint(again, *args, use_reentrant=False, **kwargs)

    return call


def _set(block: nn.Module, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(block, name, value)
