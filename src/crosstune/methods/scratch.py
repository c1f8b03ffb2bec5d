"""The same architecture from random weights: what pretraining is worth."""

from crosstune.methods.contract import Method
from crosstune.stages.fit import FitConfig

METHOD = Method(
    name="scratch",
    summary="random weights, everything trained (body rate 1e-4: a random body needs and stands a higher one)",
    stages=(FitConfig(body_rate=1e-4),),
    weights="random",
    controls=("finetune",),
)
