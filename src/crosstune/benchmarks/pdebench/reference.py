"""Settings of the public recipe, task by task, in the words of ``--set``.

What the recipe states and this program has no knob for (SGD and Adam for the optimiser, gradient accumulation by sums,
a schedule that falls linearly, dropout of the embedder) is left out; ``docs/pdebench/README.md`` lists it.
"""

from __future__ import annotations

from typing import Any


def recipe(rate: float, decay: float, *, clip: float | None = 1.0, batch: int = 4) -> dict[str, Any]:
    """Learning rate of all parts, weight decay, gradient clipping and batch size of the fine-tuning stage; 128 target
    samples in the alignment."""
    found: dict[str, Any] = {
        "fit.body_rate": rate, "fit.embedder_rate": rate, "fit.weight_decay": decay, "fit.batch_size": batch,
        "align.target_points": 128,
    }  # fmt: skip
    if clip is not None:
        found["fit.clip"] = clip
    return found
