"""FSD50K: spectrograms against SciPy, the recipe's draws, lists as they were published, clips that stay together."""

from __future__ import annotations

import csv
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosstune.benchmarks import get_task
from crosstune.benchmarks.nas_bench_360 import common, fsd50k, fsd_audio, fsd_manifest, fsd_stand_in
from crosstune.errors import DataError
from crosstune.metrics import get_metric

TASK = get_task("nas_bench_360/fsd50k")


@pytest.fixture
def folder(folders) -> Path:
    return folders[TASK.name]


@pytest.fixture
def own(folder, tmp_path) -> Path:
    """The lists and a few sounds."""
    for name in ("chunks", "noise_22050"):
        shutil.copytree(folder / name, tmp_path / "own" / name)
    return tmp_path / "own"


@pytest.fixture(autouse=True)
def rows_stay_in_their_files(monkeypatch):
    monkeypatch.setattr(common, "EAGER_BYTES", 0)


def tone(pitch: float, seconds: float = 1.0, size: float = 0.5) -> np.ndarray:
    return (size * np.sin(2 * np.pi * pitch * np.arange(int(seconds * fsd_audio.RATE)) / fsd_audio.RATE)).astype("f4")


# -- features ---------------------------------------------------------------------------------------------------------


def test_power_is_scipys():
    from scipy.signal import stft
    from scipy.signal.windows import hann

    sound = np.random.default_rng(0).normal(size=22_050)
    middle = np.zeros(1920)
    middle[629 : 629 + 661] = hann(661, sym=False)
    _, _, wanted = stft(
        np.pad(sound, 960, mode="reflect"), window=middle, nperseg=1920, noverlap=1700, boundary=None, padded=False
    )
    found = fsd_audio.power_spectrogram(sound)
    assert found.shape == (961, 101)
    assert_allclose(found, np.abs(wanted * middle.sum()) ** 2, rtol=1e-3, atol=1e-4)


def test_filters_are_triangles_on_the_mel_scale():
    filters = fsd_audio.mel_filters().astype(np.float64)
    frequency = np.linspace(0, 11_025, 961)
    assert filters.shape == (96, 961)
    assert filters.min() >= 0
    assert filters.max() <= 1
    top = 2595 * np.log10(1 + 11_025 / 700)
    centre = 700 * (10 ** (np.arange(1, 97) * top / 97 / 2595) - 1)
    for k in (40, 60, 95):
        below, above = centre[k - 1], centre[k + 1] if k < 95 else 11_025
        assert not filters[k, (frequency < below - 1) | (frequency > above + 1)].any()
        assert_allclose(frequency[filters[k].argmax()], centre[k], atol=12)
    # two neighbours share a frequency between their centres: their heights add to one
    inside = (frequency > centre[0]) & (frequency < centre[-1])
    assert_allclose(filters[:, inside].sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("pitch", [440.0, 2000.0, 8000.0])
def test_a_tone_is_loudest_where_it_belongs(pitch):
    feature = fsd_audio.mel_decibels(tone(pitch))
    top = 2595 * np.log10(1 + 11_025 / 700)
    wanted = 2595 * np.log10(1 + pitch / 700) / top * 97 - 1
    assert feature.shape == (96, 101)
    assert abs(feature[:, 50].argmax() - wanted) <= 1
    assert abs(float(feature.mean())) < 1e-4


def test_range_and_scale():
    sound = tone(1000) + np.random.default_rng(0).normal(0, 1e-6, 22_050).astype("f4")
    feature = fsd_audio.mel_decibels(sound)
    assert feature.max() - feature.min() == pytest.approx(80, abs=1e-3)
    half = fsd_audio.mel_decibels(sound / 2)
    assert_allclose(half, feature, atol=1e-3)  # the mean is taken off
    assert np.isfinite(fsd_audio.mel_decibels(np.zeros(22_050, "f4"))).all()


def test_masks_and_noise():
    feature = np.random.default_rng(0).normal(size=(96, 101)).astype("f4")
    changed, most_mels, most_frames = 0, 0, 0
    rng = np.random.default_rng(0)
    for _ in range(300):
        out = fsd_audio.masked(feature, rng)
        hidden = out == feature.min()
        changed += bool((out != feature).any())
        rows, columns = hidden.all(axis=1).sum(), hidden.all(axis=0).sum()
        most_mels, most_frames = max(most_mels, rows), max(most_frames, columns)
        assert_array_equal(out[~hidden], feature[~hidden])
    assert 120 < changed < 170  # one half, less the masks of no width
    assert 14 <= most_mels <= 28
    assert 20 <= most_frames <= 40
    weights = [fsd_audio.with_noise(np.zeros(3), np.ones(3), np.random.default_rng(s))[0] for s in range(200)]
    assert 0 <= min(weights) < 0.02
    assert 0.48 < max(weights) <= 0.5


def test_sounds_of_another_form(tmp_path):
    import wave

    for name, form in {"stereo": (2, 2, 22_050), "wide": (1, 4, 22_050), "fast": (1, 2, 44_100)}.items():
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setparams((*form, 0, "NONE", ""))
            file.writeframes(bytes(form[0] * form[1] * 100))
        with pytest.raises(DataError, match="expected 1, 16 and 22050"):
            fsd_audio.read_wav(tmp_path / f"{name}.wav")
    fsd_stand_in._write(tmp_path / "x.wav", tone(440))
    assert_allclose(fsd_audio.read_wav(tmp_path / "x.wav"), tone(440), atol=1e-4)
    assert_array_equal(fsd_audio.read_wav(tmp_path / "x.wav", 100, 50), fsd_audio.read_wav(tmp_path / "x.wav")[100:150])
    content = (tmp_path / "x.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[:9000])
    with pytest.raises(DataError, match=r"cut\.wav"):
        fsd_audio.read_wav(tmp_path / "cut.wav")


# -- rows -------------------------------------------------------------------------------------------------------------


def test_chunks_of_a_clip_share_a_unit(folder):
    loaded = TASK.load(folder, "clean")
    with open(folder / "chunks" / "eval.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    test = loaded.split.test
    assert len(test) == len(rows)
    units = loaded.dataset.units[test]
    clips = [row["ext"] for row in rows]
    assert len(set(zip(units.tolist(), clips))) == len(set(clips)) == len(set(units.tolist()))
    number = {name: k for k, name in enumerate(loaded.dataset.target_names)}
    for place in (0, 7, 50):
        wanted = {number[name] for name in rows[place]["labels"].split(",")}
        assert set(np.flatnonzero(loaded.dataset.y[test[place]])) == wanted
    assert any("," in row["labels"] for row in rows)
    assert np.bincount(units).max() == 5
    wav = fsd_audio.read_wav(folder / rows[7]["files"][5:])
    assert_allclose(loaded.dataset.X[test[7]][0], fsd_audio.mel_decibels(wav), atol=1e-5)


def test_training_chunks_under_clean(folder):
    classes = fsd_manifest.read_labels(folder)
    manifest = fsd_manifest.read_manifest(folder, "train", classes)
    counts = np.diff(manifest.first)
    assert {1, 2, 5} <= set(counts.tolist())
    picked = fsd_manifest.spaced_chunks(manifest, 4)
    owners = fsd_manifest.clip_of_chunks(manifest)[picked]
    assert_array_equal(np.bincount(owners), np.minimum(counts, 4))
    five = np.flatnonzero(counts == 5)[0]
    assert_array_equal(picked[owners == five] - manifest.first[five], [0, 1, 3, 4])


def test_frozen_and_unfrozen_draws(folder):
    shipped = TASK.load(folder, "shipped").dataset
    assert shipped.X.shape[1:] == (1, 96, 102)
    assert not shipped.X[0][0, :, 101].any()
    assert_array_equal(shipped.X[3], shipped.X[3])
    assert (TASK.load(folder, "shipped", seed=1).dataset.X[3] != shipped.X[3]).any()
    again = TASK.load(folder, "shipped").dataset
    assert_array_equal(again.X[3], shipped.X[3])
    official = TASK.load(folder, "official")
    dataset = official.dataset
    assert dataset.X.shape[1:] == (1, 96, 101)
    first, second = dataset.X[3], dataset.X[3]
    assert (first != second).any()
    test = official.split.test[0]
    assert_array_equal(dataset.X[test], dataset.X[test])  # what is scored is never drawn
    other = TASK.load(folder, "official").dataset
    assert_array_equal(other.X[3], first)  # counted from the load on
    assert_array_equal(pickle.loads(pickle.dumps(other)).X[3], second)
    draws = np.stack([dataset.X[5] for _ in range(12)])
    assert len(np.unique(draws.reshape(12, -1), axis=0)) > 6


def test_averaging_logits_is_not_averaging_probabilities():
    """What the metric does with the chunks of a clip, on a case where the two orders rank otherwise."""
    logits = np.array([[8.0], [-4.0], [1.0]])
    y = np.array([[0.0], [0.0], [1.0]])
    units = np.array([0, 0, 1])
    p = 1 / (1 + np.exp(-logits))
    assert (p[0] + p[1]) / 2 < p[2]
    assert logits[:2].mean() > logits[2]
    assert get_metric("1-map-clips").score(p, y, units) == pytest.approx(0.5)


def test_lists_that_do_not_fit(own):
    lists = own / "chunks" / "tr.csv"
    good = lists.read_text()
    lists.write_text(good.replace("Tone_003", "Tone_3x", 1))
    with pytest.raises(DataError, match="label 'Tone_3x', which lbl_map.json does not know".replace(".", r"\.")):
        TASK.load(own, "clean")
    lists.write_text(good.replace("files,labels,ext", "file,label,clip"))
    with pytest.raises(DataError, match="expected files, labels, ext"):
        TASK.load(own, "clean")
    lists.write_text(good)
    (own / "chunks" / "lbl_map.json").write_text('{"a": 0, "b": 2}')
    with pytest.raises(DataError, match="does not number 200 classes"):
        TASK.load(own, "clean")


def test_sounds_that_are_missing(own):
    loaded = TASK.load(own, "clean")
    with pytest.raises(DataError, match="is not there"):
        loaded.dataset.X[0]
    assert not TASK.verify(own).ok
    shutil.rmtree(own / "noise_22050")
    with pytest.raises(DataError, match="or use --protocol clean, which needs no noise"):
        TASK.load(own, "shipped")
    TASK.load(own, "clean")


def test_the_fingerprint_does_not_read_every_sound(folder):
    reader = fsd50k.Spectrograms(str(folder), "none", 101, 0)
    assert len(reader.files()) <= 4 + 64
    assert len(reader.opened().chunk) > 700
