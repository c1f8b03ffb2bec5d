"""Shallow water against the exact dam break, a radial solution on a fine line, and what must not change."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import brentq

from crosstune.benchmarks.pdebench.solvers import water
from crosstune.benchmarks.pdebench.solvers.stepping import advance

from .proofs import fingerprint, observed_order

VARIED, STANDARD = {"varied": True}, {"varied": False}


def test_a_lake_at_rest_stays_to_the_bit():
    state = np.zeros((1, 3, 12, 12))
    state[:, 0] = 1.7
    assert np.array_equal(water.run(state, 0.1, 3, 0.3)[:, -1], state)


def test_symmetry_to_the_bit():
    h = water.solve([3], 32, 0, STANDARD)[0, :, 0]
    assert np.array_equal(h, h[:, ::-1])
    assert np.array_equal(h, h[:, :, ::-1])
    assert np.array_equal(h, h.swapaxes(1, 2))
    assert h[-1].std() > 0.01


def test_mass_is_kept_until_waves_reach_the_walls():
    states = np.stack([water.column(i, 96, 0, False) for i in (0, 1)])
    h = water.run(states, 5.0 / 96, 2, 0.3)[:, :, 0].sum(axis=(2, 3))
    assert (np.abs(h[:, 1] - h[:, 0]) / h[:, 0]).max() < 1e-12


# -- dam break in one dimension --------------------------------------------------------------------------------------


def stoker(high, low, s):
    """Height at x / t = s after a dam between two levels of resting water broke (Stoker 1957), g = 1."""
    c = np.sqrt(high)

    def mismatch(h):
        return 2 * (c - np.sqrt(h)) - (h - low) * np.sqrt(0.5 * (1 / h + 1 / low))

    h = brentq(mismatch, low, high, xtol=1e-14)
    u = 2 * (c - np.sqrt(h))
    shock = h * u / (h - low)
    fan = (2 * c - s) ** 2 / 9
    return np.where(s < -c, high, np.where(s < u - np.sqrt(h), fan, np.where(s < shock, h, low)))


def dam_error(cells, time=0.6):
    dx = 5.0 / cells
    x = -2.5 + dx * (np.arange(cells) + 0.5)
    state = np.zeros((1, 3, cells, 3))
    state[0, 0] = np.where(x < 0, 2.0, 1.0)[:, None]
    found = water.run(state, dx, 2, time)[0, 1, 0, :, 1]
    return np.abs(found - stoker(2.0, 1.0, x / time)).sum() * dx


def test_dam_break_converges_with_order_one():
    errors = [dam_error(cells) for cells in (100, 200, 400)]
    assert (abs(observed_order(errors) - 1) < 0.2).all(), observed_order(errors)
    assert errors[-1] < 0.02


def pulse(cells):
    dx = 5.0 / cells
    x = -2.5 + dx * (np.arange(cells) + 0.5)
    state = np.zeros((1, 3, cells, 3))
    state[0, 0] = (1 + 0.05 * np.exp(-4 * x**2))[:, None]
    return water.run(state, dx, 2, 0.5)[0, 1, 0, :, 1]


def test_smooth_waves_are_of_order_two():
    """Distances between grids, each half as fine as the next."""
    found = [pulse(cells) for cells in (50, 100, 200, 400)]
    gaps = [np.abs(a - b.reshape(len(a), 2).mean(axis=1)).mean() for a, b in itertools.pairwise(found)]
    assert (abs(observed_order(gaps) - 2) < 0.2).all(), observed_order(gaps)


# -- the column ------------------------------------------------------------------------------------------------------


def radial(radius, time, cells=4000, reach=2.5):
    """(r, h): the same collapse along the radius: h_t + (r q)_r / r = 0, first order on a fine line."""
    dr = reach / cells
    r = dr * (np.arange(cells) + 0.5)
    face = dr * np.arange(cells + 1)
    h, q, now = np.where(r <= radius, 2.0, 1.0), np.zeros(cells), 0.0
    while now < time:
        u, c = q / h, np.sqrt(h)
        dt = min(0.4 * dr / (np.abs(u) + c).max(), time - now)
        left = np.stack([np.concatenate([[h[0]], h]), np.concatenate([[-q[0]], q])])
        right = np.stack([np.concatenate([h, [h[-1]]]), np.concatenate([q, [q[-1]]])])
        speeds = [s[1] / s[0] for s in (left, right)], [np.sqrt(s[0]) for s in (left, right)]
        low = np.minimum(0, np.minimum(speeds[0][0] - speeds[1][0], speeds[0][1] - speeds[1][1]))
        high = np.maximum(0, np.maximum(speeds[0][0] + speeds[1][0], speeds[0][1] + speeds[1][1]))
        physical = [np.stack([s[1], s[1] ** 2 / s[0] + s[0] ** 2 / 2]) for s in (left, right)]
        flux = (high * physical[0] - low * physical[1] + low * high * (right - left)) / (high - low)
        change = -np.diff(face * flux) / (r * dr)
        change[1] += h**2 / 2 / r
        h, q, now = h + dt * change[0], q + dt * change[1], now + dt
    return r, h


def column_error(cells, reference):
    state = np.zeros((1, 3, cells, cells))
    x = -2.5 + 5.0 / cells * (np.arange(cells) + 0.5)
    r = np.hypot(x[:, None], x[None])
    # cells at the rim hold their share of the column: the cell-centre test of the data would hide the convergence
    fine = np.linspace(-0.5, 0.5, 11)[:-1] + 0.05
    share = np.mean(
        [np.hypot(x[:, None] + a * 5 / cells, x[None] + b * 5 / cells) <= 0.5 for a in fine for b in fine], 0
    )
    state[0, 0] = 1 + share
    found = water.run(state, 5.0 / cells, 2, 0.6)[0, 1, 0]
    return np.abs(found - np.interp(r, *reference)).mean()


def test_the_column_converges_to_a_radial_solution():
    reference = radial(0.5, 0.6, cells=1500)
    errors = [column_error(cells, reference) for cells in (32, 64)]
    assert errors[1] < 0.6 * errors[0]
    assert errors[1] < 1.2e-2


@pytest.mark.slow
def test_the_column_converges_to_a_radial_solution_with_order_one():
    reference = radial(0.5, 0.6)
    errors = [column_error(cells, reference) for cells in (64, 128, 256)]
    orders = observed_order(errors)
    assert (abs(orders - 1) < 0.2).all(), orders


def test_how_many_samples_differ():
    """81 on 128 x 128 and 24 on 64 x 64 with the published seeds; every test sample has a twin in training."""
    for resolution, count in ((128, 81), (64, 24)):
        first = water.first_equal(1000, resolution, 0, STANDARD)
        assert len(np.unique(first)) == count
        assert np.isin(first[900:], first[:900]).all()
    assert np.array_equal(water.first_equal(20, 64, 0, VARIED), np.arange(20))


def test_published_radii_and_random_columns():
    state = water.column(5, 128, 0, False)
    radius = np.random.default_rng(5).uniform(0.3, 0.7)
    assert (state[0] == 2).sum() * (5 / 128) ** 2 == pytest.approx(np.pi * radius**2, rel=0.02)
    found = np.stack([water.column(i, 64, 0, True)[0] for i in range(60)])
    heights = found.max(axis=(1, 2))
    assert 1.5 <= heights.min() < 1.6
    assert 2.4 < heights.max() <= 2.5


def test_the_shipped_mismatch_is_as_small_as_measured():
    """Relative change between t = 0.99 and t = 1: 0.40 % for R = 0.5."""
    x = -2.5 + 5.0 / 96 * (np.arange(96) + 0.5)
    state = np.zeros((1, 3, 96, 96))
    state[0, 0] = 1.0 + (np.hypot(x[:, None], x[None]) <= 0.5)
    late = water.run(state, 5.0 / 96, 2, 0.99)[:, -1]
    last = water.run(late, 5.0 / 96, 2, 0.01)[0, -1, 0]
    assert np.linalg.norm(last - late[0, 0]) / np.linalg.norm(last) == pytest.approx(0.004, abs=6e-4)


def test_a_sample_does_not_depend_on_its_company():
    many = water.solve([2, 3, 4], 16, 0, VARIED).astype(np.float32)
    assert np.array_equal(many[1], water.solve([3], 16, 0, VARIED)[0].astype(np.float32))


def test_steps_end_exactly_at_the_interval_and_diverging_samples_end_as_nan():
    clock = lambda s, dt: s + dt[:, None]  # noqa: E731
    found = advance(np.zeros((3, 1)), 0.35, lambda s: np.array([0.1, 1.0, 0.35])[: len(s)], clock)
    np.testing.assert_allclose(found, 0.35, rtol=1e-14)
    broken = advance(np.zeros((2, 1)), 1.0, lambda s: np.where(s[:, 0] > 0.4, 0.0, 0.5), clock)
    assert np.isnan(broken).all()


def test_golden():
    assert fingerprint(water.solve([0, 3], 16, 0, STANDARD)[:, ::50, 0, ::3, ::5], 1.1e-3) == "2e0204d8aa514c84"
    assert fingerprint(water.solve([0, 3], 16, 0, VARIED)[:, ::50, 0, ::3, ::5], 1.1e-3) == "bae6da72ca4ed806"
