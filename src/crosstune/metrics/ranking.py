"""Figures that look at the order of scores only. Defined over a whole split; no average over batches exists."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve of scores (n,) against a boolean target (n,); NaN unless both classes occur.

    The Mann-Whitney form, ties counted half: (sum of ranks of positives - p (p + 1) / 2) / (p q), Hanley and
    McNeil (1982).
    """
    p = int(positive.sum())
    q = len(positive) - p
    if not p or not q:
        return float("nan")
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(size) - (size - 1) / 2)[group]  # tied scores share the mean of their ranks
    return float((ranks[positive].sum() - p * (p + 1) / 2) / (p * q))


def macro_auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Mean of ``auroc`` over the columns of (n, K) where it is defined; NaN where it is defined for none."""
    p = positive.sum(axis=0)
    q = len(positive) - p
    defined = (p > 0) & (q > 0)
    if not defined.any():
        return float("nan")
    score, positive, p, q = score[:, defined], positive[:, defined], p[defined], q[defined]
    ranks = rankdata(score, axis=0)  # tied scores share the mean of their ranks
    areas = (np.where(positive, ranks, 0).sum(axis=0) - p * (p + 1) / 2) / (p * q)
    return float(areas.mean())


def macro_average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    """Average precision, the sum over distinct thresholds of (R_k - R_{k-1}) P_k without interpolation, averaged over
    the columns of (n, K) that have a positive; NaN if none has.

    Tied scores form one threshold, so that their order cannot matter.
    """
    defined = positive.any(axis=0)
    if not defined.any():
        return float("nan")
    score, positive = score[:, defined], positive[:, defined]
    order = np.argsort(-score, axis=0, kind="stable")
    ranked, right = np.take_along_axis(score, order, 0), np.take_along_axis(positive, order, 0)
    place = np.arange(1, len(score) + 1)[:, None]
    # the end of each run of ties: the precision there is that of every positive of the run
    last = np.vstack([ranked[1:] != ranked[:-1], np.ones((1, ranked.shape[1]), dtype=bool)])
    ends = np.where(last, place, len(score))
    ends = np.minimum.accumulate(ends[::-1], axis=0)[::-1]
    precision = np.take_along_axis(right.cumsum(axis=0) / place, ends - 1, 0)
    return float((np.where(right, precision, 0).sum(axis=0) / right.sum(axis=0)).mean())


def pairwise_auroc(score: np.ndarray, codes: np.ndarray) -> float:
    """The M measure of Hand and Till (2001): mean over class pairs of the two AUROCs within the pair.

    score: (n, K); codes: (n,). Pairs with an absent class are left out; NaN if no pair is left.
    """
    present, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(present) < 2:
        return float("nan")
    areas = np.empty((len(present), len(present)))
    for i, a in enumerate(present):
        # how many of a class's own scores lie below each row's, ties counted half: all pairs of the class at once
        own = np.sort(score[place == i, a])
        below = (np.searchsorted(own, score[:, a], "left") + np.searchsorted(own, score[:, a], "right")) / 2
        areas[i] = np.bincount(place, weights=1 - below / len(own), minlength=len(present)) / counts
    upper = np.triu_indices(len(present), 1)
    return float((areas + areas.T)[upper].mean() / 2)
