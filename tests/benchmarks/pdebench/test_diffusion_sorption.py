"""Diffusion-sorption against the error function of the linear case, self-similarity, and another integrator."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import erfc

from crosstune.benchmarks.pdebench.solvers import sorption
from crosstune.errors import DataError

from .proofs import fingerprint, observed_order


def front(points, wall):
    """Linear case (n_f = 1) at 50 s from 0: erfc of the distance from the wall, and the solver's answer."""
    found = sorption.integrate(np.zeros(points), np.array([0.0, 50.0]), exponent=1.0, rtol=1e-9, atol=1e-12)[1]
    speed = sorption.DIFFUSIVITY / float(sorption.retardation(np.zeros(1), 1.0)[0])
    x = (np.arange(points) + 0.5) / points + wall
    return found, erfc(x / (2 * np.sqrt(speed * 50.0)))


def test_linear_case_is_the_error_function_with_order_one():
    """The value 1 sits half a cell outside x = 0, as published: first order against the wall at x = 0."""
    errors = [np.abs(np.subtract(*front(points, 0.0))).max() for points in (64, 128, 256)]
    assert (abs(observed_order(errors) - 1) < 0.2).all(), observed_order(errors)


def test_linear_case_is_of_order_two_where_the_value_really_sits():
    errors = [np.abs(np.subtract(*front(points, 0.5 / points))).max() for points in (64, 128, 256)]
    assert (abs(observed_order(errors) - 2) < 0.2).all(), observed_order(errors)


def test_profiles_collapse_in_x_over_root_t():
    """Before the front meets the other wall the solution depends on x / sqrt(t) alone, retardation and all."""
    points = 512
    found = sorption.integrate(np.full(points, 0.1), np.array([0.0, 25.0, 100.0]))
    x = (np.arange(points) + 1.0) / points  # from where the value sits
    early = np.interp(x / 2, x, found[1])
    inside = (x > 2 / points) & (x < 0.5)
    assert np.abs(early - found[2])[inside].max() < 2e-3
    assert np.abs(found[1] - found[2])[inside].max() > 0.1


def test_against_another_integrator():
    start = sorption.profile(3, 64, 0)

    def change(t, u):
        wide = np.concatenate([[1.0], u, [sorption.DIFFUSIVITY * 64 * (u[-2] - u[-1])]])
        return sorption.DIFFUSIVITY / sorption.retardation(u) * np.diff(wide, 2) * 64**2

    times = np.array([0.0, 5.0, 50.0, 500.0])
    other = solve_ivp(change, (0, 500), start, "Radau", times, rtol=1e-8, atol=1e-10).y.T
    assert np.abs(sorption.integrate(start, times) - other).max() < 1e-5


def test_retardation_by_hand():
    expected = 1 + 0.71 / 0.29 * 2880 * 3.5e-4 * 0.874 * 0.100001**-0.126
    assert sorption.retardation(np.array([0.1]))[0] == pytest.approx(expected, rel=1e-12)


def test_grid_convergence_of_the_whole_equation():
    """First order, as the wall's is."""
    at = {}
    for points in (64, 128, 256, 512):
        u = sorption.integrate(np.full(points, 0.1), np.array([0.0, 100.0]))[1]
        x = (np.arange(points) + 0.5) / points
        at[points] = np.interp(np.linspace(0.1, 0.5, 9), x, u)
    gaps = [np.abs(at[a] - at[2 * a]).max() for a in (64, 128, 256)]
    assert (abs(observed_order(gaps) - 1) < 0.2).all(), observed_order(gaps)


def test_published_kind_is_one_number_and_falls_to_the_right():
    u = sorption.solve(range(4), 64, 0, {"profiles": False})[:, :, 0]
    assert (np.ptp(u[:, 0], axis=1) == 0).all()
    assert np.diff(u[:, 1:], axis=2).max() < 1e-6
    np.testing.assert_array_equal(
        u[:, 0, 0], [np.random.default_rng(i).uniform(0, 0.2) for i in range(4)]
    )  # the published seeds
    other = sorption.solve(range(4), 64, 0, {"profiles": True})[:, 0, 0]
    assert other.min() == 0
    assert other.max() == 1


def test_the_shipped_mismatch_is_as_small_as_measured():
    """Relative change between 495 s and 500 s: 0.30 % from an initial concentration of 0.1."""
    u = sorption.integrate(np.full(256, 0.1), 5.0 * np.arange(101))
    assert np.linalg.norm(u[100] - u[99]) / np.linalg.norm(u[100]) == pytest.approx(0.003, abs=3e-4)


def test_a_failed_integration_is_an_error(monkeypatch):
    import scipy.integrate

    real = scipy.integrate.odeint
    monkeypatch.setattr(scipy.integrate, "odeint", lambda *a, **k: real(*a, **{**k, "mxstep": 2}))
    with (
        pytest.warns(scipy.integrate.ODEintWarning),
        pytest.raises(DataError, match="diffusion-sorption on 32 points: Excess work"),
    ):
        sorption.solve([0], 32, 0, {"profiles": False})


def test_golden():
    level, profile = (sorption.solve([0, 3], 32, 0, {"profiles": p})[:, 1::33, 0, ::4] for p in (False, True))
    assert fingerprint(level, 1e-3) == "e93557e5addf8b4b"
    assert fingerprint(profile, 1e-3) == "c88d27f5d73e298c"
