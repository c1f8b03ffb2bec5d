"""BEiT: a vision transformer with relative position biases, per layer or shared."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from crosstune.backbones.grids import GridBody, as_image, grid_family


class BeitBody(GridBody):
    """The biases are interpolated to the grid at hand. They depend on the number of places, so rows of different
    lengths run apart instead of under a mask."""

    masks = False

    def apply_layer(self, layer: nn.Module, states: Tensor, attention: Tensor | None, grid: tuple[int, ...]) -> Tensor:
        rows, columns = as_image(grid)
        shared = self.model.shared_position_bias
        bias = None if shared is None else shared((rows, columns))
        patch = self.hf_config.patch_size
        # the layer divides a resolution in pixels by the patch size to find its grid
        return layer(states, attention_mask=bias, resolution=(rows * patch, columns * patch))


def _twin() -> dict[str, Any]:
    return {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 32,
        "patch_size": 4, "use_relative_position_bias": True, "layer_scale_init_value": 0.1,
    }  # fmt: skip


FAMILY = grid_family(
    "beit", ("beit",), "BeitModel", "vision transformer, relative positions (BEiT)", _twin, body=BeitBody
)
