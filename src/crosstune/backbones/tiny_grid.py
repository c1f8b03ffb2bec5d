"""The embedded grid encoder, pretrained on formulas; docs/pretraining.md says how and how well it transfers."""

from __future__ import annotations

from crosstune.backbones.contract import Named

BACKBONE = Named(
    name="tiny-grid",
    repo=None,
    revision="1",
    sha256="4ad45f83aa4c1f9950fd091c85ec1b314361a49794d0b67fd247990c954a5bd9",
    license="apache-2.0",
    package="crosstune",
    package_folder="weights/tiny-grid",
    install="pip install --force-reinstall --no-deps crosstune",
    summary="vision transformer, 4 layers of width 128, pretrained on formulas; carried by the package, no network",
    proxy="formula-grids",
)
