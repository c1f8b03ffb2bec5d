"""RECRAFT, our preset: the bound's two terms in stage 1, head first in stage 2, honest selection."""

from crosstune.methods.contract import Method
from crosstune.stages.align import AlignConfig
from crosstune.stages.fit import FitConfig
from crosstune.stages.source_head import SourceHeadConfig

METHOD = Method(
    name="recraft",
    summary="alignment of tokens, then distortion through a frozen source predictor; then head first, then all",
    paper="Tran et al., Rethinking Cross-Modal Fine-Tuning, AISTATS 2026, arXiv 2601.18231",
    stages=(SourceHeadConfig(labels="clusters:40"), AlignConfig(), FitConfig()),
    start="best",
    controls=("no-align", "frozen", "scratch"),
)
