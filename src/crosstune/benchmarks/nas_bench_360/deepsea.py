"""DeepSEA (Zhou and Troyanskaya, 2015): which of 36 chromatin features a stretch of 1,000 bases of DNA has."""

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
from crosstune.data.numpy_files import npz_array
from crosstune.errors import DataError

NAME = "nas_bench_360/deepsea"
FILE = "deepsea_filtered.npz"
FOLDERS = ("deepsea",)
LENGTH, LETTERS, LABELS = 1000, 4, 36
PARTS = ("train", "val", "test")
OFFICIAL = {"train": 71_753, "val": 2_490, "test": 149_400}
PUBLISHED = Published({FILE: f"https://pde-xd.s3.amazonaws.com/deepsea/{FILE}"}, unpack={})


def open_part(file: Path, part: str) -> tuple[Any, np.ndarray]:
    """(sequences (N, 1000, 4) one-hot, channel last, in the file; labels (N, 36) of 0 and 1)."""
    refuse_page(file, PUBLISHED)
    x, y = npz_array(file, f"x_{part}"), np.asarray(npz_array(file, f"y_{part}"))
    if x.ndim != 3 or x.shape[1:] != (LENGTH, LETTERS):
        raise DataError(
            f"{file}: x_{part} has shape {x.shape}; expected (N, {LENGTH}, {LETTERS}) = (sequence, base, letter)",
            cause="a transposed copy" if x.shape[1:] == (LETTERS, LENGTH) else "another file of this name",
        )
    if y.shape != (len(x), LABELS):
        raise DataError(f"{file}: y_{part} has shape {y.shape} for {len(x)} sequences; expected (N, {LABELS})")
    if len(y) and not set(np.unique(y).tolist()) <= {0, 1}:
        raise DataError(f"{file}: y_{part} holds values other than 0 and 1")
    return x, y


@dataclass(frozen=True)
class Sequences(RowReader):
    """(4, 1000) float32, one-hot, channel first; training, validation, test."""

    def open(self) -> tuple[list[Any], np.ndarray]:
        held = [open_part(Path(self.path) / FILE, part)[0] for part in PARTS]
        return held, np.cumsum([0, *map(len, held)])

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        return int(self.opened()[1][-1]), (LETTERS, LENGTH), np.dtype(np.float32)

    def files(self) -> Sequence[Path]:
        return (Path(self.path) / FILE,)

    def read(self, row: int) -> np.ndarray:
        return self.read_rows(np.array([row]))[0]

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        held, ends = self.opened()
        out = np.empty((len(rows), LETTERS, LENGTH), np.float32)
        for part, (start, stop) in zip(held, pairwise(ends)):
            mine = np.flatnonzero((rows >= start) & (rows < stop))
            if len(mine):
                out[mine] = np.asarray(part[rows[mine] - start]).transpose(0, 2, 1)
        return out


def load(path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    TASK.terms(protocol)
    folder = find(NAME, path, (FILE,), PUBLISHED, FOLDERS)
    labels = [open_part(folder / FILE, part)[1] for part in PARTS]
    ends = np.cumsum([0, *map(len, labels)])
    train, validation, test = (rows_between(int(a), int(b)) for a, b in pairwise(ends))
    parts = {"train": train, "validation": validation, "test": test}
    notes = []
    if protocol == "shipped":
        shuffled = np.random.default_rng([seed, 919]).permutation(test)
        parts = {"train": rows_between(0, int(ends[2])), "test": shuffled}
        notes.append("test rows are shuffled, since the public figure is averaged over shuffled chunks")
    idle = np.flatnonzero(~labels[2].any(axis=0) | labels[2].all(axis=0))
    if len(idle):
        notes.append(f"labels {', '.join(map(str, idle[:8]))} are the same in all test rows and cannot be scored")
    return assemble(
        NAME, folder, protocol, X=Sequences(str(folder)), y=np.concatenate(labels).astype(np.float32),
        kind="multilabel", parts=parts, limit=limit, seed=seed, strategy="files",
        target_names=[f"feature {k}" for k in range(LABELS)], notes=notes,
    )  # fmt: skip


def generate(
    out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: training sequences (1,200); a quarter as many for validation, half as many for the test. A label is there
    where its motif of ten bases was planted near the middle; the last label has no positive test row."""
    out = prepare_folder(NAME, Path(out), resolution)
    n = 1200 if n is None else n
    check_count(NAME, n, 40)
    rng = np.random.default_rng([seed, 360, 10])
    motifs = rng.integers(0, LETTERS, (LABELS, 10))
    rate = rng.uniform(0.05, 0.25, LABELS)
    held: dict[str, Any] = {}
    for part, count in (("train", n), ("val", max(10, n // 4)), ("test", max(20, n // 2))):
        y = (rng.random((count, LABELS)) < rate).astype(np.uint8)
        y[np.arange(4)[:, None], np.arange(LABELS)] = np.array([1, 1, 0, 0], np.uint8)[:, None]  # both values, always
        if part == "test":
            y[:, -1] = 0
        bases = rng.integers(0, LETTERS, (count, LENGTH))
        for row, label in zip(*np.nonzero(y)):
            for at in rng.integers(400, 590, 2):
                copied = np.where(rng.random(10) < 0.95, motifs[label], rng.integers(0, LETTERS, 10))
                bases[row, at : at + 10] = copied
        held[f"x_{part}"] = np.eye(LETTERS, dtype=np.uint8)[bases]
        held[f"y_{part}"] = y
    np.savez(out / FILE, **held)
    return out / FILE, mark(out, NAME, n=n, seed=seed)


def look(report: Report, folder: Path) -> None:
    for part in PARTS:
        with report.reading(part):
            x, y = open_part(folder / FILE, part)
            report.count(f"{part} sequences", len(x), OFFICIAL[part])
            rows = np.unique(np.linspace(0, len(x) - 1, 64).astype(int))
            bases = np.asarray(x[rows]).astype(np.int64)
            # an unknown base is a column of zeros
            proper = bool(np.isin(bases, (0, 1)).all() and (bases.sum(axis=2) <= 1).all())
            known = float(bases.sum(axis=2).mean())
            report.say(f"{part} one-hot", proper and known > 0.5, f"{known:.1%} of the bases looked at are known")
            positive = y.mean(axis=0)
            idle = int(((positive == 0) | (positive == 1)).sum())
            said = f"{positive.min():.2%} to {positive.max():.2%} positive"
            report.say(
                f"{part} labels", None if idle else True, said + (f"; {idle} the same in all rows" if idle else "")
            )


TASK = Task(
    name=NAME,
    title="DeepSEA",
    summary="chromatin features of 1,000 bases of DNA; 36 labels at once",
    kind="multilabel",
    modality="series",
    protocols={
        "clean": Terms(
            "1-auroc-multilabel", "the file's own parts: 71,753 / 2,490 / 149,400; labels scored over all test rows",
            also=("1-map",),
        ),
        "official": Terms("1-auroc-multilabel", "the file's own parts; the last training uses the training part alone"),
        "shipped": Terms(
            "shipped-1-auroc-multilabel-1008", "training and validation parts train (74,243), the test rows select; "
            "AUROC averaged over chunks of 1,008 shuffled rows; positive labels weigh 4 in the loss",
            also=("1-auroc-multilabel",), selected_on="test", settings={"fit.pos_weight": 4.0},
        ),
    },
    load=load,
    generate=generate,
    verify=verifier(NAME, PUBLISHED, (FILE,), FOLDERS, look),
    recognise=recogniser((FILE,), FOLDERS),
    reference=recipe("DEEPSEA").settings,
    unmapped=recipe("DEEPSEA").unmapped,
    published="DeepSEA",
    published_protocol="official",
    published_metric="1-AUROC",
    synthetic=True,
    traps=(
        "sequences are stored channel last, (base, letter)",
        "labels are rare; public code weighs positives by 4, the benchmark does not",
        "AUROC averaged over chunks of shuffled rows depends on the shuffle; over all rows it does not",
        "an AUROC is undefined for a label with one value only",
    ),
)  # fmt: skip
