"""The head alone: what the pretrained body knows about the data through an embedder that no target label has shaped."""

from crosstune.methods.contract import Method
from crosstune.stages.fit import FitConfig

METHOD = Method(
    name="linear-probe",
    summary="embedder and body stay as they start; the head is fitted in closed form, then trained",
    paper="Alain and Bengio, Understanding intermediate layers using linear classifier probes, arXiv 1610.01644",
    stages=(FitConfig(trainable="head"),),
    start="best",
    controls=("no-align", "scratch"),
)
