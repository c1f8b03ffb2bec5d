"""Random predictions and targets of every kind, in canonical form."""

import numpy as np


def case(kind, rows, seed=0, outputs=3):
    """A prediction and a target; every class and label occurs when there are rows enough."""
    rng = np.random.default_rng(seed)
    if kind == "classification":
        logits = np.round(rng.normal(size=(rows, outputs)), 1)  # rounding makes ties
        target = rng.permutation(np.arange(rows) % outputs)
        logits[np.arange(rows), target] += 0.5
        exp = np.exp(logits)
        return exp / exp.sum(axis=1, keepdims=True), target
    if kind == "multilabel":
        target = (rng.random((rows, outputs)) < 0.4).astype(float)
        target[0], target[1] = 0, 1
        return np.round(np.clip(target * 0.2 + rng.random((rows, outputs)) * 0.8, 0, 1), 1), target
    if kind == "regression":
        target = rng.normal(size=(rows, outputs)) * [1, 10, 100][:outputs] + 1000
        return target + rng.normal(size=target.shape), target
    target = rng.normal(size=(rows, 2, 4, 3)) + 1
    return target + 0.3 * rng.normal(size=target.shape), target
