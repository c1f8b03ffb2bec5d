"""The embedded series encoder, pretrained on formulas; docs/pretraining.md says how and how well it transfers."""

from __future__ import annotations

from crosstune.backbones.contract import Named

BACKBONE = Named(
    name="tiny-sequence",
    repo=None,
    revision="1",
    sha256="bc3690a8ad5ed192e9c0245a1b956b06b5e417fb442fd1d6f4e139716b5fd4ea",
    license="apache-2.0",
    package="crosstune",
    package_folder="weights/tiny-sequence",
    install="pip install --force-reinstall --no-deps crosstune",
    summary="series encoder, 4 layers of width 128, pretrained on formulas; carried by the package, no network",
    proxy="formula-series",
)
