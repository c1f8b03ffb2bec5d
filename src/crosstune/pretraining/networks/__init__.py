"""What is pretrained: theta and a body, one file per kind of data that defines ``NETWORK``."""

from __future__ import annotations

from crosstune.discovery import pick
from crosstune.pretraining.networks.contract import Network
from crosstune.pretraining.recipe import Recipe
from crosstune.seeding import derive_seed

__all__ = ["Network", "build"]


def build(recipe: Recipe) -> Network:
    """The network of a recipe with its first weights, a function of the recipe's seed."""
    import torch

    made = pick("crosstune.pretraining.networks", "NETWORK", recipe.kind, "kind of network")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(recipe.seed, "weights"))
        return made.build(recipe)
