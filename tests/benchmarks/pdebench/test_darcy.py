"""Darcy flow against a manufactured solution, dense linear algebra and the matrix exponential."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from crosstune.benchmarks.pdebench.solvers import darcy

from .proofs import fingerprint, observed_order


def manufactured(points):
    """u = sin(pi s) sin(pi t) where s, t run over the square whose walls lie half a cell outside, nu smooth."""
    width = 1 + 1 / points
    x = (np.arange(points) + 0.5) / points
    s = np.pi * (x + 0.5 / points) / width
    u = np.sin(s)[:, None] * np.sin(s)[None]
    nu = 1 + 0.5 * np.sin(s)[:, None] * np.cos(s)[None] ** 2
    k = np.pi / width
    u_x, u_y = k * np.cos(s)[:, None] * np.sin(s)[None], k * np.sin(s)[:, None] * np.cos(s)[None]
    nu_x = 0.5 * k * np.cos(s)[:, None] * np.cos(s)[None] ** 2
    nu_y = -k * np.sin(s)[:, None] * np.cos(s)[None] * np.sin(s)[None]
    force = 2 * k**2 * nu * u - nu_x * u_x - nu_y * u_y
    return nu, force, u


def test_order_two_against_a_manufactured_solution():
    errors = []
    for points in (32, 64, 128):
        nu, force, u = manufactured(points)
        errors.append(np.abs(darcy.steady(nu, force) - u).max())
    assert errors[-1] < 2e-4
    assert (abs(observed_order(errors) - 2) < 0.2).all(), observed_order(errors)


def test_a_wall_at_the_edge_of_the_square_would_be_of_order_one():
    """The witness of the half cell: measured against sin(pi x) of the unit square the error falls like the cell."""
    errors = []
    for points in (32, 64, 128):
        x = np.pi * (np.arange(points) + 0.5) / points
        u = np.sin(x)[:, None] * np.sin(x)[None]
        errors.append(np.abs(darcy.steady(np.ones_like(u), 2 * np.pi**2 * u) - u).max())
    assert (abs(observed_order(errors) - 1) < 0.2).all()


def test_against_dense_algebra_written_as_differences():
    rng = np.random.default_rng(0)
    nu, u = rng.uniform(0.1, 1, (9, 9)), rng.standard_normal((9, 9))
    around, wide = np.pad(u, 1), np.pad(nu, 1, mode="edge")
    out = np.zeros_like(u)
    for i in range(9):
        for j in range(9):
            for a, b in ((0, 1), (2, 1), (1, 0), (1, 2)):
                face = (nu[i, j] + wide[i + a, j + b]) / 2
                out[i, j] += face * (u[i, j] - around[i + a, j + b]) * 81
    np.testing.assert_allclose(darcy.operator(nu) @ u.ravel(), out.ravel(), rtol=1e-12)


def test_linear_in_the_force_and_positive():
    nu = darcy.coefficient(4, 32, 0)
    one = darcy.steady(nu, np.ones((32, 32)))
    np.testing.assert_allclose(darcy.steady(nu, np.full((32, 32), 0.1)), 0.1 * one, rtol=1e-12)
    assert one.min() > 0


def test_transient_against_the_matrix_exponential_with_order_two():
    nu, start = darcy.coefficient(2, 10, 0), darcy.initial_state(2, 10, 0)
    matrix = darcy.operator(nu).toarray()
    still = np.linalg.solve(matrix, np.full(100, 0.1))
    exact = (still + expm(-0.3 * matrix) @ (start.ravel() - still)).reshape(10, 10)
    errors = [np.abs(darcy.transient(nu, 0.1, start, 0.3, steps) - exact).max() for steps in (16, 32, 64)]
    assert (abs(observed_order(errors) - 2) < 0.2).all(), observed_order(errors)


def test_transient_reaches_the_steady_state():
    nu, start = darcy.coefficient(2, 16, 0), darcy.initial_state(2, 16, 0)
    late = darcy.transient(nu, 0.1, start, 40.0, 200)
    np.testing.assert_allclose(late, darcy.steady(nu, np.full((16, 16), 0.1)), atol=1e-12)


def test_what_is_left_of_the_random_start_is_as_large_as_measured_on_the_published_recipe():
    """0.165 of the solution at beta = 0.1 on 20 x 20 (40 permeabilities, other random numbers)."""
    steady, late = (darcy.solve(range(40), 20, 0, {"beta": 0.1, "steady": s})[:, 1, 0] for s in (True, False))
    gap = np.linalg.norm((steady - late).reshape(40, -1), axis=1) / np.linalg.norm(late.reshape(40, -1), axis=1)
    assert gap.mean() == pytest.approx(0.165, abs=0.03)


def test_permeability_is_cut_at_the_mean_of_a_batch_of_200():
    sums = np.stack([darcy._bump_sums(0, 16, 0)[i] for i in range(200)])
    assert np.array_equal(darcy.coefficient(3, 16, 0) == 1.0, sums[3] > sums.mean())
    assert np.array_equal(darcy.solve([3, 4], 16, 0, {"beta": 0.1, "steady": True})[1], darcy.solve(
        [4], 16, 0, {"beta": 0.1, "steady": True})[0])  # fmt: skip


def test_golden():
    found = darcy.solve([0, 201], 16, 0, {"beta": 0.1, "steady": True})
    assert fingerprint(found[:, 0], 0.03) == "8f4df6a53db7fd23"
    assert fingerprint(found[:, 1, 0, ::3, ::3], 1e-5) == "b7b11464787a62d1"
    assert (
        fingerprint(darcy.solve([0, 201], 16, 0, {"beta": 0.1, "steady": False})[:, 1, 0, ::3, ::3], 1e-4)
        == "a09caf3dd19f5f30"
    )
