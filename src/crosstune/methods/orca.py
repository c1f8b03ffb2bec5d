"""ORCA: align the embedder by a label-aware transport distance, then fine-tune everything."""

from crosstune.methods.contract import Method
from crosstune.methods.plain import PLAIN
from crosstune.stages.align import AlignConfig

METHOD = Method(
    name="orca",
    summary="label-aware transport (OTDD) between token means, then plain fine-tuning; no linear part",
    paper="Shen et al., Cross-Modal Fine-Tuning: Align then Refine, ICML 2023, arXiv 2302.05738",
    stages=(AlignConfig(fa="otdd", space="means", fld=None, keep="last"), PLAIN),
    linear_part=False,
    controls=("no-align", "frozen", "scratch"),
)
