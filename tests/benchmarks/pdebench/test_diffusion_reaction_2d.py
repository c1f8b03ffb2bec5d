"""FitzHugh-Nagumo against dense exponentials, the point equation, and an adaptive integrator."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from crosstune.benchmarks.pdebench.solvers import fitzhugh_nagumo as solver

from .proofs import fingerprint, observed_order


def laplace(fields, resolution):
    """Five points, mirrored walls, written as differences."""
    wide = np.pad(fields, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    around = wide[:, :, 2:, 1:-1] + wide[:, :, :-2, 1:-1] + wide[:, :, 1:-1, 2:] + wide[:, :, 1:-1, :-2]
    return (around - 4 * fields) * (resolution / 2.0) ** 2


def integrate(start, times, **tolerances):
    """The whole semi-discrete system by RK45, as the published data were made."""
    resolution = start.shape[-1]
    d = np.array([1e-3, 5e-3])[None, :, None, None]

    def change(t, y):
        state = y.reshape(1, 2, resolution, resolution)
        u, v = state[0]
        growth = np.stack([u - u**3 - 5e-3 - v, u - v])[None]
        return (d * laplace(state, resolution) + growth).ravel()

    found = solve_ivp(change, (0, times[-1]), start.ravel(), "RK45", times, **tolerances)
    return found.y.T.reshape(len(times), 2, resolution, resolution)


def test_diffusion_alone_is_the_exponential_of_the_five_point_operator(monkeypatch):
    monkeypatch.setattr(solver, "react", lambda state, step: state)
    start = solver.noise(0, 6, 0)[None]
    found = solver.strang(start, 3, 0.5, 1, (1e-3, 5e-2))
    identity = np.eye(36).reshape(36, 1, 6, 6)
    matrix = laplace(identity, 6).reshape(36, 36).T
    for c, d in enumerate((1e-3, 5e-2)):
        exact = expm(d * 1.0 * matrix) @ start[0, c].ravel()
        np.testing.assert_allclose(found[0, 2, c].ravel(), exact, atol=1e-12)
    mass = found.mean(axis=(3, 4))
    assert np.abs(mass - mass[:, :1]).max() < 1e-12


def test_reaction_alone_is_the_point_equation():
    start = np.array([[1.5, -0.3, 0.0, 2.5], [0.2, -1.0, 0.5, -2.0]]).reshape(1, 2, 2, 2)
    found = solver.strang(start, 5, 0.025, 2, (0.0, 0.0))

    def change(t, y):
        u, v = y
        return [u - u**3 - 5e-3 - v, u - v]

    for place in range(4):
        point = start.reshape(2, 4)[:, place]
        exact = solve_ivp(change, (0, 0.2), point, "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
        np.testing.assert_allclose(found.reshape(5, 2, 4)[-1, :, place], exact, atol=2e-5)


def test_strang_is_of_order_two():
    start = np.stack([solver.noise(i, 16, 0) for i in range(2)])
    exact = solver.strang(start, 2, 0.5 / 512, 512)[:, 1]
    errors = [np.abs(solver.strang(start, 2, 0.5 / n, n)[:, 1] - exact).max() for n in (16, 32, 64)]
    assert (abs(observed_order(errors) - 2) < 0.2).all(), observed_order(errors)


def test_against_an_adaptive_integrator_and_better_than_the_published_tolerances():
    start = solver.noise(3, 16, 0)[None]
    times = 0.05 * np.arange(101)
    exact = integrate(start, times, rtol=1e-8, atol=1e-10)
    ours = np.abs(solver.solve([3], 16, 0, {})[0] - exact).max()
    theirs = np.abs(integrate(start, times) - exact).max()
    assert ours < 2e-3
    assert ours < theirs


def test_noise_is_that_of_the_published_seeds():
    rng = np.random.default_rng(7)
    u, v = rng.standard_normal((8, 8)), rng.standard_normal((8, 8))
    assert np.array_equal(solver.solve([7], 8, 0, {})[0, 0], np.stack([u, v]))


def test_the_target_as_shipped_depends_on_what_is_not_shown():
    """The same u at the start with another v, and with the same v another u: both move v at the end by as much."""
    a, b = (solver.noise(i, 32, 0) for i in (0, 1))
    starts = np.stack([a, [a[0], b[1]], [b[0], a[1]]])
    v = solver.strang(starts, 2, 0.025, 200)[:, 1, 1]
    hidden, shown = (np.linalg.norm(v[k] - v[0]) / np.linalg.norm(v[0]) for k in (1, 2))
    assert hidden > 0.3
    assert hidden > 0.3 * shown


def test_the_shipped_mismatch_is_as_small_as_measured():
    """Relative change of v between t = 4.95 and t = 5: 0.54 % on 64 x 64."""
    found = solver.solve([0], 64, 0, {})[0, -2:, 1]
    assert np.linalg.norm(found[1] - found[0]) / np.linalg.norm(found[1]) == pytest.approx(0.0054, abs=2e-3)


def test_a_sample_does_not_depend_on_its_company():
    many = solver.solve([2, 3, 4], 16, 0, {}).astype(np.float32)
    assert np.array_equal(many[1], solver.solve([3], 16, 0, {})[0].astype(np.float32))


def test_golden():
    assert fingerprint(solver.solve([0, 3], 16, 0, {})[:, ::50, :, ::5, ::5], 1e-3) == "160da5cfac711c8f"
