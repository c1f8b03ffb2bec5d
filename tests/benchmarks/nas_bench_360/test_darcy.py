"""Darcy flow is solved, not imitated: convergence, symmetry, the maximum principle, and the random field's law."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import loadmat, savemat

from crosstune.benchmarks import get_task
from crosstune.benchmarks.nas_bench_360 import darcy_flow, darcy_solver
from crosstune.errors import DataError, UsageError

TASK = get_task("nas_bench_360/darcy_flow")


def manufactured(nodes: int) -> float:
    """Largest error for u = sin(pi x) sin(pi y) and a = 2 + sin(x + 2 y), whose force is worked out by hand."""
    x, y = np.meshgrid(*[np.linspace(0, 1, nodes)] * 2, indexing="ij")
    u = np.sin(np.pi * x) * np.sin(np.pi * y)
    a = 2 + np.sin(x + 2 * y)
    u_x = np.pi * np.cos(np.pi * x) * np.sin(np.pi * y)
    u_y = np.pi * np.sin(np.pi * x) * np.cos(np.pi * y)
    force = -(np.cos(x + 2 * y) * u_x + 2 * np.cos(x + 2 * y) * u_y + a * -2 * np.pi**2 * u)
    return float(np.abs(darcy_solver.solve(a, force) - u).max())


def test_second_order():
    errors = [manufactured(nodes) for nodes in (11, 21, 41)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert_allclose(orders, 2, atol=0.2)


def test_a_constant_coefficient_gives_the_series():
    """-laplace u = 1 on the unit square: u(1/2, 1/2) = 0.0736713532..., the double sine series."""
    odd = np.arange(1, 400, 2)
    sign = np.where(odd % 4 == 1, 1.0, -1.0)
    m, n = np.meshgrid(odd, odd)
    centre = float((16 / np.pi**4 * np.outer(sign, sign) / (m * n * (m**2 + n**2))).sum())
    u = darcy_solver.solve(np.full((81, 81), 3.0))
    assert u[40, 40] == pytest.approx(centre / 3, rel=2e-4)


def test_symmetries_and_the_maximum_principle():
    a = darcy_solver.coefficient(33, np.random.default_rng(0))
    u = darcy_solver.solve(a)
    assert_allclose(darcy_solver.solve(a.T), u.T, atol=1e-12)
    assert_allclose(darcy_solver.solve(a[::-1]), u[::-1], atol=1e-12)
    assert_allclose(darcy_solver.solve(2 * a), u / 2, atol=1e-12)
    assert u[1:-1, 1:-1].min() > 0
    assert u[[0, -1]].max() == u[:, [0, -1]].max() == 0
    assert u.max() <= darcy_solver.solve(np.full((33, 33), 3.0)).max()  # less resistance nowhere gives more pressure
    assert u.max() >= darcy_solver.solve(np.full((33, 33), 12.0)).max()
    assert darcy_solver.residual(a, u) < 1e-9
    assert darcy_solver.residual(a, u * 1.01) > 0.005


def test_the_random_field_has_its_covariance():
    """The mean variance is the sum of the eigenvalues tau^2 (pi^2 |k|^2 + tau^2)^-2 without the first."""
    rng = np.random.default_rng(0)
    fields = np.stack([darcy_solver.random_field(24, rng) for _ in range(400)])
    k = np.arange(24)
    eigenvalues = 9 * (np.pi**2 * (k[:, None] ** 2 + k**2) + 9.0) ** -2
    wanted = eigenvalues.sum() - eigenvalues[0, 0]
    assert (fields**2).mean() == pytest.approx(wanted, rel=0.1)
    assert_allclose(fields.mean(axis=(1, 2)), 0, atol=1e-12)
    # the slowest cosine carries what its eigenvalue says
    wave = np.cos(np.pi * (k + 0.5) / 24)
    amount = (fields * wave[:, None]).mean(axis=(1, 2)) * 2
    assert np.mean(amount**2) / 2 == pytest.approx(eigenvalues[1, 0], rel=0.2)


def test_samples_do_not_change_with_their_number(folders, tmp_path):
    TASK.generate(tmp_path, n=10)
    few, more = loadmat(tmp_path / darcy_flow.TRAIN), loadmat(folders[TASK.name] / darcy_flow.TRAIN)
    assert_array_equal(few["sol"], more["sol"][:10])
    assert few["coeff"].dtype == few["sol"].dtype == np.float32
    assert set(np.unique(few["coeff"])) == {3.0, 12.0}


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(folders, tmp_path):
    TASK.generate(tmp_path, n=24, workers=2)
    for name in (darcy_flow.TRAIN, darcy_flow.TEST):
        assert (tmp_path / name).read_bytes() == (folders[TASK.name] / name).read_bytes()


def test_channels_and_units(folders):
    held = loadmat(folders[TASK.name] / darcy_flow.TRAIN)
    loaded = TASK.load(folders[TASK.name], "clean")
    X = loaded.dataset.X
    assert_array_equal(X[3, 0], held["coeff"][3])
    assert_array_equal(loaded.dataset.y[3, 0], held["sol"][3])
    assert_allclose(X[0, 1], np.tile(np.linspace(0, 1, 85), (85, 1)), atol=1e-6)  # along columns
    assert_allclose(X[0, 2], X[0, 1].T)
    shipped = TASK.load(folders[TASK.name], "shipped")
    a = held["coeff"].astype(np.float64)
    assert_allclose(shipped.dataset.X[2, 0], (a[2] - a.mean(0)) / (a.std(0, ddof=1) + 1e-5), atol=2e-4)
    assert_array_equal(shipped.dataset.y[2, 0], held["sol"][2])
    official = TASK.load(folders[TASK.name], "official")
    assert len(official.split.validation) == 2  # a tenth of 24
    fitted = a[:22]
    assert_allclose(official.dataset.X[23, 0], (a[23] - fitted.mean(0)) / (fitted.std(0, ddof=1) + 1e-5), atol=1e-2)


def test_finer_files_are_thinned_with_both_ends(tmp_path: Path):
    rng = np.random.default_rng(0)
    for name in (darcy_flow.TRAIN, darcy_flow.TEST):
        held = {"coeff": rng.choice([3.0, 12.0], (12, 169, 169)).astype("f4"), "sol": rng.random((12, 169, 169))}
        held["sol"] = held["sol"].astype("f4")
        savemat(tmp_path / name, held, do_compression=True)
    loaded = TASK.load(tmp_path, "clean")
    assert_array_equal(loaded.dataset.y[loaded.split.test[11], 0], held["sol"][11, ::2, ::2])
    assert_array_equal(loaded.dataset.X[loaded.split.test[11], 0, -1, -1], held["coeff"][11, -1, -1])


def test_grids_that_do_not_fit(tmp_path: Path):
    savemat(tmp_path / darcy_flow.TRAIN, {"coeff": np.ones((3, 100, 100)), "sol": np.ones((3, 100, 100))})
    savemat(tmp_path / darcy_flow.TEST, {"coeff": np.ones((3, 85, 85)), "sol": np.ones((3, 84, 85))})
    with pytest.raises(DataError, match="no regular choice of 85"):
        TASK.load(tmp_path, "clean")
    found = TASK.verify(tmp_path)
    assert [c.ok for c in found.checks] == [False, False]
    with pytest.raises(UsageError, match="no grid of 100 nodes"):
        TASK.generate(tmp_path, resolution=100)
