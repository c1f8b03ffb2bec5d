"""Burgers: one solver against the other, an integrating factor, and the heat-kernel integral without steps in time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

from crosstune.benchmarks.pdebench.initial import draw, published_grid, stream
from crosstune.benchmarks.pdebench.solvers import burgers

from .proofs import fingerprint, observed_order


def smooth(points):
    x = (np.arange(points) + 0.5) / points
    waves = [(0.5, 1, 0.3), (0.25, 2, 1.1), (0.1, 3, 2.0)]
    u = 0.4 + sum(a * np.sin(2 * np.pi * k * x + phi) for a, k, phi in waves)
    return np.stack([u, 0.2 - u])


def integrating_factor(u, time, steps, diffusivity):
    """RK4 for exp(D k^2 t) times the spectrum, without splitting off the mean: nothing in common but the equation."""
    points = u.shape[1]
    k = 2 * np.pi * np.fft.rfftfreq(points, 1 / points)
    keep = k < 2 * np.pi * points / 3
    dt = time / steps
    half = np.exp(-diffusivity * k**2 * dt / 2)

    def rate(s):
        return -0.5j * k * keep * np.fft.rfft(np.fft.irfft(s, points) ** 2)

    s = np.fft.rfft(u) * keep
    for _ in range(steps):
        a = rate(s)
        b = rate(half * (s + dt / 2 * a))
        c = rate(half * s + dt / 2 * b)
        d = rate(half**2 * s + dt * half * c)
        s = half**2 * s + dt / 6 * (half**2 * a + 2 * half * (b + c) + d)
    return np.fft.irfft(s, points)


def heat_kernel(points, time, diffusivity, initial, potential, mean):
    """u at points by the integral of Cole and Hopf, the sums in logarithms: exact for any viscosity.

    initial, potential: of w = u - mean, and its integral, 1-periodic.
    """
    reach = 2 * np.abs(initial(np.linspace(0, 1, 999))).max() * time + 12 * np.sqrt(2 * diffusivity * time)
    out = []
    for x in np.asarray(points) - mean * time:
        y = np.linspace(x - reach, x + reach, 40_001)
        exponent = -((x - y) ** 2) / (4 * diffusivity * time) - potential(y) / (2 * diffusivity)
        speed = (x - y) / time
        weight = np.exp(exponent - logsumexp(exponent))
        out.append(mean + np.sum(weight * speed))
    return np.array(out)


def test_cole_hopf_against_an_integrating_factor():
    u = smooth(128)
    found = burgers.cole_hopf(u, np.array([0.0, 0.1]), 1 / np.pi)[:, 1]
    assert np.abs(found - integrating_factor(u, 0.1, 1000, 1 / np.pi)).max() < 1e-10


def test_cole_hopf_converges_faster_than_any_power():
    exact = burgers.cole_hopf(smooth(256), np.array([0.0, 0.1]), 0.03)[:, 1]
    x = np.arange(8)
    errors = []
    for points in (16, 32, 64):
        u = burgers.cole_hopf(smooth(points), np.array([0.0, 0.1]), 0.03)[:, 1]
        # the grids have no point in common: both are evaluated at the same places by their Fourier series
        errors.append(np.abs(series(u, x / 8) - series(exact, x / 8)).max())
    orders = observed_order(errors)
    assert orders[1] > orders[0] > 4
    assert errors[-1] < 1e-8


def series(u, x):
    """Values at places x of the Fourier series through u (n, N) at cell centres."""
    points = u.shape[1]
    k = np.arange(points // 2 + 1)
    weight = np.where((k == 0) | (k == points // 2), 1.0, 2.0) / points
    return ((np.fft.rfft(u) * weight) @ np.exp(2j * np.pi * k[:, None] * (x - 0.5 / points))).real


def test_both_solvers_agree_at_a_moderate_viscosity():
    times = 0.01 * np.arange(21)
    u = smooth(256)
    assert np.abs(burgers.cole_hopf(u, times, 0.03) - burgers.exponential(u, times, 0.03)).max() < 1e-8


def test_order_four_in_time():
    u, times = smooth(128), np.array([0.0, 0.1])
    exact = burgers.cole_hopf(u, times, 0.03)[:, 1]
    keep = np.fft.rfftfreq(128, 1 / 128) < 128 / 3
    state = np.fft.rfft(u - u.mean(axis=1, keepdims=True)) * keep
    shift = np.exp(-2j * np.pi * np.fft.rfftfreq(128, 1 / 128) * u.mean(axis=1, keepdims=True) * 0.1)
    errors = []
    for steps in (8, 16, 32):
        late = burgers._advance(state, 128, 0.03, 0.1 / steps, steps, keep)
        errors.append(np.abs(np.fft.irfft(late * shift, 128) + u.mean(axis=1, keepdims=True) - exact).max())
    assert (abs(observed_order(errors) - 4) < 0.2).all(), observed_order(errors)


def test_small_viscosity_against_the_heat_kernel():
    """Nu = 0.01 after the shock has formed, where exp(-integral / 2 D) of single numbers would overflow."""
    diffusivity = 0.01 / np.pi
    x = published_grid(1024)
    u = 0.3 + 1.2 * np.sin(2 * np.pi * x)
    found = burgers.exponential(u[None], 0.05 * np.arange(11), diffusivity)[0, -1]
    picks = np.arange(0, 1024, 32)
    exact = heat_kernel(
        x[picks], 0.5, diffusivity, lambda y: 1.2 * np.sin(2 * np.pi * y),
        lambda y: -1.2 / (2 * np.pi) * np.cos(2 * np.pi * y), 0.3,
    )  # fmt: skip
    assert np.abs(np.diff(found)).max() > 0.05  # there is a shock
    assert np.abs(found[picks] - exact).max() < 1e-6


@pytest.mark.parametrize("nu", [1.0, 0.01])
def test_invariants(nu):
    u = burgers.solve(range(4), 1024, 0, {"nu": nu})[:, ::20, 0]
    mean = u.mean(axis=2)
    assert np.abs(mean - mean[:, :1]).max() < 1e-12
    energy = (u**2).mean(axis=2)
    assert np.diff(energy, axis=1).max() < 1e-12
    assert (u.max(axis=2) - u[:, 0].max(axis=1)[:, None]).max() < 1e-6
    assert (u[:, 0].min(axis=1)[:, None] - u.min(axis=2)).max() < 1e-6


def test_at_nu_one_the_target_is_the_mean_of_the_input():
    u = burgers.solve(range(6), 1024, 0, {"nu": 1.0})[:, :, 0]
    assert np.abs(u[:, -1] - u[:, 0].mean(axis=1, keepdims=True)).max() < 1e-10


def test_a_sample_does_not_depend_on_its_company():
    for nu in (1.0, 0.01):
        many = burgers.solve([2, 3, 4], 64, 0, {"nu": nu})
        assert np.array_equal(many[1:2].astype(np.float32), burgers.solve([3], 64, 0, {"nu": nu}).astype(np.float32))


def test_initial_fields_are_those_of_advection():
    u = burgers.solve([5], 1024, 0, {"nu": 1.0})[0, 0, 0]
    assert np.array_equal(u, draw([stream(0, 5)])(published_grid(1024))[0])


def test_golden():
    assert fingerprint(burgers.solve([0, 3], 32, 0, {"nu": 1.0})[:, ::40, 0, ::4], 1e-3) == "db7dbba032e72e7c"
    assert fingerprint(burgers.solve([0, 3], 32, 0, {"nu": 0.01})[:, ::40, 0, ::4], 1.3e-3) == "ae337b40cb563646"
