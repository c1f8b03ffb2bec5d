"""Computed sounds: the same bytes always, the pitches and spectra that their names promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from crosstune.data.proxies import sounds
from crosstune.data.proxies.contract import Wanted
from crosstune.data.proxies.sounding import sources
from crosstune.data.proxies.sounding.studio import Studio
from crosstune.errors import UsageError

GOLDEN = "6ba0e0485ccb1dafb02cf3e0b1dc185173c8394c847fca6cc67f155daeb2ca04"  # of 84 waves of half a second, seed 0


def studio(name: str, rows: int = 16) -> Studio:
    return Studio(name, 0, 0, rows, 16000, 16000)


def spectrum(wave: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft(wave * np.hanning(wave.shape[1]), axis=1)) ** 2


def test_the_same_bytes_always() -> None:
    assert sounds.build(84, samples=8000).digest == GOLDEN
    assert sounds.build(84, samples=8000, seed=1).digest != GOLDEN


def test_classes_rows_range_and_sixteen_bits() -> None:
    proxy = sounds.PROXY.load(Wanted(rows=3 * len(sounds.CLASSES), rate=8000, samples=4000))
    assert len(proxy.classes) >= 20
    assert (np.bincount(proxy.labels) == 3).all()
    assert (proxy.waves.dtype, proxy.waves.shape, proxy.rate) == (np.float32, (len(proxy), 4000), 8000)
    assert np.isfinite(proxy.waves).all()
    assert np.abs(proxy.waves).max() <= 1
    assert (proxy.waves * 32768 == np.round(proxy.waves * 32768)).all()
    assert (proxy.waves.std(1) > 1e-4).all()


def test_more_sounds_begin_with_the_fewer() -> None:
    few, more = sounds.build(50, samples=2000), sounds.build(900, samples=2000)
    np.testing.assert_array_equal(few.waves, more.waves[:50])


def test_noises_have_the_slope_of_their_colour() -> None:
    """Least squares of log power on log frequency."""
    at = np.arange(40, 6000)
    for name, slope in (("white_noise", 0), ("pink_noise", -1), ("brown_noise", -2), ("blue_noise", 1.5)):
        power = spectrum(getattr(sources, name)(studio(name))).mean(0)[at]
        assert np.polyfit(np.log(at), np.log(power), 1)[0] == pytest.approx(slope, abs=0.15)


def test_chords_sweeps_and_harmonics_have_their_pitches() -> None:
    def peaks(power: np.ndarray, count: int) -> np.ndarray:
        local = np.flatnonzero((power[1:-1] > power[:-2]) & (power[1:-1] > power[2:])) + 1
        return np.sort(local[np.argsort(power[local])[::-1][:count]])

    for power in spectrum(sources.major(studio("major"))):
        found = peaks(power, 4)
        np.testing.assert_allclose(found / found[0], [1, 5 / 4, 3 / 2, 2], rtol=0.02)
    for power in spectrum(sources.square(studio("square"))):
        found = peaks(power, 3)
        np.testing.assert_allclose(found / found[0], [1, 3, 5], rtol=0.02)

    def centroid(wave: np.ndarray) -> np.ndarray:
        power = spectrum(wave)
        return (power * np.arange(power.shape[1])).sum(1) / power.sum(1) / wave.shape[1]

    for play, sign in ((sources.rising, 1), (sources.falling, -1)):
        wave = play(studio(play.__name__))
        assert (sign * (centroid(wave[:, 12000:]) - centroid(wave[:, :4000])) > 0).all()


def test_classes_can_be_told_apart() -> None:
    """A forest on means, deviations and changes of a log spectrogram; nothing in it knows the classes."""
    proxy = sounds.build(14 * len(sounds.CLASSES), samples=8000)
    frames = proxy.waves[:, :7936].reshape(len(proxy), 31, 256) * np.hanning(256)
    log = np.log(np.abs(np.fft.rfft(frames, axis=2)) + 1e-3)
    features = np.concatenate([log.mean(1), log.std(1), np.abs(np.diff(log, axis=1)).mean(1)], 1)
    train = np.arange(len(proxy)) < 10 * len(proxy.classes)
    forest = RandomForestClassifier(40, random_state=0).fit(features[train], proxy.labels[train])
    assert forest.score(features[~train], proxy.labels[~train]) > 10 / len(proxy.classes)


@pytest.mark.parametrize("options", [{"rate": 1000}, {"samples": 100}, {"samples": 10**6}])
def test_sounds_that_cannot_be_made(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"0\.1 to 30\.0 seconds"):
        sounds.PROXY.load(Wanted(**options))
