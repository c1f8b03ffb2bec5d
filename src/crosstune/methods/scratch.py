"""The same architecture from random weights: what pretraining is worth."""

from crosstune.methods.recraft import METHOD as RECRAFT
from crosstune.methods.variants import Variant, from_scratch

CONTROL = Variant(
    name="scratch",
    label="from scratch",
    summary="random weights, everything trained, at five times the rate of pretrained weights; no alignment",
    change=from_scratch,
    controls=("no-align",),
)
METHOD = CONTROL.of(RECRAFT)
