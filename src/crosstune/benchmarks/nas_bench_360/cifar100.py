"""CIFAR-100 (Krizhevsky, 2009): natural images of 32 x 32 points in 100 classes; the near end of the suite."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.benchmarks.contract import ProtocolName, Task, TaskData, Terms
from crosstune.benchmarks.nas_bench_360 import images_stand_in as stand_ins
from crosstune.benchmarks.nas_bench_360.checking import Report, recogniser, verifier
from crosstune.benchmarks.nas_bench_360.common import (
    Published,
    assemble,
    check_count,
    find,
    last_share,
    mark,
    prepare_folder,
    refuse_page,
    rows_between,
)
from crosstune.benchmarks.recipes import recipe
from crosstune.data.lazy import RowReader
from crosstune.data.restricted_pickle import load_pickle
from crosstune.errors import DataError

NAME = "nas_bench_360/cifar100"
FILES = ("train", "test", "meta")
FOLDERS = ("cifar-100-python",)
CLASSES = 100
MEAN, SPREAD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)  # of the training images, in units of 255
_ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
PUBLISHED = Published(
    dict.fromkeys(FILES, f"in {_ARCHIVE}"), {"cifar-100-python.tar.gz": "tar xf cifar-100-python.tar.gz"}
)
MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}


def open_file(file: Path, wanted: Sequence[str]) -> dict[str, Any]:
    """The dictionary of one file, keys as text (Python 2 wrote them as bytes)."""
    refuse_page(file, PUBLISHED)
    held = load_pickle(file)
    if not isinstance(held, dict):
        raise DataError(f"{file} does not hold a dictionary", cause="another file of this name")
    found = {k.decode("latin1") if isinstance(k, bytes) else str(k): v for k, v in held.items()}
    lacking = [key for key in wanted if key not in found]
    if lacking:
        raise DataError(f"{file} lacks {', '.join(lacking)}; it has {', '.join(sorted(found))}")
    return found


def open_images(file: Path) -> tuple[Any, np.ndarray]:
    """(data (N, 3072) uint8, red plane first, rows within a plane; fine labels (N,))."""
    held = open_file(file, ("data", "fine_labels"))
    data, labels = held["data"], np.asarray(held["fine_labels"], dtype=np.int64)
    if getattr(data, "ndim", 0) != 2 or data.shape[1] != 3072 or data.dtype != np.uint8 or len(data) != len(labels):
        raise DataError(
            f"{file}: data {getattr(data, 'shape', '?')} and {len(labels)} labels; expected (N, 3072) bytes"
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= CLASSES):
        raise DataError(f"{file}: fine labels {labels.min()} to {labels.max()}; the official ones are 0 to 99")
    return data, labels


@dataclass(frozen=True)
class Images(RowReader):
    """(3, 32, 32) float32, scaled to 0..1 and standardised per colour; training images, then test images."""

    def open(self) -> tuple[Any, Any]:
        return open_images(Path(self.path) / "train")[0], open_images(Path(self.path) / "test")[0]

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        train, test = self.opened()
        return len(train) + len(test), (3, 32, 32), np.dtype(np.float32)

    def files(self) -> Sequence[Path]:
        return Path(self.path) / "train", Path(self.path) / "test"

    def read(self, row: int) -> np.ndarray:
        return self.read_rows(np.array([row]))[0]

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        train, test = self.opened()
        data = np.empty((len(rows), 3072), np.uint8)
        first = rows < len(train)
        data[first], data[~first] = train[rows[first]], test[rows[~first] - len(train)]
        images = data.reshape(-1, 3, 32, 32).astype(np.float32)
        images /= 255
        images -= np.array(MEAN, np.float32)[:, None, None]
        images /= np.array(SPREAD, np.float32)[:, None, None]
        return images


def load(path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    TASK.terms(protocol)
    folder = find(NAME, path, FILES, PUBLISHED, FOLDERS)
    labels = [open_images(folder / name)[1] for name in ("train", "test")]
    names = [
        n.decode() if isinstance(n, bytes) else str(n)
        for n in open_file(folder / "meta", ("fine_label_names",))["fine_label_names"]
    ]
    if len(names) != CLASSES:
        raise DataError(f"{folder / 'meta'} names {len(names)} classes, not 100")
    count = len(labels[0])
    fitting, held = last_share(count, 0.2)  # the last 10,000 of 50,000
    test = rows_between(count, count + len(labels[1]))
    parts = {"train": fitting, "validation": held, "test": test}
    if protocol == "shipped":
        parts = {"train": rows_between(0, count), "test": test}
    return assemble(
        NAME, folder, protocol, X=Images(str(folder)), y=np.concatenate(labels), kind="classification", parts=parts,
        limit=limit, seed=seed, strategy="files", classes=names,
        notes=("images as they are: public recipes crop and flip training images, which is not done here",),
    )  # fmt: skip


# -- the stand-in -----------------------------------------------------------------------------------------------------


def python_2_pickle(held: Mapping[bytes, Any]) -> bytes:
    """A dictionary of bytes arrays and lists as Python 2 wrote it (protocol 2): every text is a byte string."""
    out = [b"\x80\x02}("]
    for key, value in held.items():
        out += [_text(key), _array(value) if isinstance(value, np.ndarray) else _list(value)]
    return b"".join([*out, b"u."])


def _text(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value


def _list(values: Sequence[Any]) -> bytes:
    return b"](" + b"".join(_text(v) if isinstance(v, bytes) else b"J" + struct.pack("<i", v) for v in values) + b"e"


def _array(values: np.ndarray) -> bytes:
    shape = b"".join(b"J" + struct.pack("<i", n) for n in values.shape)
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01" + shape + b"\x86" + kind + b"\x89" + _text(values.tobytes()) + b"tb"
    return b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state


def generate(
    out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: training images (1,000); a fifth as many, at least 100, for the test. Colour patterns, one per class."""
    folder = prepare_folder(NAME, Path(out), resolution) / FOLDERS[0]
    n = 1000 if n is None else n
    check_count(NAME, n, 3 * CLASSES)
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng([seed, 360, 1])
    pattern = stand_ins.patterns(32, rng)
    for name, count in (("train", n), ("test", max(CLASSES, n // 5))):
        labels = stand_ins.shuffled_labels(count, rng)
        images = stand_ins.pictures(pattern, labels, rng)
        held = {
            b"filenames": [b"pattern_%06d.png" % k for k in range(count)],
            b"batch_label": [b"training batch 1 of 1" if name == "train" else b"testing batch 1 of 1"],
            b"fine_labels": labels.tolist(),
            b"coarse_labels": (labels // 5).tolist(),
            b"data": images.reshape(count, -1),
        }
        (folder / name).write_bytes(python_2_pickle(held))
    names = {
        b"fine_label_names": [b"pattern %d" % k for k in range(CLASSES)],
        b"coarse_label_names": [b"patterns %d to %d" % (5 * k, 5 * k + 4) for k in range(CLASSES // 5)],
    }
    (folder / "meta").write_bytes(python_2_pickle(names))
    return (*(folder / name for name in FILES), mark(Path(out), NAME, n=n, seed=seed))


def look(report: Report, folder: Path) -> None:
    complete = True
    for name, official in (("train", 50_000), ("test", 10_000)):
        with report.reading(name):
            data, labels = open_images(folder / name)
            report.count(f"{name} images", len(data), official)
            report.values(name, data, 0, 255)
            report.labels(name, labels, 0, CLASSES - 1)
            complete = complete and len(data) == official
    with report.reading("meta"):
        names = open_file(folder / "meta", ("fine_label_names",))["fine_label_names"]
        report.say("class names", len(names) == CLASSES, f"{len(names)}")
    report.checksums(folder, MD5, complete)


TASK = Task(
    name=NAME,
    title="CIFAR-100",
    summary="natural images, 32 x 32; 100 classes",
    kind="classification",
    modality="grid",
    protocols={
        "clean": Terms("error", "validation is the last 10,000 of the 50,000 training images in file order"),
        "official": Terms("error", "validation is the last 10,000 of the 50,000; the benchmark trains with cutout"),
        "shipped": Terms(
            "shipped-error-1024", "all 50,000 train, the test images select; error averaged over chunks",
            also=("error",), selected_on="test",
        ),
    },
    load=load,
    generate=generate,
    verify=verifier(NAME, PUBLISHED, FILES, FOLDERS, look),
    recognise=recogniser(FILES, FOLDERS),
    reference=recipe("CIFAR100").settings,
    unmapped=recipe("CIFAR100").unmapped,
    published="CIFAR-100",
    published_protocol="official",
    published_metric="0-1 error %",
    synthetic=True,
    traps=(
        "the files are Python 2 pickles with keys of bytes; they are read without running them",
        "validation images must not be cropped and flipped as training images are",
        "image transformers are pretrained on images: this task is not far from their source",
    ),
)  # fmt: skip
