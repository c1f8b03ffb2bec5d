"""The body stays as pretrained: embedder, normalisations and head train (frozen pretrained transformers)."""

from crosstune.methods.contract import Method
from crosstune.stages.fit import FitConfig

METHOD = Method(
    name="frozen",
    summary="body frozen but for its normalisations; embedder and head trained",
    paper="Lu et al., Frozen Pretrained Transformers as Universal Computation Engines, AAAI 2022, arXiv 2103.05247",
    stages=(FitConfig(trainable="norms"),),
    controls=("finetune", "scratch"),
)
