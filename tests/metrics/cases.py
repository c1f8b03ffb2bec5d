"""Random predictions and targets of every kind, in canonical form."""

import numpy as np


def one_hot(codes, classes):
    """Certain probabilities (n, K, ...) of codes (n, ...); ignored positions are given to the first class."""
    return np.moveaxis(np.eye(classes)[np.maximum(codes, 0)], -1, 1)


def truth(kind, target, outputs):
    """The prediction that is right everywhere."""
    return one_hot(target, outputs) if kind in ("classification", "segmentation") else target.astype(float)


def outputs_for(metric):
    """Classes or columns of a case that the metric is defined for."""
    return 2 if metric.name.endswith(("1-auroc-hard", "1-auroc-pixels", "fnr-mask")) else 3


def case_for(metric, kind, rows, seed=0):
    """A case of the form that the metric is defined for."""
    if "mae8" not in metric.name:
        return case(kind, rows, seed, outputs_for(metric))
    rng = np.random.default_rng(seed)
    target = rng.uniform(3, 15, (rows, 1, 28, 28))
    target = (target + target.swapaxes(2, 3)) / 2
    return target + rng.normal(size=target.shape), target


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
    if kind == "segmentation":
        target = rng.integers(0, outputs, (rows, 5, 4))
        target[0, 0] = np.arange(4) % outputs
        logits = np.round(rng.normal(size=(rows, outputs, 5, 4)) + 0.7 * one_hot(target, outputs), 1)
        target[rng.random(target.shape) < 0.2] = -1
        exp = np.exp(logits)
        return exp / exp.sum(axis=1, keepdims=True), target
    target = rng.normal(size=(rows, 2, 4, 3)) + 1
    return target + 0.3 * rng.normal(size=target.shape), target
