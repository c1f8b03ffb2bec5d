"""Tests over many data sets: average ranks, Friedman, Wilcoxon with Holm's correction, critical differences, cliques.

Everything takes a table of errors, (data sets, contestants), lower is better, without gaps. The recipe is that of
Demsar (Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006); the cliques come from pairwise
tests (Benavoli, Corani and Mangili, JMLR 17, 2016: the mean-ranks test of a pair depends on who else takes part, a
signed-rank test does not), the critical difference of Nemenyi is shown beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

ALPHA = 0.05
DIGITS = 12  # figures that differ further down were reached by other sums: a tie, not a lead
FEWEST_BLOCKS = 2  # data sets below which there is nothing to test


@dataclass(frozen=True)
class Friedman:
    """Whether the contestants differ at all. statistic: chi-squared corrected for ties, k - 1 degrees of freedom; p.
    iman_davenport: F of (k - 1, (k - 1)(n - 1)) degrees, less conservative (None: infinite, all blocks agree);
    p_iman_davenport. blocks: n data sets; contestants: k."""

    statistic: float
    p: float
    iman_davenport: float | None
    p_iman_davenport: float
    blocks: int
    contestants: int


@dataclass(frozen=True)
class PairTest:
    """One pair under Wilcoxon's signed-rank test. p: two-sided; holm: p corrected for all pairs of the family."""

    a: str
    b: str
    p: float
    holm: float

    @property
    def differ(self) -> bool:
        return self.holm < ALPHA


def even(values: np.ndarray) -> np.ndarray:
    """Values to twelve digits, for comparisons that must not hang on rounding."""
    values = np.asarray(values, dtype=np.float64)
    size = np.where(np.isfinite(values) & (values != 0), np.abs(values), 1.0)
    with np.errstate(over="ignore", invalid="ignore"):  # far from one nothing is rounded
        scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(size)))
        rounded = np.rint(values * scale) / scale
    return np.where(np.isfinite(rounded), rounded, values)


def ranks(errors: np.ndarray) -> np.ndarray:
    """Ranks within each row, 1 is best, equal errors share the mean of their places."""
    return np.asarray(stats.rankdata(even(errors), axis=1), dtype=np.float64)


def friedman(errors: np.ndarray) -> Friedman | None:
    """Friedman's test, and the F form of Iman and Davenport (Communications in Statistics A9, 1980):
    F = (n - 1) chi2 / (n (k - 1) - chi2). None below three contestants or two data sets. Where all are tied, p is 1."""
    n, k = errors.shape
    if k < 3 or n < FEWEST_BLOCKS:
        return None
    placed = ranks(errors)
    if (placed == placed[:, :1]).all():
        return Friedman(0.0, 1.0, 0.0, 1.0, n, k)
    found = stats.friedmanchisquare(*placed.T)
    statistic = float(found.statistic)
    rest = n * (k - 1) - statistic
    if rest <= 1e-9 * n * (k - 1):
        return Friedman(statistic, float(found.pvalue), None, 0.0, n, k)
    f = (n - 1) * statistic / rest
    return Friedman(statistic, float(found.pvalue), f, float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))), n, k)


def wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, exact with and without ties: every assignment of signs is counted.

    Zeros keep their ranks and are split between both sides, as Demsar has it. The distribution of the sum of positive
    ranks is a convolution, one factor per difference; ranks are doubled, which makes shared ones whole numbers. 1 when
    there is no difference.
    """
    found = even(np.asarray(differences, dtype=np.float64))
    doubled = np.rint(2 * stats.rankdata(np.abs(found))).astype(np.int64)[found != 0]
    if not len(doubled):
        return 1.0
    chance = np.ones(1)
    for rank in doubled:
        grown = np.zeros(len(chance) + rank)
        grown[: len(chance)] += chance / 2
        grown[rank:] += chance / 2
        chance = grown
    positive = int(doubled[found[found != 0] > 0].sum())
    total = int(doubled.sum())
    far = np.abs(2 * np.arange(total + 1) - total) >= abs(2 * positive - total)
    return min(1.0, float(chance[far].sum()))


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """p-values corrected step down (Holm, Scandinavian Journal of Statistics 6, 1979): the i-th smallest of m times
    m - i + 1, never less than one before it, at most 1. In the order given."""
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    corrected = [0.0] * len(values)
    least = 0.0
    for place, i in enumerate(order):
        least = max(least, min(1.0, (len(values) - place) * values[i]))
        corrected[i] = least
    return tuple(corrected)


def pair_tests(differences: Mapping[tuple[str, str], Sequence[float]]) -> tuple[PairTest, ...]:
    """Every pair's differences over data sets, tested, and corrected as one family."""
    p = [wilcoxon(values) for values in differences.values()]
    return tuple(PairTest(a, b, one, other) for (a, b), one, other in zip(differences, p, holm(p)))


def critical_difference(contestants: int, blocks: int, alpha: float = ALPHA) -> float | None:
    """Nemenyi's: average ranks further apart than this differ. q * sqrt(k (k + 1) / (6 n)), with q the quantile of the
    studentised range for infinite degrees of freedom over the square root of two. None for fewer than two contestants
    or no data set."""
    if contestants < 2 or blocks < 1:
        return None
    q = float(stats.studentized_range.ppf(1 - alpha, contestants, np.inf)) / math.sqrt(2)
    return q * math.sqrt(contestants * (contestants + 1) / (6 * blocks))


def cliques(order: Sequence[str], tests: Sequence[PairTest]) -> tuple[tuple[str, ...], ...]:
    """Runs of neighbours in the order of average ranks of which no two differ, the longest ones, two or more each."""
    apart = {frozenset((t.a, t.b)) for t in tests if t.differ}
    found: list[tuple[int, int]] = []
    for first in range(len(order)):
        last = first
        while last + 1 < len(order) and all(
            frozenset((order[i], order[last + 1])) not in apart for i in range(first, last + 1)
        ):
            last += 1
        if last > first and not any(a <= first and last <= b for a, b in found):
            found.append((first, last))
    return tuple(tuple(order[a : b + 1]) for a, b in found)
