"""The embedded grid encoder, pretrained on formulas; docs/pretraining.md says how and how well it transfers."""

from __future__ import annotations

from crosstune.backbones.contract import Named

BACKBONE = Named(
    name="tiny-grid",
    repo=None,
    revision="1",
    sha256="d6806c0c504f867d7f06df45d41fbc717dc1e54c7a741ebf1b50a70d6db56681",
    license="apache-2.0",
    package="crosstune",
    package_folder="weights/tiny-grid",
    install="pip install --force-reinstall --no-deps crosstune",
    summary="vision transformer, 4 layers of width 128, pretrained on formulas; carried by the package, no network",
    proxy="formula-grids",
)
