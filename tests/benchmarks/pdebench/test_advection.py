"""Advection against what it must be: the initial field, moved."""

from __future__ import annotations

import numpy as np
import pytest

from crosstune.benchmarks.pdebench.advection import PROBLEM, TASK
from crosstune.benchmarks.pdebench.initial import CELLS, draw, published_grid, stream
from crosstune.benchmarks.pdebench.solvers import transport

from .proofs import fingerprint


def fields(n=40, **options):
    return draw([stream(0, i) for i in range(n)], **options)


def test_moves_by_beta_t_exactly():
    """After t = 0.625 the field has moved by 0.25: exactly 256 cells of the published grid."""
    u = transport.translated(fields(), published_grid(CELLS), np.array([0.0, 0.625]), 0.4)
    np.testing.assert_allclose(u[:, 1], np.roll(u[:, 0], 256, axis=1), rtol=0, atol=1e-12)


def test_mean_and_extremes_of_a_whole_period():
    u = transport.translated(fields(), published_grid(CELLS), np.array([0.0, 2.5]), 0.4)  # once round
    np.testing.assert_allclose(u[:, 1], u[:, 0], rtol=0, atol=1e-12)


def upwind_muscl(u, courant, steps):
    """An independent witness: MUSCL with the monotonised-central limiter, upwind flux, midpoint in time."""

    def change(v):
        left, right = v - np.roll(v, 1), np.roll(v, -1) - v
        slope = np.where(
            left * right > 0,
            np.sign(left) * np.minimum(np.minimum(2 * abs(left), 2 * abs(right)), abs(left + right) / 2),
            0.0,
        )
        flux = v + slope / 2
        return -(flux - np.roll(flux, 1))

    for _ in range(steps):
        u = u + courant * change(u + courant / 2 * change(u))
    return u


def wave(s):
    return np.sin(2 * np.pi * s) + 0.3 * np.cos(4 * np.pi * s)


def test_a_finite_volume_scheme_converges_to_it_with_order_two():
    errors = []
    for cells in (128, 256, 512):
        x = (np.arange(cells) + 0.5) / cells
        steps = 2 * cells  # courant 0.4: beta t = 0.8
        found = upwind_muscl(wave(x), 0.4, steps)
        exact = transport.translated(lambda s: wave(s)[None], x, np.array([2.0]), 0.4)[0, 0]
        errors.append(np.abs(found - exact).mean())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (abs(orders - 2) < 0.2).all(), orders


def test_total_variation_of_the_witness_does_not_grow():
    u = transport.solve([3], 256, 0, {"beta": 0.4})[0, 0, 0]
    later = upwind_muscl(u, 0.4, 300)
    assert np.abs(np.diff(later, append=later[0])).sum() <= np.abs(np.diff(u, append=u[0])).sum() + 1e-12


# -- the initial fields ----------------------------------------------------------------------------------------------


def test_first_and_last_cell_hold_the_same_value_where_nothing_cuts_it():
    u = fields(60, window=0.0)(published_grid(CELLS))
    np.testing.assert_allclose(u[:, 0], u[:, -1], atol=1e-9)


def test_the_mean_is_random_as_unselected_modes_leave_constants():
    """Quantiles of |mean| over the distribution: 1 % at 0.007, median 0.40 (measured on the published recipe)."""
    mean = np.abs(fields(4000)(published_grid(256)).mean(axis=1))
    assert np.median(mean) == pytest.approx(0.40, abs=0.03)
    assert 0.005 < (mean < 0.01).mean() < 0.025
    assert np.quantile(mean, 0.05) == pytest.approx(0.04, abs=0.012)


def test_a_mode_drawn_twice_has_twice_the_wave_number():
    period = 1 - 1 / CELLS
    waves = fields(200).wave * period / (2 * np.pi)
    assert set(np.rint(waves).ravel().astype(int)) == {0, 1, 2, 3, 4, 6, 8}
    assert np.isin((np.rint(waves) / np.arange(1, 5)).sum(axis=1), 2).all()


def test_shares_of_modulus_sign_and_window():
    found = fields(4000)
    assert found.absolute.mean() == pytest.approx(0.1, abs=0.015)
    assert (found.sign < 0).mean() == pytest.approx(0.5, abs=0.025)
    assert (~np.isnan(found.window[:, 0])).mean() == pytest.approx(0.1, abs=0.015)


def test_a_field_depends_on_its_own_number_alone():
    many, one = transport.solve([5, 6, 7], 64, 0, {"beta": 0.4}), transport.solve([6], 64, 0, {"beta": 0.4})
    assert np.array_equal(many[1], one[0])
    assert np.array_equal(transport.solve([0], 64, 6, {"beta": 0.4})[0], one[0])


def test_coarse_files_are_thinned_fine_ones():
    fine, coarse = (transport.solve([1], points, 0, {"beta": 0.4}) for points in (1024, 64))
    assert np.array_equal(fine[..., ::16], coarse)


def test_golden():
    u = transport.solve([0, 7], 32, 0, {"beta": 0.4})
    assert fingerprint(u[:, ::40, 0], 1e-3) == "1f98fab5213ff573"


# -- the file --------------------------------------------------------------------------------------------------------


def moving(tmp_path, speed):
    """A file of the published layout whose fields move at another speed, without the mark of a generated one."""
    import h5py

    (path,) = TASK.generate(tmp_path, n=20, resolution=256)
    u = transport.translated(fields(20), published_grid(256), 0.01 * np.arange(201), speed)
    with h5py.File(path, "r+") as file:
        file["tensor"][...] = u
        for name in ("crosstune_task", "crosstune_variant", "crosstune_recipe"):
            del file.attrs[name]
    return path.rename(tmp_path / PROBLEM.layout.file)


def test_the_old_revision_is_found_by_its_speed_and_refused(tmp_path):
    old = moving(tmp_path, 0.8)
    check = next(c for c in TASK.verify(old).checks if c.name == "revision")
    assert check.ok is False
    assert "move at 0.80" in check.text
    assert "factor of two" in check.text
    with pytest.raises(ValueError, match="old revision"):
        TASK.load(old, "clean")


def test_the_corrected_revision_passes(tmp_path):
    new = moving(tmp_path, 0.4)
    verification = TASK.verify(new)
    assert verification.ok, [c for c in verification.checks if c.ok is False]
    assert TASK.recognise(new)
    assert TASK.load(new, "clean").notes == ()


def test_fields_that_do_not_travel_are_refused(tmp_path):
    still = moving(tmp_path, 0.0)
    assert next(c for c in TASK.verify(still).checks if c.name == "revision").ok is False
