"""The embedded series encoder, pretrained on formulas; docs/pretraining.md says how and how well it transfers."""

from __future__ import annotations

from crosstune.backbones.contract import Named

BACKBONE = Named(
    name="tiny-sequence",
    repo=None,
    revision="1",
    sha256="7a77f44582926f776ecd15d05cfdd584bbbd322ea83186bc1009f6dc1390aea0",
    license="apache-2.0",
    package="crosstune",
    package_folder="weights/tiny-sequence",
    install="pip install --force-reinstall --no-deps crosstune",
    summary="series encoder, 4 layers of width 128, pretrained on formulas; carried by the package, no network",
    proxy="formula-series",
)
