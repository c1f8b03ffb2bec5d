"""RECRAFT without feature-label distortion: what the second term of the bound is worth."""

from crosstune.methods.recraft import METHOD as RECRAFT
from crosstune.methods.variants import Variant, without_distortion

CONTROL = Variant(
    name="no-distortion",
    label="no distortion",
    summary="recraft whose stage 1 minimises feature alignment alone",
    change=without_distortion,
    controls=("no-align", "frozen", "scratch"),
)
METHOD = CONTROL.of(RECRAFT)
