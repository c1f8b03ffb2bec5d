"""Plain fine-tuning: the pretrained body, no stage 1."""

from crosstune.methods.contract import Method
from crosstune.stages.fit import FitConfig

METHOD = Method(
    name="finetune",
    summary="no alignment: head first, then everything trained from the pretrained weights",
    stages=(FitConfig(),),
    controls=("frozen", "scratch"),
)
