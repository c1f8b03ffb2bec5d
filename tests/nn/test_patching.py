"""Patch plans: every sample is covered, limits are kept, the arithmetic is consistent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosstune.errors import TaskError
from crosstune.nn.patching import PatchPlan, plan_patches

sizes = st.one_of(
    st.tuples(st.integers(1, 2000)),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40)),
)


def covers(plan: PatchPlan, size: tuple[int, ...]) -> bool:
    """Every index of every axis lies in a window (axes are independent)."""
    for n, w, s, g in zip(size, plan.window, plan.stride, plan.grid_for(size)):
        seen = {i for k in range(g) for i in range(k * s, k * s + w)}
        if not set(range(n)) <= seen:
            return False
    return True


@settings(max_examples=150, deadline=None)
@given(size=sizes, tokens=st.integers(1, 200), limit=st.integers(1, 126), overlap=st.booleans())
def test_plans_cover_the_signal_within_the_limit(size: tuple[int, ...], tokens: int, limit: int, overlap: bool) -> None:
    plan = plan_patches(size, tokens=tokens, limit=limit, overlap=overlap)
    assert 1 <= plan.tokens <= min(tokens, limit)
    assert covers(plan, size)
    assert all(1 <= w <= n + plan.pool - 1 for w, n in zip(plan.window, size))
    assert all(p >= n for p, n in zip(plan.padded_for(size), size))
    # no window lies wholly behind the signal
    assert all((g - 1) * s < n for g, s, n in zip(plan.grid, plan.stride, size))


@settings(max_examples=100, deadline=None)
@given(size=sizes, other=st.integers(1, 500))
def test_plans_cover_signals_of_other_extents(size: tuple[int, ...], other: int) -> None:
    plan = plan_patches(size, tokens=32, limit=126)
    assert covers(plan, (other,) * len(size))


def test_the_coverage_check_rejects_gaps() -> None:
    assert not covers(PatchPlan((10,), (2,), (3,)), (10,))


@pytest.mark.parametrize(("size", "tokens"), [((512,), 32), ((64, 64), 49), ((16, 16, 16), 64)])
def test_about_as_many_tokens_as_asked(size: tuple[int, ...], tokens: int) -> None:
    assert plan_patches(size, tokens=tokens, limit=510).tokens >= 0.4 * tokens


def test_windows_overlap_by_half() -> None:
    plan = plan_patches((512,), tokens=32, limit=510)
    assert plan.window[0] == 2 * plan.stride[0]


def test_short_signals_get_one_token_per_sample_and_windows_of_two() -> None:
    plan = plan_patches((8,), tokens=32, limit=510)
    assert plan.stride == (1,)
    assert plan.window == (2,)


def test_an_empty_axis_is_refused() -> None:
    with pytest.raises(TaskError, match="channel-first") as caught:
        plan_patches((0, 5), tokens=8, limit=8)
    assert caught.value.exit_code == 3
