"""RECRAFT from shuffled weights: whether it is what the weights know, or only their statistics, that helps."""

from crosstune.methods.recraft import METHOD as RECRAFT
from crosstune.methods.variants import Variant, weights_shuffled

CONTROL = Variant(
    name="shuffled",
    label="shuffled weights",
    summary="recraft from pretrained weights permuted within each tensor, source head and alignment too",
    change=weights_shuffled,
    controls=("no-align", "frozen", "scratch"),
)
METHOD = CONTROL.of(RECRAFT)
