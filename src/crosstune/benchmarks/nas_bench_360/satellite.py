"""Satellite: land cover of a pixel from a year of images (Petitjean et al., 2012): series of 46 steps, 24 classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.benchmarks.contract import ProtocolName, Task, TaskData, Terms
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
from crosstune.data.numpy_files import load_npy
from crosstune.errors import DataError

NAME = "nas_bench_360/satellite"
TRAIN, TEST = "satellite_train.npy", "satellite_test.npy"
FOLDERS = ("satellite",)
STEPS, CLASSES = 46, 24
PUBLISHED = Published(
    {name: f"https://pde-xd.s3.amazonaws.com/satellite/{name}" for name in (TRAIN, TEST)}, unpack={}
)  # fmt: skip


def open_part(file: Path) -> tuple[Any, np.ndarray]:
    """(data (N, 46), labels (N,) from 0) of one file: a 0-dimensional array that holds a dictionary."""
    refuse_page(file, PUBLISHED)
    held = load_npy(file)
    if not isinstance(held, dict) or not {"data", "label"} <= set(held):
        raise DataError(f"{file} does not hold a dictionary with `data` and `label`", cause="another file of this name")
    data, labels = held["data"], np.asarray(held["label"]).reshape(-1)
    if data.ndim != 2 or data.shape[1] != STEPS or len(data) != len(labels):
        raise DataError(f"{file}: data {data.shape} and {len(labels)} labels; expected (N, {STEPS}) and N")
    if len(labels) and (labels.min() < 1 or labels.max() > CLASSES):
        raise DataError(f"{file}: labels {labels.min()} to {labels.max()}; the official ones are 1 to {CLASSES}")
    return data, labels.astype(np.int64) - 1


@dataclass(frozen=True)
class Rows(RowReader):
    """(1, 46) float32: the training file's rows, then the test file's. standardise: each series to mean 0 and standard
    deviation 1 over its own steps."""

    standardise: bool

    def open(self) -> tuple[Any, Any]:
        return open_part(Path(self.path) / TRAIN)[0], open_part(Path(self.path) / TEST)[0]

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        train, test = self.opened()
        return len(train) + len(test), (1, STEPS), np.dtype(np.float32)

    def files(self) -> Sequence[Path]:
        return Path(self.path) / TRAIN, Path(self.path) / TEST

    def read(self, row: int) -> np.ndarray:
        return self.read_rows(np.array([row]))[0]

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        train, test = self.opened()
        out = np.empty((len(rows), STEPS), np.float64)
        first = rows < len(train)
        out[first] = train[rows[first]]
        out[~first] = test[rows[~first] - len(train)]
        if self.standardise:
            spread = out.std(axis=1, keepdims=True)
            out = (out - out.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
        return out[:, None].astype(np.float32)


def load(path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    TASK.terms(protocol)
    folder = find(NAME, path, (TRAIN, TEST), PUBLISHED, FOLDERS)
    (train, train_labels), (_, test_labels) = open_part(folder / TRAIN), open_part(folder / TEST)
    fitting, held = last_share(len(train), 1 / 9)  # 100,000 of 900,000
    test = rows_between(len(train), len(train) + len(test_labels))
    parts = {"train": fitting, "validation": held, "test": test}
    notes = ["each series is standardised over its own 46 steps"]
    if protocol == "shipped":
        parts = {"train": rows_between(0, len(train)), "test": test}
        notes = ["series are raw: no normalisation at all"]
    return assemble(
        NAME, folder, protocol, X=Rows(str(folder), protocol != "shipped"),
        y=np.concatenate([train_labels, test_labels]), kind="classification", parts=parts, limit=limit, seed=seed,
        strategy="files", notes=notes, classes=[str(k) for k in range(1, CLASSES + 1)],
    )  # fmt: skip


def generate(
    out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: training series (2,400); a sixth as many for the test. A class is a seasonal curve of three harmonics."""
    out = prepare_folder(NAME, Path(out), resolution)
    n = 2400 if n is None else n
    check_count(NAME, n, 2 * CLASSES)
    rng = np.random.default_rng([seed, 360, 9])
    phase, size = rng.uniform(0, 2 * np.pi, (CLASSES, 3)), rng.uniform(0.3, 1.0, (CLASSES, 3)) / np.arange(1, 4)
    level = rng.uniform(150, 400, CLASSES)
    time = 2 * np.pi * np.arange(STEPS) / STEPS
    paths = []
    for name, count in ((TRAIN, n), (TEST, max(CLASSES, n // 6))):
        labels = rng.permutation(np.arange(count) % CLASSES)
        angle = (time + rng.normal(0, 0.15, (count, 1)))[:, None] * np.arange(1, 4)[
            :, None
        ]  # seasons come early or late
        curve = (size[labels][..., None] * np.cos(angle + phase[labels][..., None])).sum(axis=1)
        data = level[labels, None] * (1 + 0.3 * curve) + rng.normal(0, 25, (count, STEPS))
        held = np.array({"data": data, "label": (labels + 1).astype(np.int64)}, dtype=object)
        np.save(out / name, held, allow_pickle=True)
        paths.append(out / name)
    return (*paths, mark(out, NAME, n=n, seed=seed))


def look(report: Report, folder: Path) -> None:
    total = 0
    for name, official in ((TRAIN, 900_000), (TEST, 100_000)):
        with report.reading(name):
            data, labels = open_part(folder / name)
            report.count(f"{name} series", len(data), official)
            report.dtype(name, data.dtype, "float64")
            report.values(name, data)
            report.labels(name, labels + 1, 1, CLASSES)
            total += len(data)


TASK = Task(
    name=NAME,
    title="Satellite",
    summary="land cover of a pixel from 46 images over a year; 24 classes",
    kind="classification",
    modality="series",
    protocols={
        "clean": Terms(
            "error",
            "validation is the last ninth of the training file (100,000 of 900,000); each series standardised",
        ),
        "official": Terms(
            "error", "as clean: the benchmark's own loader standardises each series and holds out the last 100,000"
        ),
        "shipped": Terms(
            "shipped-error-1008",
            "all 900,000 train, the test rows select; raw series; error averaged over chunks",
            also=("error",),
            selected_on="test",
        ),
    },
    load=load,
    generate=generate,
    verify=verifier(NAME, PUBLISHED, (TRAIN, TEST), FOLDERS, look),
    recognise=recogniser((TRAIN, TEST), FOLDERS),
    reference=recipe("SATELLITE").settings,
    unmapped=recipe("SATELLITE").unmapped,
    published="Satellite",
    published_protocol="official",
    published_metric="0-1 error %",
    synthetic=True,
    traps=(
        "the files are 0-dimensional arrays of objects that hold a dictionary (a pickle, read without running it)",
        "labels are 1 to 24",
        "the benchmark standardises each series, public fine-tuning code does not: figures differ by protocol",
        "public code with a validation share takes it from what is left for training: validation is then trained on",
    ),
)
