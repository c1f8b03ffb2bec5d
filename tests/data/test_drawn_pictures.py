"""Pictures of shapes and textures: the same bytes everywhere, another class looks different, colour says nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import label as components
from sklearn.ensemble import RandomForestClassifier

from crosstune.data.proxies import ImageProxy
from crosstune.data.proxies import shapes_and_textures as drawn
from crosstune.data.proxies.contract import Wanted
from crosstune.data.proxies.drawing import shapes
from crosstune.data.proxies.drawing.canvas import Canvas, sine, turns
from crosstune.errors import UsageError

GOLDEN = "5ec56d34560f70a7f71590c9a9c9ef4e678575e6c35d0d1f8ea44061a2ed7953"  # of 144 pictures of 32 x 48 pixels, seed 0
CODE = "from crosstune.data.proxies.shapes_and_textures import build; print(build(144, (32, 48)).digest)"


@pytest.fixture(scope="module")
def many() -> ImageProxy:
    return drawn.build(40 * len(drawn.CLASSES), (32, 32))


def test_the_same_bytes_always() -> None:
    assert drawn.build(144, (32, 48)).digest == GOLDEN
    assert drawn.build(144, (32, 48), seed=1).digest != GOLDEN


def test_the_same_bytes_without_wide_registers() -> None:
    """Another processor has other vector instructions; numpy can be told to do without."""
    told = {**os.environ, "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX AVX512_CLX AVX512_ICL AVX512_SPR"}
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], env=told, capture_output=True, text=True)
    if run.returncode:  # features that this processor lacks cannot be switched off
        pytest.skip(run.stderr.strip().splitlines()[-1])
    assert run.stdout.strip() == GOLDEN


def test_a_class_per_drawing_and_balanced_rows(many: ImageProxy) -> None:
    assert len(many.classes) >= 40
    assert len(set(many.classes)) == len(many.classes)
    assert (np.bincount(many.labels) == 40).all()
    assert many.images.dtype == np.uint8
    assert many.images.shape == (len(many), 3, 32, 32)
    assert many.modality == "image"


def test_more_pictures_begin_with_the_fewer() -> None:
    few, more = drawn.build(150, (16, 16)), drawn.build(1400, (16, 16))
    np.testing.assert_array_equal(few.images, more.images[:150])
    assert few.digest != more.digest


def test_another_size_shows_the_same_picture() -> None:
    """Averages over 4 x 4 pixels of the large picture look like the small one; those of another picture do not."""
    small, large = drawn.build(72, (32, 32)).images, drawn.build(72, (128, 128)).images
    averaged = large.reshape(72, 3, 32, 4, 32, 4).mean((3, 5))
    same = np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(small, averaged)])
    other = np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(small, np.roll(averaged, 7, axis=0))])
    assert np.median(same) > 0.97
    assert (same > 0.7).mean() > 0.9
    assert np.median(other) < 0.5


def _features(images: np.ndarray) -> np.ndarray:
    """Grey-value quantiles, gradient quantiles and directions, and the power spectrum over rings."""
    grey = images.astype(float).mean(1)
    n, side = len(grey), grey.shape[1]
    spread = grey.std((1, 2), keepdims=True) + 1e-9
    normal = (grey - grey.mean((1, 2), keepdims=True)) / spread
    gy, gx = np.gradient(normal, axis=(1, 2))
    size, angle = np.hypot(gx, gy), (np.arctan2(gy, gx) / np.pi * 8 % 8).astype(int)
    directions = np.sort(np.stack([np.where(angle == k, size, 0).sum((1, 2)) for k in range(8)], 1), 1)
    power = np.abs(np.fft.fft2(normal))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) * side
    rings = np.stack([power[:, frequency.astype(int) == k].mean(1) for k in range(side // 2 + 1)], 1)
    quantiles = [np.sort(f.reshape(n, -1), 1)[:, ::32] for f in (normal, size)]
    shares = [f / f.sum(1, keepdims=True) for f in (directions, rings)]
    return np.concatenate([*quantiles, *shares], 1)


def test_classes_can_be_told_apart_by_structure_and_not_by_colour(many: ImageProxy) -> None:
    train = np.arange(len(many)) < 30 * len(many.classes)

    def score(features: np.ndarray) -> float:
        forest = RandomForestClassifier(40, random_state=0).fit(features[train], many.labels[train])
        return forest.score(features[~train], many.labels[~train])

    chance = 1 / len(many.classes)
    assert score(_features(many.images)) > 0.5
    assert score(many.images.mean((2, 3))) < 4 * chance


def test_no_class_is_a_flat_picture(many: ImageProxy) -> None:
    contrast = many.images.astype(float).std((1, 2, 3))
    assert min(np.median(contrast[many.labels == k]) for k in range(len(many.classes))) > 8


def test_table_of_sines_and_angles_against_numpy() -> None:
    u = np.linspace(-3, 3, 10001).astype(np.float32)
    assert np.abs(sine(u) - np.sin(2 * np.pi * u.astype(float))).max() < 2e-3
    x, y = np.random.default_rng(0).standard_normal((2, 10000)).astype(np.float32)
    gap = (turns(y, x) - np.arctan2(y, x) / (2 * np.pi) + 0.5) % 1 - 0.5
    assert np.abs(gap).max() < 3e-4


def test_shapes_have_their_corners() -> None:
    """Area over squared longest extent of regular polygons and the pentagram, in closed form, at a large size."""

    def area_ratio(name: str) -> float:
        canvas = Canvas(name, 0, 0, 8, (256, 256))
        found = []
        for coverage in getattr(shapes, name)(canvas):
            at = np.argwhere(coverage > 0.5)
            inside = at.min() > 1 and at.max() < 254
            far = np.sqrt(((at - at.mean(0)) ** 2).sum(1)).max()
            found += [coverage.sum() / far**2] if inside else []
        return float(np.median(found))

    for name, corners in (("triangle", 3), ("square", 4), ("pentagon", 5), ("hexagon", 6)):
        assert area_ratio(name) == pytest.approx(corners / 2 * np.sin(2 * np.pi / corners), rel=0.05)
    assert area_ratio("disc") == pytest.approx(np.pi, rel=0.03)
    # the pentagram of circumradius 1: ten triangles between centre, a tip and a notch at cos(72)/cos(36)
    notch = np.cos(np.pi * 2 / 5) / np.cos(np.pi / 5)
    assert area_ratio("star_of_five") == pytest.approx(5 * notch * np.sin(np.pi / 5), rel=0.05)


@pytest.mark.parametrize(("name", "pieces"), [("two_discs", 2), ("three_discs", 3), ("three_bars", 3), ("heart", 1)])
def test_shapes_hang_together(name: str, pieces: int) -> None:
    canvas = Canvas(name, 0, 0, 16, (96, 96))
    counts = [components(coverage > 0.5)[1] for coverage in getattr(shapes, name)(canvas)]
    assert np.median(counts) == pieces


@pytest.mark.parametrize("size", [(4, 64), (64, 2000)])
def test_sizes_that_cannot_be_drawn(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="8 to 1024 pixels"):
        drawn.PROXY.load(Wanted(size=size))


def test_wide_pictures_are_not_stretched() -> None:
    """A disc in a wide picture is as high as it is wide."""
    coverage = shapes.disc(Canvas("disc", 0, 0, 16, (64, 128)))
    extents = np.array([np.ptp(np.argwhere(c > 0.5), axis=0) for c in coverage])
    inside = np.array([not (c[[0, -1]] > 0.1).any() for c in coverage])
    assert np.abs(extents[inside, 0] - extents[inside, 1]).max() <= 1
