"""The samples of a pretraining: a function of the recipe and the step, so that nothing has to be stored to go on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crosstune.data.formulas import mix
from crosstune.pretraining.recipe import Recipe
from crosstune.seeding import derive_seed

CHUNK = 16  # batches drawn at once: flows and maps are integrated together, which is where the time goes


class Stream:
    """Batches (x float32 (B, C, *size), labels int64 (B,)) by step.

    With a contrastive part, every label occurs twice in a batch: rows 2 i and 2 i + 1 are of one class. The size of the
    signals changes from chunk to chunk.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.formula = mix(recipe.kind, tuple(recipe.formulas), tuple(recipe.formulas.values()))
        self.parameters = self.formula.parameters(recipe.classes, derive_seed(recipe.seed, "classes"))
        self.paired = recipe.objective.contrastive > 0
        self._chunk = -1
        self._x = np.zeros(0, np.float32)
        self._labels = np.zeros(0, np.int64)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        chunk, place = divmod(step, CHUNK)
        if chunk != self._chunk:
            self._draw(chunk)
        rows = slice(place * self.recipe.batch, (place + 1) * self.recipe.batch)
        return torch.from_numpy(self._x[rows]), torch.from_numpy(self._labels[rows])

    def _draw(self, chunk: int) -> None:
        n, seed = CHUNK * self.recipe.batch, derive_seed(self.recipe.seed, "samples", chunk)
        rng = np.random.Generator(np.random.PCG64(seed))
        if self.paired:
            half = rng.integers(0, self.recipe.classes, (n + 1) // 2)
            labels = np.repeat(half, 2)[:n]
        else:
            labels = rng.integers(0, self.recipe.classes, n)
        size = tuple(self.recipe.sizes[chunk % len(self.recipe.sizes)])
        self._x = self.formula.sample(self.parameters, labels, seed, size)
        self._labels, self._chunk = labels, chunk
