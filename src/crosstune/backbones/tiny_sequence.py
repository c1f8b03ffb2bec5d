"""The embedded series encoder, pretrained on formulas; docs/pretraining.md says how and how well it transfers."""

from __future__ import annotations

from crosstune.backbones.contract import Named

BACKBONE = Named(
    name="tiny-sequence",
    repo=None,
    revision="1",
    sha256="6b268c11d71a38095f54c7ad99694290bc8862c8df2adcfe9f6ad7d3705af518",
    license="apache-2.0",
    package="crosstune",
    package_folder="weights/tiny-sequence",
    install="pip install --force-reinstall --no-deps crosstune",
    summary="series encoder, 4 layers of width 128, pretrained on formulas; carried by the package, no network",
    proxy="formula-series",
)
