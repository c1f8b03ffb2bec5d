"""What is left of an initial field that nobody is shown: how well Darcy's stored solution can be predicted at all.

The stored frame is u = s + exp(-A T) (u0 - s) with the steady solution s and the operator A of the permeability, and
the initial field u0 is random (see ``solvers.darcy``). Whoever sees the permeability alone knows s and A, not u0.
"""

from __future__ import annotations

import numpy as np

from crosstune.benchmarks.pdebench.solvers import darcy

_LEVELS = 400  # levels of the initial field, evenly over its law


def darcy_answers(nu: np.ndarray, beta: float) -> dict[str, np.ndarray]:
    """Predictions (n, 1, R, R) for permeabilities (n, 1, R, R), by name, from the equation alone.

    "exact steady state": s. "mean over initial fields": the conditional mean of u, since u is linear in u0 and u0 has
    the mean of its level. "best without the initial field": s + exp(-A T) (m - s) with the level m that minimises the
    expected relative L2 error over the law of the level: the median of the levels weighted by 1 / ||u||. The texture
    of u0 has mean zero and is left out of that choice, which can only raise what is reached, by little: its waves have
    decayed most.
    """
    law = (np.arange(_LEVELS) + 0.5) / _LEVELS
    levels = darcy.LEVELS[0] + (darcy.LEVELS[1] - darcy.LEVELS[0]) * law
    steady, mean, best = (np.empty(nu.shape) for _ in range(3))
    for i, one in enumerate(nu[:, 0].astype(np.float64)):
        still = darcy.steady(one, np.full(one.shape, beta))
        # the distance from the steady state obeys the equation without a force
        left = darcy.transient(one, 0.0, np.ones(one.shape), darcy.STORED_AT, darcy.STEPS)
        rest = still - darcy.transient(one, 0.0, still, darcy.STORED_AT, darcy.STEPS)
        sizes = np.linalg.norm((rest + levels[:, None, None] * left).reshape(_LEVELS, -1), axis=1)
        steady[i, 0] = still
        mean[i, 0] = rest + levels.mean() * left
        best[i, 0] = rest + _weighted_median(levels, 1 / sizes) * left
    return {"exact steady state": steady, "mean over initial fields": mean, "best without the initial field": best}


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The minimiser of sum w |v - m| over m; ``values`` ascend."""
    total = np.cumsum(weights)
    return float(values[np.searchsorted(total, total[-1] / 2)])
