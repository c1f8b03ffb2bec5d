"""NinaPro DB5: hand gestures from 16 channels of surface electromyography, windows of 52 samples at 200 Hz."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
    mark,
    prepare_folder,
    refuse_page,
    rows_between,
)
from crosstune.benchmarks.recipes import recipe
from crosstune.data.lazy import RowReader
from crosstune.data.numpy_files import load_npy
from crosstune.errors import DataError

NAME = "nas_bench_360/ninapro"
PARTS = ("train", "val", "test")
FILES = tuple(f"{kind}_{part}.npy" for part in PARTS for kind in ("ninapro", "label"))
FOLDERS = ("ninaPro", "ninapro")  # the official spelling first
SAMPLES, CHANNELS, CLASSES = 52, 16, 18
OFFICIAL = {"train": 2638, "val": 659, "test": 659}
_DRIVE = {
    "ninapro_train.npy": "1zcrpm9gPwKk_neZNJ6TygAq8Udmuc4LD",
    "label_train.npy": "1xYd5EqUwxp0wBoIXfFSS6FjjdhVD1z-k",
    "ninapro_val.npy": "1UYMJBh1T8ioLamefI-15QtHrx5yyyDtj",
    "label_val.npy": "1pCRBQjgkx2yyf8K0ReOYmcY1l3BlJgci",
    "ninapro_test.npy": "1rtZvlLnGvK9XSujVyH-faixpvMHLEiSV",
    "label_test.npy": "1-PcyUoOmcFBUexSILpZYndiEioldzxMR",
}
PUBLISHED = Published({name: f"https://drive.google.com/uc?id={key}" for name, key in _DRIVE.items()}, unpack={})


def open_part(folder: Path, part: str) -> tuple[Any, np.ndarray]:
    """(windows (N, 52, 16) = (time, channel) as stored, labels (N,) int64) of "train", "val" or "test". Many windows
    stay in the file."""
    files = folder / f"ninapro_{part}.npy", folder / f"label_{part}.npy"
    for file in files:
        refuse_page(file, PUBLISHED)
    windows, labels = load_npy(files[0]), np.asarray(load_npy(files[1])).reshape(-1)
    if windows.ndim != 3 or windows.shape[1:] != (SAMPLES, CHANNELS):
        raise DataError(
            f"{files[0]} has shape {windows.shape}; expected (N, {SAMPLES}, {CHANNELS}) = (window, time, channel)",
            cause="a transposed copy" if windows.shape[1:] == (CHANNELS, SAMPLES) else "another file of this name",
        )
    if len(windows) != len(labels):
        raise DataError(f"{folder}: {len(windows)} windows and {len(labels)} labels in part {part!r}")
    if labels.min() < 0 or labels.max() >= CLASSES or not (labels == np.round(labels)).all():
        raise DataError(
            f"{files[1]}: labels {labels.min()} to {labels.max()}; the official ones are 0 to {CLASSES - 1}"
        )
    return windows, labels.astype(np.int64)


@dataclass(frozen=True)
class Windows(RowReader):
    """(1, 16, 52) float32: (time, channel) becomes an image of channels by time; training, validation, test."""

    def open(self) -> tuple[list[Any], np.ndarray]:
        held = [open_part(Path(self.path), part)[0] for part in PARTS]
        return held, np.cumsum([0, *map(len, held)])

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        return int(self.opened()[1][-1]), (1, CHANNELS, SAMPLES), np.dtype(np.float32)

    def files(self) -> Sequence[Path]:
        return [Path(self.path) / name for name in FILES]

    def read(self, row: int) -> np.ndarray:
        return self.read_rows(np.array([row]))[0]

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        held, ends = self.opened()
        out = np.empty((len(rows), 1, CHANNELS, SAMPLES), np.float32)
        for part, (start, stop) in zip(held, pairwise(ends)):
            mine = np.flatnonzero((rows >= start) & (rows < stop))
            if len(mine):
                out[mine, 0] = np.asarray(part[rows[mine] - start]).transpose(0, 2, 1)
        return out


def load(path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    TASK.terms(protocol)
    folder = find(NAME, path, FILES, PUBLISHED, FOLDERS)
    labels = [open_part(folder, part)[1] for part in PARTS]
    ends = np.cumsum([0, *map(len, labels)])
    train, validation, test = (rows_between(int(a), int(b)) for a, b in pairwise(ends))
    parts = {"train": train, "validation": validation, "test": test}
    if protocol == "shipped":
        parts = {"train": rows_between(0, int(ends[2])), "test": test}
    return assemble(
        NAME, folder, protocol, X=Windows(str(folder)), y=np.concatenate(labels), kind="classification", parts=parts,
        limit=limit, seed=seed, strategy="files", classes=[str(k) for k in range(CLASSES)],
        notes=("windows overlap and carry no recording number: neighbours of a test window may lie in training",),
    )  # fmt: skip


def generate(
    out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: training windows (720); a quarter as many for validation and for test. Rectified noise whose strength per
    channel, and how it rises and falls, belong to the gesture; class 0, rest, is weak everywhere and makes 60 %."""
    folder = prepare_folder(NAME, Path(out), resolution) / FOLDERS[0]
    folder.mkdir(exist_ok=True)
    n = 720 if n is None else n
    check_count(NAME, n, 4 * 5 * CLASSES)
    rng = np.random.default_rng([seed, 360, 3])
    strength = rng.gamma(1.5, 6.0, (CLASSES, CHANNELS))
    strength[0] = 0.7
    peak = rng.uniform(0, SAMPLES, CLASSES)
    paths = []
    for part, count in (("train", n), ("val", n // 4), ("test", n // 4)):
        gestures = np.arange(count - round(0.6 * count)) % (CLASSES - 1) + 1
        labels = rng.permutation(np.concatenate([np.zeros(round(0.6 * count), np.int64), gestures]))
        envelope = 1 + 0.5 * np.cos(2 * np.pi * (np.arange(SAMPLES) - peak[labels, None]) / SAMPLES)
        effort = rng.lognormal(0, 0.25, (count, 1, 1))
        scale = effort * envelope[:, :, None] * strength[labels][:, None]
        windows = np.abs(rng.normal(size=(count, SAMPLES, CHANNELS)) * scale)
        for name, values in ((f"ninapro_{part}.npy", windows), (f"label_{part}.npy", labels.astype(np.int64))):
            np.save(folder / name, values)
            paths.append(folder / name)
    return (*paths, mark(Path(out), NAME, n=n, seed=seed))


def look(report: Report, folder: Path) -> None:
    for part in PARTS:
        with report.reading(part):
            windows, labels = open_part(folder, part)
            report.count(f"{part} windows", len(windows), OFFICIAL[part])
            report.dtype(part, windows.dtype, None)
            report.values(part, windows)
            report.labels(part, labels, 0, CLASSES - 1)


TASK = Task(
    name=NAME,
    title="NinaPro DB5",
    summary="hand gestures from 16 channels of muscle signal, as 16 x 52 images; 18 classes, rest dominates",
    kind="classification",
    modality="grid",
    protocols={
        "clean": Terms("error", "the files' own parts: 2,638 / 659 / 659", also=("macro-f1",)),
        "official": Terms("error", "the files' own parts: 2,638 / 659 / 659"),
        "shipped": Terms(
            "shipped-error-1008",
            "training and validation files train (3,297), the test rows select",
            also=("error",),
            selected_on="test",
        ),
    },
    load=load,
    generate=generate,
    verify=verifier(NAME, PUBLISHED, FILES, FOLDERS, look),
    recognise=recogniser(FILES, FOLDERS),
    reference=recipe("NINAPRO").settings,
    unmapped=recipe("NINAPRO").unmapped,
    published="NinaPro",
    published_protocol="official",
    published_metric="0-1 error %",
    synthetic=True,
    traps=(
        "files hold (time, channel); an image that was not transposed is 52 x 16 and looks as plausible",
        "class 0, rest, dominates: look at macro-F1 beside the error",
        "windows overlap (52 samples every 5) and the files do not say which recording they come from",
        "the focal loss of public code has gamma 0: it is cross-entropy",
    ),
)
