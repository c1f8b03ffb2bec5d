"""Source proxies of the user's own: every format, and what is refused with name and reason."""

from __future__ import annotations

import io
import json
import struct
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import wavfile

from crosstune.data.proxies import AudioProxy, ImageProxy, TextProxy, Wanted, balanced, choose
from crosstune.data.proxies.cifar10 import PROXY as CIFAR10
from crosstune.data.proxies.own import OwnProxy
from crosstune.data.proxies.reading.refusal import read_each
from crosstune.discovery import discover
from crosstune.errors import CrosstuneError, DataError, UsageError, WeightsError

SMALL = Wanted(rows=40, size=(16, 16), rate=8000, samples=4000)


def refused(path: Path | str, match: str, wanted: Wanted = SMALL) -> CrosstuneError:
    with pytest.raises((DataError, UsageError), match=match) as caught:
        OwnProxy(str(path)).load(wanted)
    assert caught.value.fix
    assert caught.value.exit_code in (2, 3)
    return caught.value


def picture(path: Path, colour: tuple[int, ...], size: tuple[int, int] = (20, 30), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def tone(path: Path, hertz: float, *, rate: int = 16000, seconds: float = 0.5, dtype: str = "int16") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    if dtype == "uint8":
        wavfile.write(path, rate, (128 + 127 * wave).astype(np.uint8))
    else:
        full = 1 if dtype == "float32" else np.iinfo(dtype).max
        wavfile.write(path, rate, (full * wave).astype(dtype))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for k in range(3):
        picture(tmp_path / "p" / "red" / f"{k}.png", (250, 5, 5), size=(20 + k, 30))
        picture(tmp_path / "p" / "blue" / "deeper" / f"{k}.jpg", (5, 5, 250), size=(16, 16))
    return tmp_path / "p"


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    tone(tmp_path / "w" / "low" / "a.wav", 220)
    tone(tmp_path / "w" / "low" / "b.wav", 220, rate=44100, seconds=1.0, dtype="int32")
    tone(tmp_path / "w" / "high" / "a.wav", 880, rate=8000, seconds=0.2, dtype="float32")
    tone(tmp_path / "w" / "high" / "b.wav", 880, rate=22050, dtype="uint8")
    return tmp_path / "w"


# -- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_pictures(pictures: Path) -> None:
    (pictures / "red" / ".DS_Store").write_text("x")
    (pictures / "red" / "readme.md").write_text("x")
    source = OwnProxy(str(pictures))
    assert (source.modality, source.size) == ("image", "2 classes, 7 files") or source.modality == "image"
    proxy = source.load(SMALL)
    assert isinstance(proxy, ImageProxy)
    assert proxy.classes == ("blue", "red")
    assert proxy.images.shape == (6, 3, 16, 16)
    means = np.stack([proxy.images[proxy.labels == k].mean((0, 2, 3)) for k in (0, 1)])
    np.testing.assert_allclose(means, [[5, 5, 250], [250, 5, 5]], atol=4)
    said = " ".join(proxy.notes)
    assert "3 pictures of 30x20 to 30x22 pixels were cut to the middle and resampled to 16x16" in said
    assert "passed over: 1 .md" in said
    assert proxy.digest == OwnProxy(str(pictures)).load(SMALL).digest
    picture(pictures / "red" / "0.png", (0, 250, 0))
    assert proxy.digest != OwnProxy(str(pictures)).load(SMALL).digest


def test_pictures_are_averaged_over_areas_and_cut_to_the_middle(tmp_path: Path) -> None:
    """A checkerboard of single pixels becomes even grey; what lies left and right of the square is lost."""
    board = (np.indices((32, 32)).sum(0) % 2 * 255).astype(np.uint8)
    wide = np.hstack([np.full((32, 16), 255, np.uint8), board, np.full((32, 16), 255, np.uint8)])
    for name, array in (("a", wide), ("b", np.zeros((16, 16), np.uint8))):
        (tmp_path / name).mkdir()
        Image.fromarray(array).save(tmp_path / name / "x.png")
    proxy = OwnProxy(str(tmp_path)).load(SMALL)
    assert isinstance(proxy, ImageProxy)
    assert np.abs(proxy.images[0].astype(int) - 127).max() <= 1
    assert (proxy.images[1] == 0).all()


def test_transparent_deep_and_turned_pictures(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    picture(tmp_path / "a" / "clear.png", (0, 0, 0, 0), size=(16, 16), mode="RGBA")
    Image.fromarray(np.full((16, 16), 65535, np.uint16)).save(tmp_path / "a" / "deep.png")
    half = np.zeros((16, 16), np.uint8)
    half[:8] = 255  # bright above; the tag says that the picture was taken turned by a quarter
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(half).save(tmp_path / "b" / "turned.jpg", exif=exif, quality=100)
    proxy = OwnProxy(str(tmp_path)).load(SMALL)
    assert isinstance(proxy, ImageProxy)
    assert (proxy.images[proxy.labels == 0] == 255).all()
    turned = proxy.images[proxy.labels == 1][0, 0].astype(int)
    assert turned[:, 9:].min() > 200
    assert turned[:, :7].max() < 55


def test_few_rows_take_turns_and_only_chosen_files_are_opened(pictures: Path) -> None:
    for k in range(20):
        picture(pictures / "red" / f"more{k}.png", (250, 5, 5))
    proxy = OwnProxy(str(pictures)).load(Wanted(rows=6, size=(16, 16)))
    assert np.bincount(proxy.labels).tolist() == [3, 3]
    assert "6 of 26 files are used, classes taking turns" in proxy.notes


def test_a_folder_of_recordings(recordings: Path) -> None:
    proxy = OwnProxy(str(recordings)).load(SMALL)
    assert isinstance(proxy, AudioProxy)
    assert (proxy.waves.shape, proxy.rate, proxy.classes) == ((4, 4000), 8000, ("high", "low"))
    peaks = np.abs(np.fft.rfft(proxy.waves, axis=1)).argmax(1) * 8000 / 4000
    np.testing.assert_allclose(peaks, np.where(proxy.labels == 0, 880, 220), atol=5)
    np.testing.assert_allclose(np.abs(proxy.waves[:, 500:1100]).max(1), 0.5, atol=0.02)
    said = " ".join(proxy.notes)
    assert "at 16000, 22050, 44100 Hz were resampled to 8000 Hz" in said
    assert "the middle 0.5 s were cut out of 1 longer recordings" in said
    assert "1 recordings shorter than 0.5 s are followed by silence" in said


def test_resampling_does_not_alias(tmp_path: Path) -> None:
    """A tone above half of the new rate vanishes instead of coming back as another tone."""
    tone(tmp_path / "a" / "x.wav", 7000)
    tone(tmp_path / "b" / "x.wav", 1000)
    proxy = OwnProxy(str(tmp_path)).load(SMALL)
    assert isinstance(proxy, AudioProxy)
    inner = np.abs(proxy.waves[:, 100:-100]).max(1)
    assert inner[0] < 0.01
    assert inner[1] == pytest.approx(0.5, abs=0.02)


def test_a_folder_of_texts(tmp_path: Path) -> None:
    for name, text in (("greek", "\ufeffalpha beta"), ("latin", " unus duo "), ("latin", "tres")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"{len(text)}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "latin" / "long.txt").write_text("é" * 30000, encoding="utf-8")  # cut within a character
    proxy = OwnProxy(str(tmp_path)).load(SMALL)
    assert isinstance(proxy, TextProxy)
    assert sorted(proxy.passages) == ["alpha beta", "tres", "unus duo", "é" * 5000]


def test_bad_files_are_all_named_with_their_reasons(pictures: Path) -> None:
    red = pictures / "red"
    whole = (red / "0.png").read_bytes()
    (red / "empty.png").touch()
    (red / "page.png").write_text("<html>404</html>")
    (red / "short.png").write_bytes(whole[:60])
    said = refused(pictures, "3 of 9 files of the proxy").problem
    assert "red/empty.png: empty (0 bytes)" in said
    assert "red/page.png: not a picture (it begins b'<html>40')" in said
    assert "red/short.png: cannot be decoded" in said
    for k in range(7):
        (red / f"empty{k}.png").touch()
    assert "and 5 more" in refused(pictures, "10 of 16").problem


def test_a_picture_that_claims_to_be_huge(pictures: Path) -> None:
    head = struct.pack(">I4sIIBBBBB", 13, b"IHDR", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + head + struct.pack(">I", __import__("zlib").crc32(head[4:]))
    (pictures / "red" / "bomb.png").write_bytes(bomb + struct.pack(">I4s", 0, b"IDAT") + b"\0" * 4)
    refused(pictures, r"red/bomb\.png: .*(decompression bomb|more than 100 million)")


def test_a_document_is_not_opened_as_a_picture(pictures: Path) -> None:
    """Decoders that run interpreters stay shut, whatever the file is called."""
    (pictures / "red" / "x.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    refused(pictures, r"red/x\.png: not a picture")


def test_bad_recordings(recordings: Path) -> None:
    whole = (recordings / "low" / "a.wav").read_bytes()
    (recordings / "low" / "short.wav").write_bytes(whole[:2000])
    (recordings / "low" / "text.wav").write_text("not a wave")
    (recordings / "low" / "stub.wav").write_bytes(whole[:20])
    silent_rate = bytearray(whole)
    silent_rate[24:28] = struct.pack("<I", 0)
    (recordings / "low" / "rate.wav").write_bytes(silent_rate)
    wavfile.write(recordings / "low" / "nan.wav", 8000, np.full(100, np.nan, np.float32))
    said = refused(recordings, "5 of 9 files").problem
    for name, reason in (("short", "not a whole .wav"), ("text", "not a whole .wav"), ("stub", "not a whole .wav"),
                         ("rate", "nSamplesPerSec = 0"), ("nan", "not finite")):  # fmt: skip
        assert any(f"low/{name}.wav" in line and reason in line for line in said.splitlines()), (name, said)


def test_bad_texts(tmp_path: Path) -> None:
    for name, raw in (
        ("a/x.txt", b"fine"),
        ("b/bin.txt", b"\0\1"),
        ("b/latin.txt", b"caf\xe9 au lait"),
        ("b/e.txt", b" "),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    said = refused(tmp_path, "3 of 4 files").problem
    assert "b/bin.txt: binary content" in said
    assert "b/latin.txt: not UTF-8 (byte 3)" in said
    assert "b/e.txt: no text in it" in said


def test_folders_that_are_no_proxies(tmp_path: Path, pictures: Path, recordings: Path) -> None:
    (tmp_path / "flat").mkdir()
    picture(tmp_path / "flat" / "a.png", (0, 0, 0))
    refused(tmp_path / "flat", "0 sub-folders")
    (pictures / "green").mkdir()
    refused(pictures, "hold no image file: green")
    tone(pictures / "green" / "x.wav", 100)
    refused(pictures, "mixes audio and image files")
    for name in ("a", "b"):
        (tmp_path / "songs" / name).mkdir(parents=True)
        (tmp_path / "songs" / name / "x.mp3").write_bytes(b"ID3")
    assert "ffmpeg -i FILE.mp3" in str(refused(tmp_path / "songs", "no images, .wav or .txt"))


# -- archives --------------------------------------------------------------------------------------------------------


def archive(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("layout", ["N1HW", "N3HW", "NHW3", "NHW"])
def test_images_in_an_archive(tmp_path: Path, layout: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)
    grey = np.repeat(x[:, :1], 3, 1)
    given = {"N1HW": x[:, :1], "N3HW": x, "NHW3": x.transpose(0, 2, 3, 1), "NHW": x[:, 0]}[layout]
    proxy = OwnProxy(str(archive(tmp_path / "d.npz", X=given, y=np.array(list("ababab"))))).load(SMALL)
    assert isinstance(proxy, ImageProxy)
    np.testing.assert_array_equal(proxy.images, x if "3" in layout else grey)
    assert proxy.classes == ("a", "b")


def test_fractions_are_shares_of_brightness_and_sizes_are_resampled(tmp_path: Path) -> None:
    x = np.repeat(np.linspace(0, 1, 6, dtype=np.float32), 64).reshape(6, 1, 8, 8)
    proxy = OwnProxy(str(archive(tmp_path / "d.npz", X=x, y=[0, 1] * 3))).load(SMALL)
    assert isinstance(proxy, ImageProxy)
    np.testing.assert_array_equal(proxy.images[:, 0, 0, 0], [0, 51, 102, 153, 204, 255])
    assert "shares of full brightness" in proxy.notes[0]
    assert "6 pictures of 8x8 pixels" in proxy.notes[1]


def test_waves_in_an_archive(tmp_path: Path) -> None:
    t = np.arange(4000) / 4000
    x = np.stack([np.sin(2 * np.pi * f * t) for f in (100, 200, 300, 400)])
    path = archive(tmp_path / "d.npz", X=(x * 32767).astype(np.int16), y=[3, 5, 3, 5], rate=4000)
    proxy = OwnProxy(str(path)).load(SMALL)
    assert isinstance(proxy, AudioProxy)
    assert proxy.waves.shape == (4, 4000)
    np.testing.assert_array_equal(np.abs(np.fft.rfft(proxy.waves, axis=1)).argmax(1), [50, 100, 150, 200])
    assert proxy.classes == ("3", "5")
    loud = OwnProxy(str(archive(tmp_path / "e.npz", X=x * 7, y=[0, 1, 0, 1]))).load(SMALL)
    assert "reaches 7" in loud.notes[0]
    assert "taken to be at 8000 Hz" in loud.notes[1]


def test_texts_in_an_archive(tmp_path: Path) -> None:
    path = archive(tmp_path / "d.npz", X=np.array(["one", "two", "three"]), y=[0, 1, 0])
    proxy = OwnProxy(str(path)).load(SMALL)
    assert isinstance(proxy, TextProxy)
    assert proxy.passages == ("one", "two", "three")
    refused(archive(path, X=np.array(["one", " "]), y=[0, 1]), "empty in 1 rows, first in row 1")


def test_archives_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    x = np.zeros((4, 1, 8, 8), np.uint8)
    refused(archive(path, X=x), "no key 'y'")
    refused(archive(path, images=x, y=[0, 1, 0, 1]), "no key 'X'")
    refused(archive(path, X=np.array([{}, []], object), y=[0, 1]), "pickle can run code")
    refused(archive(path, X=x, y=np.array([None, 1, 2, 3], object)), "y holds Python objects")
    refused(archive(path, X=x, y=[0, 1, 0]), "4 rows and y shape")
    refused(archive(path, X=x, y=[0.5, 1, 0, 1]), "fractions like 0.5")
    refused(archive(path, X=x, y=[1, 1, 1, 1]), "4 examples in 1 classes")
    refused(archive(path, X=np.zeros((4, 7, 8, 8), np.uint8), y=[0, 1, 0, 1]), "1 or 3 channels")
    refused(archive(path, X=x - 1.5, y=[0, 1, 0, 1]), "from -1.5 to -1.5")
    refused(archive(path, X=np.zeros(4), y=[0, 1, 0, 1]), "neither images, waves nor texts")
    refused(archive(path, X=np.zeros((4, 9)) * np.nan, y=[0, 1, 0, 1]), "not finite")
    refused(archive(path, X=np.zeros((4, 9)), y=[0, 1, 0, 1], rate=-3), "no number of samples per second")
    whole = archive(path, X=x, y=[0, 1, 0, 1]).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "cannot be read as npz")
    path.write_bytes(b"")
    refused(path, "empty")
    refused(f"{archive(path, X=x, y=[0, 1, 0, 1])}::a,b", "belong to tables")


def test_an_archive_that_claims_to_be_huge(tmp_path: Path) -> None:
    """The header says a million million pictures; nothing of that size is behind it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 3, 8, 8)}
    )  # fmt: skip
    labels = io.BytesIO()
    np.save(labels, np.arange(4) % 2)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as file:
        file.writestr("X.npy", header.getvalue() + b"\0" * 100)
        file.writestr("y.npy", labels.getvalue())
    refused(tmp_path / "d.npz", "cannot be read as npz")


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    def closed(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(DataError, match=r"a/x\.txt: Permission denied"):
        read_each(tmp_path, [tmp_path / "a" / "x.txt"], closed)


# -- tables ----------------------------------------------------------------------------------------------------------


def test_tables_of_three_formats_agree(tmp_path: Path) -> None:
    texts, labels = ["one, two", "three", "four", "five"], ["a", "b", "a", "b"]
    lines = [json.dumps({"Text": t, "label": l, "id": i}) for i, (t, l) in enumerate(zip(texts, labels))]
    (tmp_path / "d.jsonl").write_text("\n".join([*lines, ""]))
    (tmp_path / "d.csv").write_text("Text,label\n" + "".join(f'"{t}",{l}\n' for t, l in zip(texts, labels)))
    pq.write_table(pa.table({"Text": texts, "label": labels}), tmp_path / "d.parquet")
    found = [OwnProxy(str(tmp_path / name)).load(SMALL) for name in ("d.jsonl", "d.csv", "d.parquet")]
    assert len({p.digest for p in found}) == 1
    assert isinstance(found[0], TextProxy)
    assert found[0].passages == tuple(texts)
    assert found[0].notes == ("column 'Text' was taken as the text and 'label' as the label",)


def test_columns_can_be_named_and_numbers_are_classes(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("body,topic,label\nab,10,x\ncd,9,y\n")
    proxy = OwnProxy(f"{tmp_path / 'd.csv'}::body,topic").load(SMALL)
    assert proxy.classes == ("9", "10")
    assert proxy.labels.tolist() == [1, 0]
    refused(f"{tmp_path / 'd.csv'}::body", "names 1 columns")
    assert "topic" in str(refused(f"{tmp_path / 'd.csv'}::body,topix", "no column 'topix'"))
    assert "body, topic, label" in str(refused(tmp_path / "d.csv", "no column of text"))


def test_tables_that_are_refused(tmp_path: Path) -> None:
    def table(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    refused(table("a.jsonl", '{"text": "a", "label": 0}\n{"text": "b", "la'), "line 2 is no JSON")
    refused(table("a.jsonl", "[1, 2]\n"), "line 1 holds list")
    refused(table("a.jsonl", "\n"), "no lines")
    refused(table("a.jsonl", "[" * 100000), "line 1 is no JSON")
    refused(table("a.jsonl", '{"text": "a", "label": 0}\n{"text": "b"}\n'), "missing in 1 of 2 rows, first in row 1")
    refused(table("a.jsonl", '{"text": "a", "label": 0}\n{"text": 7, "label": 1}\n'), "holds 7 in row 1")
    refused(table("a.csv", "text,label\na,0\n,1\n"), "is empty in row 1")
    refused(table("a.csv", "text,label\n" + "".join(f"t{i},{i}\n" for i in range(50))), "name rows, not classes")
    refused(table("a.csv", "text,label\na,b,c,d\n"), "lines differ")
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "caf\xe9", "label": 0}\n')
    refused(tmp_path / "a.jsonl", "not UTF-8")
    refused(table("a.parquet", "PAR1 but no more"), "cannot be read as Parquet")
    refused(table("a.docx", "x"), "no format of a proxy")


# -- choosing --------------------------------------------------------------------------------------------------------


def test_auto_follows_the_modality_and_none_is_none() -> None:
    known = discover("crosstune.data.proxies", "PROXY")
    assert choose("auto", "text") is known["documentation"]
    assert choose("auto", "image") is known["shapes-and-textures"]
    assert choose("auto", "audio") is known["sounds"]
    assert choose("none", "image") is None
    assert choose("auto") is None
    for source in known.values():
        assert source.summary
        assert source.license
        assert source.size
        assert source.modality in ("text", "image", "audio", "series")


def test_names_and_paths_that_cannot_be_chosen(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown source proxy 'sound'[\s\S]*did you mean 'sounds'"):
        choose("sound")
    with pytest.raises(UsageError, match="there is no file or folder"):
        choose(str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="holds sounds, but the body was pretrained on images") as caught:
        choose("sounds", "image")
    assert "shapes-and-textures" in str(caught.value.fix)
    with pytest.raises(UsageError, match="holds images, but the body was pretrained on texts"):
        choose(str(pictures), "text")
    found = choose(str(pictures), "image")
    assert found is not None
    assert found.modality == "image"


def test_classes_take_turns() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 20)
    rows = balanced(labels, 12)
    assert np.bincount(labels[rows]).tolist() == [5, 3, 4]
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(balanced(labels, 1000), np.arange(73))
    np.testing.assert_array_equal(rows[labels[rows] == 0], np.arange(5))  # each class gives its first rows


# -- the hub ---------------------------------------------------------------------------------------------------------


class Table(dict):
    """What the proxy asks of a table of ``datasets``: columns, a choice of rows, the names of classes."""

    def select(self, rows: list[int]) -> dict[str, Any]:
        return {key: [values[i] for i in rows] for key, values in self.items()}

    features = {"label": types.SimpleNamespace(names=["plane", "car"])}


def test_cifar10_without_the_package_and_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(WeightsError, match=r"not installed[\s\S]*pip install 'crosstune\[hub\]'"):
        CIFAR10.load(SMALL)

    def unreachable(name: str, split: str) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=unreachable))
    with pytest.raises(WeightsError, match="no route to host") as caught:
        CIFAR10.load(SMALL)
    assert caught.value.exit_code == 4


def test_cifar10_from_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    colours = [(10 * k, 0, 0) for k in range(6)]
    table = Table(label=[0, 0, 0, 0, 1, 1], img=[Image.new("RGB", (32, 32), c) for c in colours])
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=lambda name, split: table))
    proxy = CIFAR10.load(Wanted(rows=4, size=(16, 16)))
    assert proxy.images.shape == (4, 3, 16, 16)
    assert proxy.images[:, 0, 0, 0].tolist() == [0, 10, 40, 50]
    assert (proxy.classes, proxy.labels.tolist()) == (("plane", "car"), [0, 0, 1, 1])
