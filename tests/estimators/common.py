"""Small and quick estimators: a random twin of BERT, a few steps, no child process."""

from __future__ import annotations

from typing import Any

import numpy as np

QUICK: dict[str, Any] = {
    "backbone": "twin-bert", "method": "no-align", "budget": "3steps", "floors": "none", "controls": "none"
}  # fmt: skip


def blobs(n: int = 40, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, apart by their mean; (n, 4) and labels 0, 1."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return rng.normal(size=(n, 4)) + 2.0 * y[:, None], y
