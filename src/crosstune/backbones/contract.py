"""One contract for all pretrained bodies: tokens (B, T, D) and a mask in, the hidden states of every layer out.

A backbone is a *body* (kept in the model, exported with it) and a *source embedder* (theta: from the pretrained
modality to the same token space; needed for alignment only, never exported).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from crosstune.errors import DataError, WeightsError

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.tiktoken")
Modality = Literal["text", "image", "audio", "series"]
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
    attention: str | None = None  # of decoders: "causal" or "bidirectional"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Body(nn.Module):
    """Base of all bodies: tokens in, the hidden states of every layer out.

    width: of a token; widths: of every hidden state, the body's input included; grid_tokens: how many times more tokens
    than a sequence body it should be given per sample (hierarchical bodies merge them); native_grid: the token grid it
    was pretrained at (grids only); masks: whether attention takes a mask (else rows of one length run together);
    volatile: attributes of blocks that ``encode`` sets for the length of one call.
    """

    family: str
    model: Any  # the transformers module inside
    width: int
    widths: tuple[int, ...]
    max_tokens: int
    grid_tokens: int = 1
    native_grid: tuple[int, int] | None = None
    masks: bool = True
    volatile: tuple[str, ...] = ()

    @property
    def hidden(self) -> int:
        """Width of the last hidden state."""
        return self.widths[-1]

    @property
    def layers(self) -> int:
        """Number of hidden states after the input."""
        return len(self.widths) - 1

    def limit(self, axes: int) -> int:
        """The most tokens a sample with so many spatial axes may have."""
        return self.max_tokens

    def forward(self, tokens: Tensor, mask: Tensor, grid: tuple[int, ...] | None = None) -> tuple[Tensor, ...]:
        """tokens (B, T, width), mask (B, T) of booleans -> layers + 1 hidden states (B, T, widths[i]).

        grid: extents of the places that the last prod(grid) tokens belong to; one token before them may belong to no
        place (statistics of the whole sample). None: a plain sequence of T places.
        """
        grid = (tokens.shape[1],) if grid is None else tuple(grid)
        lead = tokens.shape[1] - math.prod(grid)
        if lead not in (0, 1):
            raise ValueError(f"{tokens.shape[1]} tokens do not fit a grid of {grid} places")
        most = self.limit(len(grid))
        if tokens.shape[1] > most:
            raise DataError(
                f"{tokens.shape[1]} tokens exceed the body's limit of {most}",
                cause="a series much longer than those the model was fitted on",
                fix="cut or resample the series, or fit again with longer series in the training data",
            )
        # a batch without padding needs no mask: attention is faster and the result the same; tracing cannot ask
        full = None if torch.compiler.is_compiling() else bool(mask.all())
        if full or (full is None and not self.masks):
            return self.encode(tokens, None, grid, lead)
        if self.masks:
            return self.encode(tokens, mask, grid, lead)
        return self._by_length(tokens, mask, lead)

    def encode(
        self, tokens: Tensor, mask: Tensor | None, grid: tuple[int, ...], lead: int
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """The family's work. mask: None when every token is real; lead: 1 when tokens[:, 0] belongs to no place."""
        raise NotImplementedError

    def _by_length(self, tokens: Tensor, mask: Tensor, lead: int) -> tuple[Tensor, ...]:
        """Rows of one length run together without padding: exact for bodies whose attention takes no mask."""
        lengths = mask.sum(1)
        out = [tokens.new_zeros(*tokens.shape[:2], width) for width in self.widths]
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            states = self.encode(tokens[rows, :length], None, (length - lead,), lead)
            place = (rows[:, None], torch.arange(length, device=rows.device)[None])
            # in lower precision layers may give another dtype than the tokens'
            out = [whole.index_put(place, part.to(whole.dtype)) for whole, part in zip(out, states)]
        return tuple(out)

    def blocks(self) -> list[nn.Module]:
        """The layers in order, input first."""
        raise NotImplementedError

    def parts(self) -> list[list[nn.Module]]:
        """What belongs to each layer: its block, and what stands between it and the next one."""
        return [[block] for block in self.blocks()]

    def norms(self) -> set[str]:
        """Names of the parameters of normalisation layers, whatever these are called (GPT-2's is ``ln_f``)."""
        return {
            f"{where}.{name}" if where else name
            for where, module in self.named_modules() if "norm" in type(module).__name__.lower()
            for name, _ in module.named_parameters(recurse=False)
        }  # fmt: skip

    def groups(self) -> list[tuple[str, list[str]]]:
        """Parameter names in groups from input to output: embeddings, layer 0, layer 1, ..., final norm."""
        parts = self.parts()
        owner = {id(p): f"layer {k}" for k, part in enumerate(parts) for module in part for p in module.parameters()}
        order = ["embeddings", *[f"layer {k}" for k in range(len(parts))], "final norm"]
        found: dict[str, list[str]] = {name: [] for name in order}
        seen, norms = False, self.norms()
        for name, parameter in self.named_parameters():
            seen = seen or id(parameter) in owner
            default = "final norm" if seen and name in norms else "embeddings"
            found[owner.get(id(parameter), default)].append(name)
        return [(name, names) for name, names in found.items() if names or name.startswith("layer")]

    def config_dict(self) -> dict[str, Any]:
        """What ``Family.build`` needs to make the same body without weights."""
        raise NotImplementedError


@dataclass(frozen=True)
class Native:
    """What theta takes. Text: ``input_ids`` and ``attention_mask`` (n, T). Images: ``pixel_values``
    (n, channels, *size) after (value - mean) / std per channel. Audio: ``input_values`` (n, samples) at ``rate`` Hz,
    zero mean and unit variance per sample. Series: ``series_values`` (n, channels, size[1]), the same."""

    modality: Modality
    channels: int = 3
    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    rate: int = 16000


class Source(nn.Module):
    """Base of theta for images, audio and series: native inputs to tokens (n, T, width), every token real. Text bodies
    have their word embeddings, an ``nn.Embedding``, instead."""

    native: Native
    grid: tuple[int, ...] | None = None

    def grid_of(self, tokens: Tensor) -> tuple[int, ...]:
        """The grid of the places that tokens (n, T, width) belong to; see ``Body.forward``."""
        return self.grid or (tokens.shape[1],)


@dataclass(frozen=True)
class Family:
    """A family of architectures. ``model_types``: values of ``model_type`` in a Hugging Face config.

    build(config) makes a body with random weights from ``Body.config_dict()``; load(folder, config, tensors) gives
    (body, source embedder) with the folder's weights; twin() is a tiny config for tests; source(config, body) makes a
    source embedder with random weights. attentions: the choices of attention it offers, the first being its own.
    """

    name: str
    model_types: tuple[str, ...]
    modality: Modality
    summary: str
    build: Callable[[dict[str, Any]], Body]
    load: Callable[..., tuple[Body, nn.Module]]
    twin: Callable[[], dict[str, Any]]
    source: Callable[[dict[str, Any], Body], nn.Module]
    attentions: tuple[str, ...] = ("bidirectional",)
    shapes: str = "series, grids, volumes, tables; ragged series"


@dataclass(frozen=True)
class Named:
    """A backbone with a name of its own: hub id (None: only the package has it), pinned checksum, and the package that
    may carry it. proxy: the source proxy that it was pretrained on, where there is one."""

    name: str
    repo: str | None
    revision: str
    sha256: str
    license: str
    package: str | None
    package_folder: str
    install: str
    summary: str
    proxy: str | None = None


@dataclass
class Backbone:
    """A loaded backbone. ``source``: theta, an ``nn.Embedding`` for text, a ``Source`` otherwise."""

    info: BackboneInfo
    body: Body
    source: nn.Module
    folder: str | None

    @property
    def modality(self) -> Modality:
        return self.info.modality

    @property
    def device(self) -> torch.device:
        """Where body and theta are."""
        return next(self.body.parameters()).device

    def to(self, device: torch.device | str) -> Backbone:
        """Move body and theta, in place."""
        self.body.to(device)
        self.source.to(device)
        return self

    @property
    def native(self) -> Native:
        """What ``source_tokens`` takes; the image statistics come from the folder's preprocessor_config.json."""
        if not isinstance(self.source, Source):
            return Native("text")
        native = self.source.native
        path = None if self.folder is None else Path(self.folder) / "preprocessor_config.json"
        if path is None or not path.exists():
            return native
        try:
            given = json.loads(path.read_text())
        except ValueError:
            return native
        found: dict[str, Any] = {}
        for key, name in (("mean", "image_mean"), ("std", "image_std")):
            values = given.get(name)
            if isinstance(values, list) and len(values) == native.channels:
                found[key] = tuple(float(v) for v in values)
        if native.modality == "audio" and given.get("sampling_rate"):
            found["rate"] = int(given["sampling_rate"])
        return replace(native, **found)

    def encode(self, passages: list[str] | tuple[str, ...], *, max_tokens: int) -> dict[str, Tensor]:
        """Text to native inputs ``input_ids`` and ``attention_mask`` (n, T) with the backbone's own tokeniser."""
        if self.folder is None:
            return _hash_tokens(passages, vocabulary=self.source.num_embeddings, max_tokens=max_tokens)  # type: ignore[arg-type]
        from transformers import AutoTokenizer

        try:
            # without any of these transformers makes a tokeniser that knows no word
            if not any(path for name in VOCABULARIES for path in Path(self.folder).glob(name)):
                raise FileNotFoundError("no vocabulary")
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
        except Exception as problem:  # transformers raises many kinds; all mean that text cannot be tokenised
            raise WeightsError(
                f"no tokeniser can be made from {self.folder!r} ({type(problem).__name__})",
                cause="a folder with the model only (no tokenizer.json), or a tokeniser that needs another package",
                fix="copy the tokeniser's files into the folder, or pass --proxy none: stage 1 then matches the body's "
                "own token statistics",
            ) from None
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "right"
        encoded = tokenizer(
            list(passages), truncation=True, max_length=max_tokens, padding="max_length", return_tensors="pt"
        )
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"].bool()}

    @torch.no_grad()
    def source_tokens(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """theta: native inputs -> tokens (n, T, width), mask (n, T) and the tokens' grid, on theta's device."""
        if "input_ids" in inputs:
            tokens = self.source(inputs["input_ids"].to(self.device))
            return tokens, inputs["attention_mask"].to(tokens.device), (tokens.shape[1],)
        values = next(inputs[name] for name in ("pixel_values", "input_values", "series_values") if name in inputs)
        tokens = self.source(values.to(self.device))
        grid = self.source.grid_of(tokens) if isinstance(self.source, Source) else (tokens.shape[1],)
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), grid

    @torch.no_grad()
    def token_rms(self) -> float:
        """Root mean square of theta's tokens: the scale the body expects of a token's entries. Text: of all word
        embeddings. Others: of smooth random inputs of unit variance, fixed by seed."""
        if isinstance(self.source, nn.Embedding):
            return float(self.source.weight.square().mean().sqrt())
        native = self.native
        generator = torch.Generator().manual_seed(0)
        if native.modality == "image":
            coarse = torch.randn(8, native.channels, 16, 16, generator=generator)
            values = nn.functional.interpolate(coarse, size=native.size, mode="bilinear", align_corners=False)
        elif native.modality == "series":
            coarse = torch.randn(64, native.channels, 32, generator=generator)
            values = nn.functional.interpolate(coarse, size=native.size[1], mode="linear", align_corners=False)
        else:
            coarse = torch.randn(8, 1, 2000, generator=generator)
            values = nn.functional.interpolate(coarse, size=16000, mode="linear", align_corners=False)[:, 0]
        values = (values - values.mean()) / values.std()
        return float(self.source(values.to(self.device)).square().mean().sqrt())


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
