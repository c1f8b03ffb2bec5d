"""Pretraining of small bodies on formulas: recipe in, weights with their record out.

A network (theta and a body) learns labelled formula classes by one or several objectives; ``train`` is resumable, and
what it writes loads with ``transformers`` alone.
"""

from __future__ import annotations

from crosstune.pretraining.loop import train
from crosstune.pretraining.recipe import PRESETS, Recipe, asked_recipe, preset, read_recipe

__all__ = ["PRESETS", "Recipe", "asked_recipe", "preset", "read_recipe", "train"]
