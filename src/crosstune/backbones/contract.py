"""One contract for all pretrained bodies: tokens (B, T, D) and a mask in, the hidden states of every layer out.

A backbone is a *body* (kept in the model, exported with it) and a *source embedder* (theta: from the pretrained
modality to the same token space; needed for alignment only, never exported).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Modality = Literal["text", "image", "audio"]
Weights = Literal["pretrained", "random", "shuffled"]


@dataclass(frozen=True)
class BackboneInfo:
    """Where a backbone came from and what it can take. width, hidden: token and hidden width; max_tokens: longest
    sequence the body accepts."""

    name: str
    family: str
    origin: str  # "package ...", "hub cache", "folder ...", "random weights"
    weights: Weights
    revision: str | None
    sha256: str | None
    license: str | None
    parameters: int
    width: int
    hidden: int
    layers: int
    max_tokens: int
    modality: Modality
    seed: int | None = None
    hub_id: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Body(nn.Module):
    """Base of all bodies. Subclasses set the attributes below and implement ``forward`` and ``groups``."""

    width: int
    hidden: int
    layers: int
    max_tokens: int
    family: str

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """tokens (B, T, width), mask (B, T) of booleans -> layers + 1 hidden states (B, T, hidden)."""
        raise NotImplementedError

    def groups(self) -> list[tuple[str, list[str]]]:
        """Parameter names in groups from input to output: embeddings, layer 0, layer 1, ..., final norm."""
        raise NotImplementedError

    def config_dict(self) -> dict[str, Any]:
        """What ``Family.build`` needs to make the same body without weights."""
        raise NotImplementedError


@dataclass(frozen=True)
class Family:
    """A family of architectures. ``model_types``: values of ``model_type`` in a Hugging Face config.

    build(config) makes a body with random weights from ``Body.config_dict()``; load(folder) gives
    (body, source embedder) with the folder's weights; twin() is a tiny config for tests.
    """

    name: str
    model_types: tuple[str, ...]
    modality: Modality
    summary: str
    build: Callable[[dict[str, Any]], Body]
    load: Callable[..., tuple[Body, nn.Module]]
    twin: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Named:
    """A backbone with a name of its own: hub id, pinned checksum, and the package that may carry it."""

    name: str
    repo: str
    revision: str
    sha256: str
    license: str
    package: str | None
    package_folder: str
    install: str
    summary: str


@dataclass
class Backbone:
    """A loaded backbone. ``source(inputs)`` embeds native inputs (dict of tensors) into tokens and mask."""

    info: BackboneInfo
    body: Body
    source: nn.Module
    folder: str | None

    def encode(self, passages: list[str] | tuple[str, ...], *, max_tokens: int) -> dict[str, Tensor]:
        """Text to native inputs ``input_ids`` and ``attention_mask`` (n, T) with the backbone's own tokeniser."""
        if self.folder is None:
            return _hash_tokens(passages, vocabulary=self.source.num_embeddings, max_tokens=max_tokens)  # type: ignore[arg-type]
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        encoded = tokenizer(
            list(passages), truncation=True, max_length=max_tokens, padding="max_length", return_tensors="pt"
        )
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"].bool()}

    @torch.no_grad()
    def source_tokens(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """theta: native inputs -> tokens (n, T, width) and mask (n, T)."""
        return self.source(inputs["input_ids"]), inputs["attention_mask"]


def _hash_tokens(passages: list[str] | tuple[str, ...], *, vocabulary: int, max_tokens: int) -> dict[str, Tensor]:
    """Words to ids by a stable hash: for bodies without a tokeniser (random twins)."""
    import zlib

    ids = torch.zeros(len(passages), max_tokens, dtype=torch.long)
    mask = torch.zeros(len(passages), max_tokens, dtype=torch.bool)
    for row, passage in enumerate(passages):
        words = passage.lower().split()[:max_tokens] or ["empty"]
        for column, word in enumerate(words):
            ids[row, column] = zlib.crc32(word.encode()) % vocabulary
        mask[row, : len(words)] = True
    return {"input_ids": ids, "attention_mask": mask}


def shuffle_within_tensors(module: nn.Module, seed: int) -> None:
    """Permute the entries of every parameter tensor: the same statistics, no knowledge. In place, by seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
