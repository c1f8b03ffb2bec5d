"""Bodies of the vision transformer kind: special tokens, a table of positions on a grid, then plain layers.

Positions are interpolated to the grid at hand, so data keep their own resolution instead of being resized to the image
size of pretraining. A token that belongs to no place (statistics of the sample) is added to the class token. A series
takes the positions of the grid in reading order; a volume takes those of its slices.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosstune.backbones.contract import Body, Family, Modality, Native, Source
from crosstune.backbones.sequence import drop_module, longest_list, make_config
from crosstune.backbones.starting import channel_signs, resampling
from crosstune.backbones.transformers_io import load_model, plain_config
from crosstune.nn.embedders import PatchEmbedder

ROOM = 4  # a grid may have so many times more tokens than in pretraining: beyond it, attention's cost runs away


def pair(value: Any) -> tuple[int, int]:
    """A size given as one number or two."""
    if isinstance(value, (list, tuple)):
        return int(value[0]), int(value[1])
    return int(value), int(value)


def as_image(grid: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns under which a grid of any number of axes is laid out."""
    if len(grid) == 1:
        return 1, grid[0]
    return math.prod(grid[:-1]), grid[-1]


def grid_positions(table: Tensor, native: tuple[int, int], grid: tuple[int, ...]) -> Tensor:
    """Rows of a position table (h * w, D) of a native grid for the places of another grid, (prod(grid), D).

    Two axes: bicubic interpolation, as the models themselves do it. One axis: the first places in reading order, which
    do not depend on how many there are; beyond the table it is stretched. Three axes: the slices' positions, repeated.
    """
    if len(grid) == 1:
        if grid[0] <= len(table):
            return table[: grid[0]]
        return F.interpolate(table.t()[None], size=grid[0], mode="linear", align_corners=False)[0].t()
    if len(grid) == 3:
        return grid_positions(table, native, grid[1:]).repeat(grid[0], 1)
    if grid == native:
        return table
    maps = table.t().reshape(1, -1, *native)
    return F.interpolate(maps, size=grid, mode="bicubic", align_corners=False)[0].flatten(1).t()


class PatchSource(Source):
    """theta of vision bodies: the pretrained patch projection on normalised pixels (n, C, H, W), without positions."""

    def __init__(self, projection: nn.Module, native: Native, grid: tuple[int, int]) -> None:
        super().__init__()
        self.projection, self.native, self.grid = projection, native, grid

    def forward(self, pixels: Tensor) -> Tensor:
        out = self.projection(pixels)
        return out if out.ndim == 3 else out.flatten(2).transpose(1, 2)

    @torch.no_grad()
    def start(self, embedder: PatchEmbedder) -> None:
        """Set an embedder of grids to what theta does, in place: its windows are read as theta's patches, resampled to
        their size. As many channels as theta's are read one by one; any other number as the mean over channels of
        theta's tokens of grey pictures, each with signs of its own for their coordinates (the first with none), so that
        channels can be told apart. ValueError for windows that are not of two axes, and for a theta that is no
        convolution."""
        conv, channels, plan = self.projection, embedder.channels, embedder.plan
        if not isinstance(conv, nn.Conv2d) or len(plan.window) != 2:
            raise ValueError("theta of images can start an embedder of two axes only")
        rows, columns = (resampling(w // plan.pool, p) for w, p in zip(plan.window, conv.kernel_size))
        patches = conv.weight.flatten(2) @ torch.kron(rows, columns)  # (width, channels of theta, values of a window)
        if channels != conv.in_channels:
            patches = channel_signs(embedder.width, channels)[:, :, None] * patches.sum(1, keepdim=True)
        embedder.weight.copy_(F.pad(patches.flatten(1), (0, embedder.features - patches[0].numel())))
        embedder.bias.copy_(torch.zeros_like(embedder.bias) if conv.bias is None else conv.bias)
        # theta has no token of statistics: the random one stays, at the scale it was calibrated to
        embedder.statistics_weight.mul_(embedder.scale[0])
        embedder.statistics_bias.mul_(embedder.scale[1])
        for positions in embedder.positions:
            positions.zero_()
        embedder.scale.fill_(1.0)


class GridBody(Body):
    """A transformers vision model without its patch projection.

    config: as ``config_dict`` gives it; model_class: name in ``transformers``; specials: names of the tokens before the
    patches, in order, as attributes of the model's embeddings.
    """

    specials: tuple[str, ...] = ("cls_token",)

    def __init__(self, family: str, model_class: str, config: dict[str, Any], options: dict[str, Any]) -> None:
        super().__init__()
        self.family = family
        cls = getattr(importlib.import_module("transformers"), model_class)
        self.hf_config = make_config(cls, config)
        self.model = cls(self.hf_config, **options)
        self.native_grid = self.token_grid()
        drop_module(self.model, self.model.embeddings.patch_embeddings)
        if getattr(self.model.embeddings, "mask_token", None) is not None:
            self.model.embeddings.mask_token = None  # pretraining only
        count = int(self.hf_config.num_hidden_layers)
        self.width = int(self.hf_config.hidden_size)
        self.widths = (self.width,) * (count + 1)
        self.max_tokens = ROOM * math.prod(self.native_grid) + 1

    def token_grid(self) -> tuple[int, int]:
        """The grid of tokens at the size of pretraining."""
        size, patch = pair(self.hf_config.image_size), pair(self.hf_config.patch_size)
        return size[0] // patch[0], size[1] // patch[1]

    def limit(self, axes: int) -> int:
        assert self.native_grid is not None
        # along one axis positions are looked up, never stretched: padding must not change them
        return math.prod(self.native_grid) + 1 if axes == 1 else self.max_tokens

    def encode(self, tokens: Tensor, mask: Tensor | None, grid: tuple[int, ...], lead: int) -> tuple[Tensor, ...]:
        embeddings, count = self.model.embeddings, len(self.specials)
        special = torch.cat([getattr(embeddings, name) for name in self.specials], dim=1).expand(len(tokens), -1, -1)
        if lead:
            special = torch.cat([special[:, :1] + tokens[:, :1], special[:, 1:]], dim=1)
        states = torch.cat([special, tokens[:, lead:]], dim=1)
        table = embeddings.position_embeddings
        if table is not None:
            assert self.native_grid is not None
            places = grid_positions(table[0, count:], self.native_grid, grid)
            states = states + torch.cat([table[0, :count], places])[None]
        states = embeddings.dropout(states)
        attention = None
        if mask is not None:
            seen = torch.cat([mask.new_ones(len(mask), count), mask[:, lead:]], dim=1)
            attention = torch.zeros(len(mask), 1, 1, seen.shape[1], dtype=tokens.dtype, device=tokens.device)
            attention = attention.masked_fill(~seen[:, None, None], torch.finfo(tokens.dtype).min)
            attention = attention.expand(-1, 1, seen.shape[1], -1)
        found = [states]
        for layer in self.blocks():
            found.append(self.apply_layer(layer, found[-1], attention, grid))
        found[-1] = self.model.layernorm(found[-1])
        # aligned with the tokens: the class token stands for the sample's own token, where there is one
        return tuple(torch.cat([s[:, :lead], s[:, count:]], dim=1) for s in found)

    def apply_layer(self, layer: nn.Module, states: Tensor, attention: Tensor | None, grid: tuple[int, ...]) -> Tensor:
        return layer(states, attention)

    def blocks(self) -> list[nn.Module]:
        return longest_list(self.model, int(self.hf_config.num_hidden_layers))

    def config_dict(self) -> dict[str, Any]:
        return plain_config(self.hf_config) | {
            "image_size": self.hf_config.image_size, "patch_size": self.hf_config.patch_size
        }  # fmt: skip


def image_native(config: Any) -> Native:
    channels = int(getattr(config, "num_channels", 3))
    half = (0.5,) * channels
    return Native("image", channels=channels, size=pair(config.image_size), mean=half, std=half)


def grid_family(
    name: str, model_types: tuple[str, ...], model_class: str, summary: str, twin: Callable[[], dict[str, Any]], *,
    body: Callable[..., Any] = GridBody, options: dict[str, Any] | None = None, modality: Modality = "image",
    native: Callable[[Any], Native] = image_native, unused: tuple[str, ...] = ("pooler.", "embeddings.mask_token"),
) -> Family:  # fmt: skip
    """A family of vision bodies. body: class of the body; options: of the model's constructor."""
    keywords = {"add_pooling_layer": False} if options is None else options

    def build(config: dict[str, Any]) -> Body:
        return body(name, model_class, config, keywords)

    def theta(model: Any, made: Body) -> nn.Module:
        projection = model.embeddings.patch_embeddings
        assert made.native_grid is not None
        return PatchSource(patch_projection(projection), native(model.config), made.native_grid)

    def load(folder: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Body, nn.Module]:
        cls = getattr(importlib.import_module("transformers"), model_class)
        model = load_model(cls, folder, config, tensors, unused=unused, options=keywords)
        made = build(config)
        kept = set(made.model.state_dict())
        made.model.load_state_dict({k: v for k, v in model.state_dict().items() if k in kept}, strict=True)
        return made, theta(model, made)

    def source(config: dict[str, Any], made: Body) -> nn.Module:
        cls = getattr(importlib.import_module("transformers"), model_class)
        return theta(cls(make_config(cls, config), **keywords), made)

    return Family(name=name, model_types=model_types, modality=modality, summary=summary, build=build, load=load,
                  twin=twin, source=source, shapes="grids, volumes, series, tables; ragged series")  # fmt: skip


def patch_projection(module: nn.Module) -> nn.Module:
    """The patch embedding's projection alone: its size checks would refuse other image sizes."""
    return getattr(module, "projection", module)
