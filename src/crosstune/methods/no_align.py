"""RECRAFT without stages 0 and 1: what alignment is worth."""

from crosstune.methods.recraft import METHOD as RECRAFT
from crosstune.methods.variants import Variant, without_alignment

CONTROL = Variant(
    name="no-align",
    label="no alignment",
    summary="recraft without stages 0 and 1: head first, then everything trained from the pretrained weights",
    change=without_alignment,
    controls=("frozen", "scratch"),
)
METHOD = CONTROL.of(RECRAFT)
