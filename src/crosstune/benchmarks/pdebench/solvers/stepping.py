"""Explicit steps of many samples at once, each as long as its own waves allow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Step = Callable[[np.ndarray, np.ndarray], np.ndarray]


def advance(state: np.ndarray, interval: float, allowed: Callable[[np.ndarray], np.ndarray], step: Step) -> np.ndarray:
    """States (n, ...) an interval later.

    allowed: longest steps (n,) of states; step: (states, steps (n,)) -> states. Every sample takes equal steps of its
    own number until the interval is over, and asks again before each, so that no sample depends on the others.
    """
    state = state.copy()
    left = np.full(len(state), interval)
    active = np.arange(len(state))
    while len(active):
        now = state[active]
        with np.errstate(divide="ignore", invalid="ignore"):  # looked at below
            count = np.maximum(np.ceil(left[active] / allowed(now) * (1 - 1e-12)), 1.0)
        if not np.isfinite(count).all() or count.max() > 1e6:
            bad = active[~np.isfinite(count) | (count > 1e6)]
            state[bad] = np.nan  # said by whoever stores the values
            active = np.setdiff1d(active, bad)
            continue
        length = left[active] / count
        state[active] = step(now, length)
        left[active] = np.where(count == 1.0, 0.0, left[active] - length)
        active = active[count > 1.0]
    return state
