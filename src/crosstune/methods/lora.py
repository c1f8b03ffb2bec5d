"""Low-rank adapters in the body, merged into its weights at the end; embedder and head trained, no stage 1."""

from crosstune.methods.contract import Method
from crosstune.stages.fit import FitConfig

METHOD = Method(
    name="lora",
    summary="body frozen, low-rank adapters at all its linear maps; embedder and head trained",
    paper="Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022, arXiv 2106.09685",
    stages=(FitConfig(trainable="lora"),),
    start="best",
    controls=("no-align", "frozen", "scratch"),
)
