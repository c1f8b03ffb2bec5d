"""PaRe: train on samples whose lesser tokens are a source sample's, ever fewer of them; then plain fine-tuning."""

from crosstune.methods.contract import Method
from crosstune.methods.plain import PLAIN
from crosstune.stages.mix import MixConfig

METHOD = Method(
    name="pare",
    summary="samples between source and target by a gate over tokens, from easy to hard; then plain fine-tuning",
    paper="Cai et al., Enhancing Cross-Modal Fine-Tuning with Gradually Intermediate Modality Generation, ICML 2024, "
    "arXiv 2406.09003",
    stages=(MixConfig(), PLAIN),
    linear_part=False,
    controls=("no-align", "scratch"),
)
