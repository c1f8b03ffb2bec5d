"""RECRAFT as the public recipe runs it: 60 steps on token means of 128 samples, conditional entropy, then all. Its
learning rates are ours, chosen on validation; benchmark tasks bring those of the public code."""

from crosstune.methods.contract import Method
from crosstune.stages.align import AlignConfig
from crosstune.stages.fit import FitConfig
from crosstune.stages.source_head import SourceHeadConfig

METHOD = Method(
    name="recraft-reference",
    summary="60 alignment steps on token means (128 samples), then H(z|z'), then everything trained; no linear part",
    paper="Tran et al., Rethinking Cross-Modal Fine-Tuning, AISTATS 2026, arXiv 2601.18231",
    stages=(
        SourceHeadConfig(labels="topics"),
        AlignConfig(
            space="means", fa="exact", cost="sqeuclidean", fld="conditional", schedule="sequential", steps=60,
            distortion_steps=15, target_points=128, batch_size=128, source_points=5000, keep="last",
        ),
        FitConfig(
            trainable="all", head_init="zero", body_rate=2e-4, embedder_rate=1e-3, head_rate=5.0, dropout=True,
            precision="fp32",
        ),
    ),
    linear_part=False,
    controls=("no-align", "frozen", "scratch"),
)  # fmt: skip
