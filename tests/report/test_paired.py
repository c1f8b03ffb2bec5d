"""Paired relative differences: closed forms, another library's bootstrap, and what must not change them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crosstune.report import paired
from crosstune.report.paired import relative, relative_difference, seed_interval, task_outcome

ERRORS = st.floats(0, 1e6, allow_nan=False)


@given(ERRORS, ERRORS, st.floats(1e-3, 1e3))
@settings(max_examples=80, deadline=None)
def test_relative_difference_is_bounded_antisymmetric_and_free_of_scale(a: float, b: float, scale: float) -> None:
    d = float(relative_difference(a, b))
    assert -1 <= d <= 1
    assert d == -float(relative_difference(b, a))
    assert float(relative_difference(scale * a, scale * b)) == pytest.approx(d, abs=1e-9)


def test_relative_difference_in_numbers() -> None:
    assert relative_difference([0.8, 1.0, 0.0, 0.0, 2.0], [1.0, 0.8, 0.0, 3.0, 0.0]).tolist() == pytest.approx(
        [-0.2, 0.2, 0.0, -1.0, 1.0]
    )
    assert float(relative_difference(0.1 + 0.2, 0.3)) == 0.0


def test_seed_interval_is_student_s() -> None:
    gaps = [0.1, 0.25, 0.2, 0.4]
    other = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert seed_interval(gaps) == pytest.approx((other.low, other.high))
    assert seed_interval([0.1, 0.2]) is None
    assert seed_interval([0.1, 0.1, 0.1]) is None  # seeds that make no difference


@pytest.mark.parametrize(("gaps", "outcome"), [
    ([0.1, 0.11, 0.12], "win"), ([-0.1, -0.11, -0.12], "loss"), ([0.1, 0.2, 0.3], "tie"), ([0.1, -0.1, 0.0], "tie"),
    ([0.1, 0.1, 0.1], "win"), ([0.0, 0.0, 0.0], "tie"), ([0.2], "win"), ([0.0], "tie"), ([-0.1, 0.2], "tie"),
])  # fmt: skip
def test_outcomes_go_by_the_spread_over_seeds(gaps: list[float], outcome: str) -> None:
    assert task_outcome(gaps, seed_interval(gaps)) == outcome


def flat(values: dict[str, float], seeds: int = 3) -> dict[str, dict[int, float]]:
    return {task: dict.fromkeys(range(seeds), value) for task, value in values.items()}


def test_without_spread_over_seeds_it_is_the_bootstrap_of_data_sets() -> None:
    d = np.array([-0.31, -0.107, 0.0523, -0.217, -0.1531, -0.4013, 0.0907, -0.0511])
    a = flat({f"s/{i}": (1 + v if v < 0 else 1.0) for i, v in enumerate(d)})
    b = flat({f"s/{i}": (1.0 if v < 0 else 1 - v) for i, v in enumerate(d)})
    found = relative("a", a, "b", b)
    assert found.value == pytest.approx(d.mean())
    other = stats.bootstrap((d,), np.mean, method="percentile", n_resamples=40_000, rng=1).confidence_interval
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.006)
    assert found.p == pytest.approx(stats.wilcoxon(d).pvalue)
    assert (found.data_sets, found.tasks, found.seeds) == (8, 8, (3, 3))
    assert (found.win, found.loss, found.lower, found.higher) == (6, 2, 6, 2)


def test_without_spread_over_data_sets_it_is_that_of_seeds() -> None:
    """b is 1 and the larger throughout, so d is linear: its sd is that of a mean of seeds, over as many data sets."""
    seeds = np.array([0.5, 0.7, 0.6, 0.4, 0.55])
    a = {f"s/{i}": dict(enumerate(seeds)) for i in range(12)}
    b = flat({f"s/{i}": 1.0 for i in range(12)}, 5)
    found = relative("a", a, "b", b)
    assert found.low is not None
    assert found.high is not None
    sd = seeds.std() / np.sqrt(len(seeds) * 12)
    assert (found.high - found.low) / (2 * 1.96 * sd) == pytest.approx(1.0, abs=0.05)


def test_both_levels_make_the_interval_wider_than_either() -> None:
    rng = np.random.default_rng(0)
    centres = rng.uniform(0.55, 0.65, 10)
    noisy = {f"s/{i}": {s: c + 0.2 * rng.standard_normal() for s in range(3)} for i, c in enumerate(centres)}
    still = {task: dict.fromkeys(range(3), float(np.mean(list(e.values())))) for task, e in noisy.items()}
    b = flat({f"s/{i}": 2.0 for i in range(10)})
    wide, narrow = relative("a", noisy, "b", b), relative("a", still, "b", b)
    assert wide.high is not None
    assert narrow.high is not None
    assert wide.high - wide.low > 1.1 * (narrow.high - narrow.low)  # type: ignore[operator]


def test_variants_of_a_data_set_are_one_data_set() -> None:
    a, b = {}, {}
    for i in range(6):
        for suffix in ("", "-30", "-10"):
            a[f"s/{i}{suffix}"] = {0: 0.5 + 0.05 * i}
            b[f"s/{i}{suffix}"] = {0: 1.0}
    triple = relative("a", a, "b", b)
    single = relative("a", {t: e for t, e in a.items() if "-" not in t}, "b", b)
    assert (triple.data_sets, triple.tasks, triple.p) == (6, 18, single.p)
    assert triple.value == pytest.approx(single.value)
    assert (triple.low, triple.high) == pytest.approx((single.low, single.high), abs=0.01)
    assert paired.share_of("s/digits-10") == 10
    assert paired.share_of("s/osu-leaf") == 100
    assert paired.data_set_of("s/osu-leaf-30") == "s/osu-leaf"


def test_order_and_the_names_of_the_two_change_nothing() -> None:
    rng = random.Random(1)
    a = {f"s/{i}": {s: rng.uniform(0.1, 1) for s in range(3)} for i in range(9)}
    b = {f"s/{i}": {s: rng.uniform(0.1, 1) for s in range(3)} for i in range(9)}
    first = relative("a", a, "b", b)
    shuffled = [{t: dict(reversed(e.items())) for t, e in reversed(side.items())} for side in (a, b)]
    assert relative("a", shuffled[0], "b", shuffled[1]) == first
    other = relative("b", b, "a", a)
    assert other.value == pytest.approx(-first.value)  # type: ignore[operator]
    assert (other.low, other.high) == pytest.approx((-first.high, -first.low), abs=1e-9)  # type: ignore[operator]
    assert (other.win, other.tie, other.loss) == (first.loss, first.tie, first.win)


def test_pairs_that_lack_something() -> None:
    a = {"s/1": {0: 0.5, 1: 0.6}, "s/2": {0: 0.4}, "s/3": {5: 0.1}}
    b = {"s/1": {1: 0.3, 2: 9.0}, "s/2": {0: 0.4}, "s/3": {6: 0.1}, "s/4": {0: 1.0}}
    found = relative("a", a, "b", b)
    assert (found.tasks, found.data_sets, found.seeds) == (2, 2, (1, 1))
    assert found.value == pytest.approx((0.5 + 0.0) / 2)  # 0.6 against 0.3, and equal
    assert (found.low, found.high, found.decided) == (None, None, 0)
    nothing = relative("a", a, "b", {})
    assert (nothing.value, nothing.tasks, nothing.p, nothing.seeds) == (None, 0, 1.0, (0, 0))


def test_all_tied_is_zero_with_an_interval_of_zero() -> None:
    same = flat({f"s/{i}": 0.1 * i for i in range(8)})
    found = relative("a", same, "b", same)
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert (found.tie, found.equal, found.decided) == (8, 8, 0)


def test_few_data_sets_decide_nothing() -> None:
    for count, low, decided in ((3, None, 0), (5, -0.5, 0), (6, -0.5, -1)):
        found = relative(
            "a", flat({f"s/{i}": 1.0 for i in range(count)}), "b", flat({f"s/{i}": 2.0 for i in range(count)})
        )
        assert found.low == (None if low is None else pytest.approx(low))
        assert found.decided == decided
