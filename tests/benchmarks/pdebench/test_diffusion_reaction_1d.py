"""Diffusion-reaction 1D against the logistic formula, the heat kernel and an explicit scheme."""

from __future__ import annotations

import numpy as np

from crosstune.benchmarks.pdebench.initial import draw, published_grid, stream
from crosstune.benchmarks.pdebench.solvers import reaction_diffusion as solver

from .proofs import fingerprint, observed_order


def start(n=3, points=1024):
    return solver.scaled(draw([stream(0, i) for i in range(n)])(published_grid(points)))


def test_constant_fields_follow_the_logistic_formula():
    u = np.array([0.0, 0.2, 0.7, 1.0])[:, None] * np.ones(16)
    found = solver.strang(u, 6, 0.02, 10, 0.5, 1.0)
    t = 0.2 * np.arange(6)[:, None]
    exact = u[:, None] / (u[:, None] + (1 - u[:, None]) * np.exp(-t))
    np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_without_reaction_modes_decay_as_the_heat_equation_says():
    x = published_grid(64)
    u = (0.5 + 0.25 * np.cos(2 * np.pi * 3 * x))[None]
    found = solver.strang(u, 3, 0.01, 1, 0.05, 0.0)
    for frame in range(3):
        exact = 0.5 + 0.25 * np.cos(2 * np.pi * 3 * x) * np.exp(-0.05 * (6 * np.pi) ** 2 * 0.01 * frame)
        np.testing.assert_allclose(found[0, frame], exact, atol=1e-13)


def test_against_central_differences_and_a_tiny_explicit_step():
    u = start(2, 128)
    found = solver.strang(u, 2, 0.0005, 100, 0.02, 3.0)[:, 1]
    errors = []
    for points in (128,):
        v, dt = u.copy(), 0.05 / 4000
        for _ in range(4000):
            laplace = (np.roll(v, 1, axis=1) - 2 * v + np.roll(v, -1, axis=1)) * points**2
            v = v + dt * (0.02 * laplace + 3.0 * v * (1 - v))
        errors.append(np.abs(v - found).max())
    assert errors[0] < 5e-3


def test_strang_is_of_order_two():
    u = start(3, 256)
    exact = solver.strang(u, 2, 0.1 / 512, 512, 0.01, 5.0)[:, 1]
    errors = [np.abs(solver.strang(u, 2, 0.1 / n, n, 0.01, 5.0)[:, 1] - exact).max() for n in (4, 8, 16)]
    assert (abs(observed_order(errors) - 2) < 0.2).all(), observed_order(errors)


def test_published_substeps_leave_little_error():
    u = start()
    fine = solver.strang(u, 30, 0.01 / 40, 40, 0.01, 1.0)
    assert np.abs(solver.strang(u, 30, 0.01 / solver.SUBSTEPS, solver.SUBSTEPS, 0.01, 1.0) - fine).max() < 5e-6


def test_range_scaling_and_mean():
    u = solver.solve(range(8), 1024, 0, {"nu": 0.01, "rho": 1.0})[:, :, 0]
    assert u.min() > -1e-12
    assert u.max() < 1 + 1e-12
    assert (u[:, 0].min(axis=1) == 0).all()
    assert (u[:, 0].max(axis=1) == 1).all()
    assert (np.diff(u.mean(axis=2), axis=1) > 0).all()
    still = solver.solve(range(8), 1024, 0, {"nu": 0.5, "rho": 0.0})[:, :, 0].mean(axis=2)
    assert np.abs(still - still[:, :1]).max() < 1e-12


def test_published_parameters_leave_a_constant_and_true_growth_moves_it_by_a_fifth():
    """Spread of 0.0016 at t = 0.29; frames 29 and 99 differ by 21.6 % under the true equation."""
    u = solver.solve(range(32), 256, 0, {"nu": 0.5, "rho": 1.0})[:, :, 0]
    assert u[:, 29].std(axis=1).max() < 0.01
    gap = np.linalg.norm(u[:, 29] - u[:, 99], axis=1) / np.linalg.norm(u[:, 99], axis=1)
    assert abs(np.mean(gap) - 0.216) < 0.03


def test_single_precision_freezes_the_growth_of_large_values():
    """Why published fields hardly react: explicit steps of 2.4e-7, whose growth rounds to nothing."""
    start = np.array([0.3, 0.7, 0.8, 0.9])
    growth = {}
    for kind in (np.float32, np.float64):
        u, one, factor = start.astype(kind), kind(1), np.exp(kind(-2.4e-7))
        for _ in range(20_000):
            u = one / (one + factor * (one - u) / u)
        growth[kind] = u - start.astype(kind)
    exact = solver.grown(start, 20_000 * 2.4e-7) - start
    np.testing.assert_allclose(growth[np.float64], exact, rtol=1e-6)
    assert (np.abs(growth[np.float32][1:]) < 0.05 * exact[1:]).all()
    assert growth[np.float32][0] > 0.5 * exact[0]


def test_a_sample_does_not_depend_on_its_company():
    many = solver.solve([2, 3, 4], 64, 0, {"nu": 0.01, "rho": 1.0}).astype(np.float32)
    assert np.array_equal(many[1], solver.solve([3], 64, 0, {"nu": 0.01, "rho": 1.0})[0].astype(np.float32))


def test_golden():
    found = solver.solve([0, 3], 32, 0, {"nu": 0.01, "rho": 1.0})
    assert fingerprint(found[:, 1::30, 0, ::4], 1e-3) == "404bd03d402ec4d9"
    found = solver.solve([0, 3], 32, 0, {"nu": 0.5, "rho": 0.0})
    assert fingerprint(found[:, 1::30, 0, ::4], 1e-3) == "4ca84869540ee84a"
