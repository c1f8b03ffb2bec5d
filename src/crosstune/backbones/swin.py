"""Swin and SwinV2: hierarchical grids, attention within shifted windows, patches merged between stages.

Every stage's states are brought back to the grid of the tokens (nearest neighbour), so that heads see all scales at
every place. Grids that do not fill a window are padded to it, as the models do; data keep their own resolution.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosstune.backbones.contract import Body
from crosstune.backbones.grids import grid_family, pair
from crosstune.backbones.sequence import drop_module, make_config
from crosstune.backbones.transformers_io import plain_config

MOST_TOKENS = 56 * 56 + 1


class SwinBody(Body):
    """A transformers Swin model without its patch projection. A token that belongs to no place is added to all."""

    masks = False
    grid_tokens = 16
    volatile = ("shift_size",)

    def __init__(self, family: str, model_class: str, config: dict[str, Any], options: dict[str, Any]) -> None:
        super().__init__()
        self.family = family
        cls = getattr(importlib.import_module("transformers"), model_class)
        self.hf_config = make_config(cls, config)
        self.model = cls(self.hf_config, **options)
        size, patch = pair(self.hf_config.image_size), pair(self.hf_config.patch_size)
        self.native_grid = (size[0] // patch[0], size[1] // patch[1])
        drop_module(self.model, self.model.embeddings.patch_embeddings)
        if getattr(self.model.embeddings, "mask_token", None) is not None:
            self.model.embeddings.mask_token = None
        base, stages = int(self.hf_config.embed_dim), len(self.hf_config.depths)
        self.width = base
        self.widths = (base, *[base * 2 ** min(k + 1, stages - 1) for k in range(stages)])
        self.max_tokens = MOST_TOKENS

    def encode(self, tokens: Tensor, mask: Tensor | None, grid: tuple[int, ...], lead: int) -> tuple[Tensor, ...]:
        count = tokens.shape[1] - lead
        rows, columns = folded(grid)
        states = tokens[:, lead:] + tokens[:, :1] if lead else tokens
        states = F.pad(states, (0, 0, 0, rows * columns - count))
        embeddings = self.model.embeddings
        states = embeddings.norm(states)
        if embeddings.position_embeddings is not None:
            assert self.native_grid is not None
            table = embeddings.position_embeddings[0].t().reshape(1, -1, *self.native_grid)
            table = F.interpolate(table, size=(rows, columns), mode="bicubic", align_corners=False)
            states = states + table.flatten(2).transpose(1, 2)
        states = embeddings.dropout(states)
        found, here = [(states, (rows, columns))], (rows, columns)
        for stage in self.model.encoder.layers:
            for block in stage.blocks:
                states = self.apply_block(block, states, here)
            if stage.downsample is not None:
                states = stage.downsample(states, here)
                here = ((here[0] + 1) // 2, (here[1] + 1) // 2)
            found.append((states, here))
        found[-1] = (self.model.layernorm(found[-1][0]), found[-1][1])
        out = []
        for values, size in found:
            maps = values.transpose(1, 2).unflatten(2, size)
            if size != (rows, columns):
                # a stage's cell covers 2^k places per axis, the last ones only in part
                times = [2 ** math.ceil(math.log2(n / s)) if s < n else 1 for n, s in zip((rows, columns), size)]
                maps = maps.repeat_interleave(times[0], 2).repeat_interleave(times[1], 3)[:, :, :rows, :columns]
            flat = maps.flatten(2).transpose(1, 2)[:, :count]
            out.append(torch.cat([flat.mean(1, keepdim=True), flat], dim=1) if lead else flat)
        return tuple(out)

    def apply_block(self, block: nn.Module, states: Tensor, here: tuple[int, int]) -> Tensor:
        """One block with its own window; no shift where one window covers the grid, as in the models."""
        shift: Any = block.shift_size
        if min(here) <= block.window_size:  # type: ignore[operator]
            block.shift_size = 0  # type: ignore[assignment]
        try:
            out = self.call_block(block, states, here)
        finally:
            block.shift_size = shift
        return out[0] if isinstance(out, tuple) else out

    def call_block(self, block: nn.Module, states: Tensor, here: tuple[int, int]) -> Any:
        return block(states, here, always_partition=True)

    def blocks(self) -> list[nn.Module]:
        return [block for stage in self.model.encoder.layers for block in stage.blocks]

    def parts(self) -> list[list[nn.Module]]:
        found: list[list[nn.Module]] = []
        for stage in self.model.encoder.layers:
            found += [[block] for block in stage.blocks]
            if stage.downsample is not None:
                found[-1].append(stage.downsample)
        return found

    def config_dict(self) -> dict[str, Any]:
        config = plain_config(self.hf_config)
        for name in ("image_size", "patch_size", "embed_dim", "depths", "num_heads", "window_size"):
            config[name] = getattr(self.hf_config, name)
        return {k: v for k, v in config.items() if k not in ("hidden_size", "num_hidden_layers", "num_attention_heads")}


class Swinv2Body(SwinBody):
    """SwinV2: the second version's blocks take no flag, they always cut into windows."""

    def call_block(self, block: nn.Module, states: Tensor, here: tuple[int, int]) -> Any:
        return block(states, here)


def folded(grid: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns for a grid: as it is, slices below each other, or a series cut into rows of a near-square."""
    if len(grid) == 2:
        return grid[0], grid[1]
    if len(grid) == 3:
        return grid[0] * grid[1], grid[2]
    columns = math.isqrt(max(0, grid[0] - 1)) + 1
    return math.ceil(grid[0] / columns), columns


def _twin() -> dict[str, Any]:
    return {
        "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4, "image_size": 32, "patch_size": 2,
        "mlp_ratio": 2.0,
    }  # fmt: skip


FAMILY = (
    grid_family("swin", ("swin",), "SwinModel", "hierarchical vision transformer (Swin)", _twin, body=SwinBody),
    grid_family(
        "swinv2", ("swinv2",), "Swinv2Model", "hierarchical vision transformer (SwinV2)", _twin, body=Swinv2Body
    ),
)
