"""Pretrained bodies behind one contract."""

from crosstune.backbones.contract import Backbone, BackboneInfo, Body, Family, Named
from crosstune.backbones.load import families, load_backbone, named

__all__ = ["Backbone", "BackboneInfo", "Body", "Family", "Named", "families", "load_backbone", "named"]
