"""Pictures made by formulas: the same everywhere, classes that can be told, and the quantities that were planted."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.interpolate import BPoly
from scipy.spatial import cKDTree
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from crosstune.data.formulas import contours, flows, formulas, fractals, mix, strokes, textures, waves
from crosstune.data.formulas.contract import Formula, generator, rows
from crosstune.errors import UsageError

NAMES = ("contours", "flows", "fractals", "strokes", "textures", "waves")
# of 64 pictures of 40 classes, seed 3, 32 x 32 pixels, rounded to 1/64
GOLDEN = {
    "contours": "408c7082b26155d6",
    "flows": "ebc975bca211a394",
    "fractals": "101f3826754ad204",
    "strokes": "6aa84741c94cc199",
    "textures": "d2df38a57695b0d8",
    "waves": "ef4e0546b8e42459",
}


def family(name: str) -> Formula:
    return formulas("grid")[name]


def columns(parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters (K,) as (K, 1, 1), every class an instance."""
    return {name: values.astype(np.float32)[:, None, None] for name, values in parameters.items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_pictures_always(name: str) -> None:
    known = family(name)
    labels = np.arange(64) % 40
    parameters = known.parameters(40, 3)
    found = known.sample(parameters, labels, 3, (32, 32))
    assert found.shape == (64, 1, 32, 32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, known.sample(known.parameters(40, 3), labels, 3, (32, 32)))
    assert hashlib.sha256(np.round(found * 64).astype("<i2").tobytes()).hexdigest()[:16] == GOLDEN[name]
    assert np.abs(found - known.sample(parameters, labels, 4, (32, 32))).max() > 0.5  # other instances
    assert np.abs(found - known.sample(known.parameters(40, 4), labels, 3, (32, 32))).max() > 0.5  # other classes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(8, 8), (24, 40), (63, 64)])
def test_any_size(name: str, size: tuple[int, int]) -> None:
    known = family(name)
    found = known.sample(known.parameters(12, 0), np.arange(12), 0, size)
    assert found.shape == (12, 1, *size)
    assert np.isfinite(found).all()
    assert 0.5 < found.std() < 1.5


def test_a_line_is_no_size_of_a_grid() -> None:
    with pytest.raises(UsageError, match=r"'waves' cannot be drawn at size \(128,\)"):
        family("waves").sample(family("waves").parameters(2, 0), np.zeros(1, np.int64), 0, (128,))


def _features(pictures: np.ndarray) -> np.ndarray:
    """Coarse pixels and the logarithm of the amplitude spectrum, smoothed: what a linear rule can tell classes by."""
    grey = pictures[:, 0].astype(float)
    grey = (grey - grey.mean((1, 2), keepdims=True)) / grey.std((1, 2), keepdims=True)
    coarse = np.abs(grey).reshape(len(grey), 8, 4, 8, 4).mean((2, 4)).reshape(len(grey), -1)
    power = np.log(np.abs(np.fft.rfft2(grey))[:, :, :16] + 1e-3).reshape(len(grey), 16, 2, 8, 2).mean((2, 4))
    return np.concatenate([coarse, power.reshape(len(grey), -1)], axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_classes_differ_more_between_than_within(name: str) -> None:
    """A linear rule finds the class of new instances; with classes that differ by their seed alone it cannot."""
    known, labels = family(name), np.arange(1200) % 20
    parameters = known.parameters(20, 0)
    first = _features(known.sample(parameters, labels, 0, (32, 32)))
    second = _features(known.sample(parameters, labels, 1, (32, 32)))
    rule = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
    assert (rule.fit(first, labels).predict(second) == labels).mean() > 0.4  # chance: 0.05
    alike = {key: np.repeat(values[:1], 20, axis=0) for key, values in parameters.items()}
    first = _features(known.sample(alike, labels, 0, (32, 32)))
    second = _features(known.sample(alike, labels, 1, (32, 32)))
    assert (rule.fit(first, labels).predict(second) == labels).mean() < 0.12


def test_one_label_space_of_a_thousand_classes() -> None:
    whole = mix("grid")
    assert set(whole.name.split("+")) >= set(NAMES)
    parameters = whole.parameters(1002, 0)
    pictures = whole.sample(parameters, np.arange(1002), 0, (16, 16))
    assert pictures.shape == (1002, 1, 16, 16)
    assert np.isfinite(pictures).all()


# -- fractals ---------------------------------------------------------------------------------------------------------


def test_every_map_is_a_contraction_and_systems_fill_the_plane_alike() -> None:
    parameters = family("fractals").parameters(300, 0)
    values = np.linalg.svd(parameters["linear"], compute_uv=False)
    count = (values[..., 0] > 0).sum(1)
    assert values.max() <= fractals.LARGEST + 1e-3
    assert set(count) == {2, 3, 4, 5, 6}
    total = (values[..., 0] + 2 * values[..., 1]).sum(1)
    assert (total >= 0.5 * (5 + count) - 0.01).all()
    assert (total <= 0.5 * (6 + count) + 0.01).all()


def test_the_attractor_is_invariant_under_its_maps() -> None:
    """f_i(F) lies in F, and F in the union of the f_i(F): up to the gaps between 40,000 points."""
    own = rows(family("fractals").parameters(6, 1), np.arange(6))
    clouds = fractals.attractor(own, generator(0, "test"), 500, 80)
    for k, cloud in enumerate(clouds):
        extent, count = np.ptp(cloud, axis=0).max(), int((np.abs(own["linear"][k]).sum((1, 2)) > 0).sum())
        images = [cloud @ own["linear"][k, i].T + own["shift"][k, i] for i in range(count)]
        forward = cKDTree(cloud).query(np.concatenate([image[::10] for image in images]))[0]
        back = cKDTree(np.concatenate(images)).query(cloud[::10])[0]
        assert np.quantile(forward, 0.99) < 0.02 * extent
        assert np.quantile(back, 0.99) < 0.02 * extent
        elsewhere = cloud[::10] @ own["linear"][k, 0] + own["shift"][k, 0] + 0.5 * extent  # a map that is not of it
        assert np.quantile(cKDTree(cloud).query(elsewhere)[0], 0.99) > 0.1 * extent


# -- textures ---------------------------------------------------------------------------------------------------------


def planted(n: int, **values: float) -> dict[str, np.ndarray]:
    base = {"slope": 3.0, "knee": 0.5, "ring": 6.0, "width": 0.1, "ring_share": 0.0, "stretch": 1.0, "angle": 0.0}
    return columns({name: np.full(n, values.get(name, value)) for name, value in base.items()})


def test_the_power_falls_with_the_planted_slope() -> None:
    ky, kx = np.meshgrid(np.fft.fftfreq(64) * 64, np.fft.fftfreq(64) * 64, indexing="ij")
    at = np.hypot(ky, kx)
    band = (at > 4) & (at < 24)
    for slope in (1.0, 2.0, 3.5):
        field = textures.gaussian(planted(200, slope=slope), np.random.default_rng(0), (64, 64))
        power = np.square(np.abs(np.fft.fft2(field))).mean(0)
        found = np.polyfit(np.log(at[band]), np.log(power[band]), 1)[0]
        assert found == pytest.approx(-slope, abs=0.1)
        assert np.square(field).mean() == pytest.approx(1.0, rel=0.1)


def test_the_ring_is_at_its_wave_number_and_the_stretch_along_its_angle() -> None:
    field = textures.gaussian(planted(200, ring_share=1.0), np.random.default_rng(0), (64, 64))
    power = np.square(np.abs(np.fft.fft2(field))).mean(0)
    ky, kx = np.meshgrid(np.fft.fftfreq(64) * 64, np.fft.fftfreq(64) * 64, indexing="ij")
    assert (power * np.hypot(ky, kx)).sum() / power.sum() == pytest.approx(6.0, abs=0.3)
    long = textures.gaussian(planted(200, stretch=4.0, angle=0.25), np.random.default_rng(0), (64, 64))
    # wave numbers along the angle are penalised: a quarter turn is down the rows, so that rows differ less
    assert np.square(np.diff(long, axis=1)).mean() < 0.5 * np.square(np.diff(long, axis=2)).mean()


# -- contours and strokes ---------------------------------------------------------------------------------------------


def test_radii_stay_within_their_bound() -> None:
    own = rows(family("contours").parameters(500, 0), np.arange(500))
    angle = np.broadcast_to(np.linspace(0, 1, 720, dtype=np.float32)[None, None], (500, 1, 720))
    found = contours.radius(own, angle)
    assert own["amplitude"].sum(1).max() <= contours.REACH + 1e-6
    assert (found <= 1 + own["amplitude"].sum(1)[:, None, None] + 1e-3).all()
    low = (1 - own["amplitude"].sum(1)) * np.cos(np.pi / own["corners"])
    assert (found >= low[:, None, None] - 1e-3).all()


def test_a_contour_bent_all_the_way_is_the_regular_polygon() -> None:
    """Every point of it lies on a side: its largest product with the normals is the inner radius."""
    own = rows(family("contours").parameters(7, 0), np.arange(7))
    own |= {"corners": np.arange(3, 10), "polygon": np.ones(7), "amplitude": np.zeros((7, 3))}
    turn = np.broadcast_to(np.linspace(0, 1, 200, dtype=np.float32)[None, None], (7, 1, 200))
    for r, n in zip(contours.radius(own, turn)[:, 0], range(3, 10)):
        at = 2 * np.pi * turn[0, 0]
        normals = 2 * np.pi * (np.arange(n) + 0.5) / n
        reach = (r * np.cos(at - normals[:, None])).max(0)
        np.testing.assert_allclose(reach, np.cos(np.pi / n), atol=4e-3)


def test_strokes_are_quadratic_curves() -> None:
    control = family("strokes").parameters(5, 0)["control"]
    x, y = strokes.curves(control)
    at = (np.arange(strokes.POINTS) + 0.5) / strokes.POINTS
    for k in range(5):
        for s in range(strokes.MOST):
            curve = BPoly(control[k, s].astype(float)[:, None], [0, 1])(at)
            own = slice(s * strokes.POINTS, (s + 1) * strokes.POINTS)
            np.testing.assert_allclose(np.stack([x[k, own], y[k, own]], -1), curve, atol=1e-5)


# -- waves and flows --------------------------------------------------------------------------------------------------


def test_modes_have_their_planted_amplitude() -> None:
    """The Fourier coefficient of a sine of amplitude A is A / 2; of the sawtooth 1 - 2 u, harmonic m: A / (pi m)."""
    own = rows(family("waves").parameters(4, 0), np.arange(4))
    own |= {
        "wave": np.array([[[2, 1], [0, 5], [1, 0]]] * 4, float), "circular": np.zeros((4, 3)),
        "amplitude": np.array([[0.9, 0.6, 0.0]] * 4), "steep": np.array([0.0, 0.0, 1.0, 1.0]),
    }  # fmt: skip
    field = waves.waves(own, np.random.default_rng(0).random((4, 3), dtype=np.float32), (64, 64))
    power = np.abs(np.fft.fft2(field)) / 64**2
    np.testing.assert_allclose(power[:2, 1, 2], 0.45, atol=0.003)
    np.testing.assert_allclose(power[:2, 5, 0], 0.3, atol=0.003)
    np.testing.assert_allclose(power[:2, 2, 4], 0.0, atol=0.003)
    np.testing.assert_allclose(power[2:, 1, 2], 0.9 / np.pi, atol=0.02)
    np.testing.assert_allclose(power[2:, 2, 4], 0.9 / (2 * np.pi), atol=0.02)


def test_stirring_preserves_areas() -> None:
    """The determinant of the map's derivative by central differences is one; of a shear alone it would hold too, so the
    map must also move points."""
    own = rows(family("flows").parameters(30, 0), np.arange(30))
    rng, step = np.random.default_rng(0), np.float32(0.02)
    x, y = (rng.uniform(-0.9, 0.9, (30, 1, 200)).astype(np.float32) for _ in range(2))
    move = lambda dx, dy: np.stack(flows.stirred(own, x + dx, y + dy)[:2]).astype(float)  # noqa: E731
    by_x = (move(step, 0) - move(-step, 0)) / (2 * step)
    by_y = (move(0, step) - move(0, -step)) / (2 * step)
    area = by_x[0] * by_y[1] - by_x[1] * by_y[0]
    assert np.median(np.abs(area - 1)) < 0.03
    assert np.median(np.abs(move(0, 0) - np.stack([x, y]))) > 0.03
