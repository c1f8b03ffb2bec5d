"""RECRAFT with the cheapest alignment there is: whether more than two moments must be matched."""

from crosstune.methods.recraft import METHOD as RECRAFT
from crosstune.methods.variants import Variant, moments_alone

CONTROL = Variant(
    name="mean-match",
    label="moments matched",
    summary="recraft whose stage 1 matches means and variances of tokens only",
    change=moments_alone,
    controls=("no-align", "frozen", "scratch"),
)
METHOD = CONTROL.of(RECRAFT)
