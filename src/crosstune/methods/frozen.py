"""The body stays as pretrained: embedder, normalisations and head train (frozen pretrained transformers)."""

from crosstune.methods.recraft import METHOD as RECRAFT
from crosstune.methods.variants import Variant, body_frozen

CONTROL = Variant(
    name="frozen",
    label="frozen body",
    summary="body frozen but for its normalisations; embedder and head trained, no alignment",
    paper="Lu et al., Frozen Pretrained Transformers as Universal Computation Engines, AAAI 2022, arXiv 2103.05247",
    change=body_frozen,
    controls=("no-align", "scratch"),
)
METHOD = CONTROL.of(RECRAFT)
