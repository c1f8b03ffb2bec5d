"""MoNA: the embedder is meta-learnt so that fitting the target keeps the body's source knowledge; then fine-tuning."""

from crosstune.methods.contract import Method
from crosstune.methods.plain import PLAIN
from crosstune.stages.meta import MetaConfig

METHOD = Method(
    name="mona",
    summary="the embedder learns through a trial step of the body what keeps source knowledge; then plain fine-tuning",
    paper="Ma et al., Learning Modality Knowledge Alignment for Cross-Modality Transfer, ICML 2024, arXiv 2406.18864",
    stages=(MetaConfig(), PLAIN),
    linear_part=False,
    controls=("no-align", "scratch"),
)
