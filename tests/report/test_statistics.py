"""Tests over data sets, against a published worked example, enumeration and the closed-testing principle."""

from __future__ import annotations

from itertools import chain, combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crosstune.report import statistics as found

# Demsar 2006, table 6: ranks of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets
DEMSAR = np.array([
    [4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1],
    [2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3], [3, 1, 4, 2],
])  # fmt: skip
# the same table: AUC of C4.5+m minus that of C4.5
GAINS = [.005, -.008, .017, .033, .006, -.005, .007, 0, .063, 0, .022, .047, .009, .021]  # fmt: skip


def test_ranks_and_friedman_of_demsar_s_example() -> None:
    placed = found.ranks(DEMSAR)
    assert placed.mean(axis=0) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    test = found.friedman(DEMSAR)
    assert test is not None
    # he leaves ties uncorrected: 9.28; three pairs and one quadruple are tied
    correction = 1 - (3 * (2**3 - 2) + 4**3 - 4) / (14 * (4**3 - 4))
    assert test.statistic * correction == pytest.approx(9.28, abs=0.005)
    uncorrected = test.statistic * correction
    assert 13 * uncorrected / (14 * 3 - uncorrected) == pytest.approx(3.69, abs=0.005)
    assert test.iman_davenport == pytest.approx(13 * test.statistic / (14 * 3 - test.statistic))
    assert (test.blocks, test.contestants) == (14, 4)
    assert test.p_iman_davenport < test.p < 0.05


def test_critical_differences_of_demsar_s_table() -> None:
    q = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]  # table 5 (a), alpha 0.05, k = 2 ... 10
    for k, value in enumerate(q, start=2):
        mine = found.critical_difference(k, 1)
        assert mine is not None
        assert mine / np.sqrt(k * (k + 1) / 6) == pytest.approx(value, abs=1.5e-3)
    assert found.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert found.critical_difference(4, 14, 0.10) == pytest.approx(1.12, abs=0.005)
    assert found.critical_difference(1, 14) is None


def test_friedman_where_all_are_tied_all_agree_or_nothing_can_be_tested() -> None:
    tied = found.friedman(np.ones((5, 3)))
    assert tied is not None
    assert (tied.statistic, tied.p, tied.p_iman_davenport) == (0.0, 1.0, 1.0)
    agree = found.friedman(np.tile([1.0, 2.0, 3.0], (5, 1)))
    assert agree is not None
    assert agree.statistic == pytest.approx(10.0)  # n (k - 1): the largest there is
    assert (agree.iman_davenport, agree.p_iman_davenport) == (None, 0.0)
    assert found.friedman(np.ones((5, 2))) is None
    assert found.friedman(np.ones((1, 3))) is None


def enumerated(values: list[float]) -> float:
    """p by all signs: how often the sum of positive ranks is as far from its mean."""
    size = np.abs(values)
    rank = np.argsort(np.argsort(size)) + 1.0
    mean = rank.sum() / 2
    seen = abs(rank[np.array(values) > 0].sum() - mean)
    far = [abs(np.dot(signs, rank) - mean) >= seen - 1e-9 for signs in product((0, 1), repeat=len(values))]
    return float(np.mean(far))


@given(st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_signed_ranks_with_ties_and_zeros_against_every_assignment_of_signs(values: list[float]) -> None:
    rank = stats.rankdata(np.abs(values))
    split = rank[np.array(values) == 0].sum() / 2
    others = rank[np.array(values) != 0]
    seen = abs(rank[np.array(values) > 0].sum() + split - rank.sum() / 2)
    far = [
        abs(np.dot(signs, others) + split - rank.sum() / 2) >= seen - 1e-9
        for signs in product((0, 1), repeat=len(others))
    ]
    assert found.wilcoxon(values) == pytest.approx(float(np.mean(far)))


def test_signed_ranks_against_another_library() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 30)
    assert found.wilcoxon(values.tolist()) == pytest.approx(stats.wilcoxon(values).pvalue)


@pytest.mark.parametrize("values", [
    [0.1, 0.2, -0.3, 0.4, 0.5, 0.6], [1.0, 2.0, 3.0, 4.0, 5.0], [-0.1, 0.2, -0.3, 0.4, -0.5, 0.6, 0.7, 0.8], [0.3],
])  # fmt: skip
def test_signed_ranks_against_every_assignment_of_signs(values: list[float]) -> None:
    assert found.wilcoxon(values) == pytest.approx(enumerated(values))
    assert found.wilcoxon([-v for v in values]) == pytest.approx(enumerated(values))


def test_signed_ranks_of_demsar_s_example_and_of_nothing() -> None:
    assert 0.005 < found.wilcoxon(GAINS) < 0.02  # he rejects at 0.05: T = 12, the critical value is 21
    assert found.wilcoxon([0.0, 0.0, 1e-20]) == pytest.approx(found.wilcoxon([0.0, 0.0, 1.0]))
    assert found.wilcoxon([0.0] * 9) == 1.0
    assert found.wilcoxon([]) == 1.0


def closed(values: list[float]) -> list[float]:
    """Corrected p by the closed-testing principle with Bonferroni's test of every subset, of which Holm is the short
    form."""
    index = range(len(values))
    subsets = list(chain.from_iterable(combinations(index, size) for size in range(1, len(values) + 1)))
    return [
        max(min(1.0, len(s) * min(values[j] for j in s)) for s in subsets if i in s) for i in index
    ]  # fmt: skip


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
@settings(max_examples=60, deadline=None)
def test_holm_is_the_closed_test(values: list[float]) -> None:
    assert found.holm(values) == pytest.approx(closed(values))


def test_holm_of_a_textbook_example() -> None:
    assert found.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert found.holm([]) == ()


def pair(a: str, b: str, holm: float) -> found.PairTest:
    return found.PairTest(a, b, holm, holm)


def test_cliques_are_the_longest_runs_without_a_difference() -> None:
    apart = {("a", "d"), ("a", "e"), ("b", "e")}
    tests = [pair(x, y, 0.01 if (x, y) in apart else 0.5) for x, y in combinations("abcde", 2)]
    assert found.cliques("abcde", tests) == (("a", "b", "c"), ("b", "c", "d"), ("c", "d", "e"))
    # a run ends at the first that differs from anyone in it, even if the ends do not
    tests = [pair("a", "b", 0.01), pair("b", "c", 0.5), pair("a", "c", 0.5)]
    assert found.cliques("abc", tests) == (("b", "c"),)
    assert found.cliques("abc", [pair(x, y, 0.01) for x, y in combinations("abc", 2)]) == ()
    assert found.cliques("abc", [pair(x, y, 0.05) for x, y in combinations("abc", 2)]) == (("a", "b", "c"),)


def test_figures_that_differ_by_rounding_are_tied() -> None:
    assert found.ranks(np.array([[0.1 + 0.2, 0.3, 0.4]])).tolist() == [[1.5, 1.5, 3.0]]
    assert found.even(np.array([0.0, 1e-300, 1e300, -2.5])).tolist() == pytest.approx([0.0, 1e-300, 1e300, -2.5])
