"""Fine-tuning as the field does it: pretrained weights, a head of zeros, no stage 1, everything trained."""

from crosstune.methods.contract import Method
from crosstune.methods.plain import PLAIN

METHOD = Method(
    name="finetune",
    summary="plain fine-tuning: no alignment, head of zeros, everything trained; no closed form, no linear part",
    stages=(PLAIN,),
    linear_part=False,
    controls=("frozen", "scratch"),
)
