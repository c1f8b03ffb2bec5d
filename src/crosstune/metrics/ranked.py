"""Ranking figures of many resamples of the same rows: the scores are sorted once, a resample is a weight per row.

A row drawn twice counts twice, so that every figure equals that of ``ranking`` on the drawn rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class Columns:
    """Scores (n, K) and booleans (n, K), sorted by score in every column, ties as runs [start, end]."""

    def __init__(self, score: np.ndarray, positive: np.ndarray, *, descending: bool) -> None:
        signed = -score.T if descending else score.T  # columns lie one behind the other, which sums and takes like
        self.order = np.argsort(signed, axis=1, kind="stable")
        ranked = np.take_along_axis(signed, self.order, 1)
        self.positive = np.take_along_axis(np.ascontiguousarray(positive.T), self.order, 1)
        columns, rows = ranked.shape
        changes = ranked[:, 1:] != ranked[:, :-1]
        edge = np.ones((columns, 1), dtype=bool)
        place = np.arange(rows)
        first = np.where(np.hstack([edge, changes]), place, 0)
        last = np.where(np.hstack([changes, edge]), place, rows - 1)
        self.start = np.maximum.accumulate(first, axis=1)
        self.end = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]

    def weights(self, draw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of all rows and of the positive ones, (K, n) in the order of each column."""
        every = np.bincount(draw, minlength=self.order.shape[1]).astype(np.float64)[self.order]
        return every, every * self.positive


def auroc_of(columns: Columns, draw: np.ndarray) -> float:
    """``ranking.macro_auroc`` of the rows ``draw``; columns in ascending order."""
    every, right = columns.weights(draw)
    wrong = every - right
    below = wrong.cumsum(axis=1)
    upto = np.take_along_axis(below, columns.end, 1)
    before = np.take_along_axis(below - wrong, columns.start, 1)
    p, q = right.sum(axis=1), wrong.sum(axis=1)
    defined = (p > 0) & (q > 0)
    if not defined.any():
        return float("nan")
    pairs = (right * (upto + before)).sum(axis=1) / 2  # negatives below each positive, ties half
    return float((pairs[defined] / (p * q)[defined]).mean())


def average_precision_of(columns: Columns, draw: np.ndarray) -> float:
    """``ranking.macro_average_precision`` of the rows ``draw``; columns in descending order."""
    every, right = columns.weights(draw)
    p = right.sum(axis=1)
    defined = p > 0
    if not defined.any():
        return float("nan")
    found = np.take_along_axis(right.cumsum(axis=1), columns.end, 1)
    seen = np.take_along_axis(every.cumsum(axis=1), columns.end, 1)
    precision = found / np.maximum(seen, 1.0)  # nothing seen: nothing of the run was drawn, and its weight is zero
    return float(((right * precision).sum(axis=1)[defined] / p[defined]).mean())


def over(
    score: np.ndarray, positive: np.ndarray, draws: np.ndarray, figure: Callable[[Columns, np.ndarray], float]
) -> np.ndarray:
    """1 - the figure for every draw (r, n) of row numbers, (r,)."""
    columns = Columns(score, positive, descending=figure is average_precision_of)
    return np.array([1 - figure(columns, draw) for draw in draws])
