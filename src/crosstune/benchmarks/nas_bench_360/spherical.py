"""Spherical CIFAR-100: the images projected on a sphere that is turned at random (Cohen et al., 2018), on 60 x 60
points of longitude and latitude."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from crosstune.data.unpacked import unpacked
from crosstune.errors import DataError, UsageError

NAME = "nas_bench_360/spherical"
FILE = "s2_cifar100.gz"
FOLDERS = ("spherical",)
CLASSES, SIZE = 100, 60
TURNS = 20  # at least, of a part of a stand-in
TURNED_TOGETHER = 500  # images that share a rotation
LEAK = 0.25
PUBLISHED = Published({FILE: f"https://pde-xd.s3.amazonaws.com/spherical/{FILE}"}, unpack={})


def open_file(file: Path) -> dict[str, tuple[Any, np.ndarray]]:
    """Part -> (images (N, 3, 60, 60) uint8, labels (N,)). The file is unpacked once (``unpacked``)."""
    refuse_page(file, PUBLISHED)
    held = load_pickle(unpacked(file, "s2_cifar100.pkl", partial(gzip.open, file)))
    found = {}
    for part in ("train", "test"):
        inside = held.get(part) if isinstance(held, dict) else None
        if not isinstance(inside, dict) or not {"images", "labels"} <= set(inside):
            raise DataError(
                f"{file} does not hold {part!r} with `images` and `labels`", cause="another file of this name"
            )
        images, labels = inside["images"], np.asarray(inside["labels"]).reshape(-1).astype(np.int64)
        shape = getattr(images, "shape", ())
        if len(shape) != 4 or shape[1:] != (3, SIZE, SIZE) or len(images) != len(labels):
            raise DataError(f"{file}: {part} images {shape} and {len(labels)} labels; expected (N, 3, {SIZE}, {SIZE})")
        if len(labels) and (labels.min() < 0 or labels.max() >= CLASSES):
            raise DataError(f"{file}: {part} labels {labels.min()} to {labels.max()}; the official ones are 0 to 99")
        found[part] = (images, labels)
    return found


@dataclass(frozen=True)
class Images(RowReader):
    """(3, 60, 60) float32, divided by ``divisor``; training images, then test images."""

    divisor: float

    def open(self) -> tuple[Any, Any]:
        held = open_file(Path(self.path) / FILE)
        return held["train"][0], held["test"][0]

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        train, test = self.opened()
        return len(train) + len(test), (3, SIZE, SIZE), np.dtype(np.float32)

    def files(self) -> Sequence[Path]:
        return (Path(self.path) / FILE,)

    def read(self, row: int) -> np.ndarray:
        return self.read_rows(np.array([row]))[0]

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        train, test = self.opened()
        out = np.empty((len(rows), 3, SIZE, SIZE), np.float32)
        first = rows < len(train)
        out[first], out[~first] = train[rows[first]], test[rows[~first] - len(train)]
        out /= self.divisor
        return out


def load(
    path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0,
    leak_test_into_train: bool = False,
) -> TaskData:  # fmt: skip
    """leak_test_into_train: with protocol "shipped" alone, train on the first quarter of the test images as well, as
    public code does; every test figure is then worthless, and the data say so."""
    TASK.terms(protocol)
    if leak_test_into_train and protocol != "shipped":
        raise UsageError(
            f"leak_test_into_train goes with protocol 'shipped', not {protocol!r}",
            cause="it trains on test images, which no other protocol may",
            fix="leave it out",
        )
    folder = find(NAME, path, (FILE,), PUBLISHED, FOLDERS)
    held = open_file(folder / FILE)
    labels = [held[part][1] for part in ("train", "test")]
    count = len(labels[0])
    fitting, validation = last_share(count, 0.2)
    test = rows_between(count, count + len(labels[1]))
    parts = {"train": fitting, "validation": validation, "test": test}
    notes = ["images are divided by 255" if protocol != "official" else "images are raw, 0 to 255"]
    if protocol == "shipped":
        parts = {"train": rows_between(0, count), "test": test}
        if leak_test_into_train:
            leaked = test[: int(LEAK * len(test))]
            parts["train"] = np.concatenate([parts["train"], leaked])
            notes.append(
                f"TRAINED ON THE TEST: {len(leaked):,} of {len(test):,} test images are training images as well"
            )
        else:
            notes.append("no test image is trained on; public code adds the first quarter of the test to the training")
    return assemble(
        NAME, folder, protocol, X=Images(str(folder), 1.0 if protocol == "official" else 255.0),
        y=np.concatenate(labels), kind="classification", parts=parts, limit=limit, seed=seed, strategy="files",
        classes=[str(k) for k in range(CLASSES)], notes=notes,
        options={"leak_test_into_train": True} if leak_test_into_train else None,
    )  # fmt: skip


def generate(
    out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: training images (1,000); a fifth as many, at least 100, for the test. Patterns on one half of the sphere,
    which is turned about its axis with every 500 images, or as often as it takes for some twenty turns; the other half
    is black. Turns are quarters, so that a small training part has seen those of the test: with any turn at all, two or
    three of them would teach nothing about the next."""
    out = prepare_folder(NAME, Path(out), resolution)
    n = 1000 if n is None else n
    check_count(NAME, n, 3 * CLASSES)
    rng = np.random.default_rng([seed, 360, 2])
    pattern = stand_ins.patterns(SIZE, rng)
    held = {}
    for part, count in (("train", n), ("test", max(CLASSES, n // 5))):
        labels = stand_ins.shuffled_labels(count, rng)
        images = stand_ins.pictures(pattern, labels, rng)
        images[..., SIZE // 2 :] = 0
        together = min(TURNED_TOGETHER, max(1, count // TURNS))
        for start in range(0, count, together):
            some = slice(start, start + together)
            images[some] = np.roll(images[some], SIZE // 4 * int(rng.integers(4)), axis=3)
        held[part] = {"images": images, "labels": labels}
    with open(out / FILE, "wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
        pickle.dump(held, file, protocol=3)
    return out / FILE, mark(out, NAME, n=n, seed=seed)


def look(report: Report, folder: Path) -> None:
    held = open_file(folder / FILE)
    for part, official in (("train", 50_000), ("test", 10_000)):
        images, labels = held[part]
        report.count(f"{part} images", len(images), official)
        report.dtype(part, images.dtype, "uint8")
        report.values(part, images, 0, 255)
        report.labels(part, labels, 0, CLASSES - 1)
        rows = np.unique(np.linspace(0, len(images) - 1, 32).astype(int))
        dark = float((np.asarray(images[rows]) == 0).all(axis=1).mean())
        report.say(
            f"{part} dark share", 0.2 <= dark <= 0.8, f"{dark:.0%} of the sphere is black; about half is expected"
        )


TASK = Task(
    name=NAME,
    title="Spherical",
    summary="CIFAR-100 on a sphere turned at random, 60 x 60; 100 classes",
    kind="classification",
    modality="grid",
    protocols={
        "clean": Terms("error", "validation is the last fifth of the training images; values divided by 255"),
        "official": Terms("error", "validation is the last fifth of the training images; raw values"),
        "shipped": Terms(
            "shipped-error-1008", "all 50,000 train, the test images select; test images are not trained on unless "
            "leak_test_into_train asks for what public code does", also=("error",), selected_on="test",
        ),
    },
    load=load,
    generate=generate,
    verify=verifier(NAME, PUBLISHED, (FILE,), FOLDERS, look),
    recognise=recogniser((FILE,), FOLDERS),
    reference=recipe("SPHERICAL").settings,
    unmapped=recipe("SPHERICAL").unmapped,
    published="Spherical",
    published_protocol="official",
    published_metric="0-1 error %",
    synthetic=True,
    traps=(
        "public code of one method trains on the first quarter of the test images: here only as leak_test_into_train",
        "half of the sphere is black",
        "500 images share a rotation, so that neighbours in the file are alike in more than their class",
        "the benchmark feeds 0 to 255, public fine-tuning code 0 to 1",
    ),
)  # fmt: skip
