"""The two tasks: four files each, in the folder ``drug_sep``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from crosstune.seeding import derive_seed

FEATURES = 3840
FOLDERS = ("drug_sep",)
VALIDATION = 0.1  # of the training rows, under "clean"
FEWEST = 16  # rows of a stand-in
_LATENT = 6  # properties that a drug or a cell line has in a stand-in
_NOISE = 0.3  # of a stand-in's labels, in units of their spread without it


def names(data: str) -> tuple[str, ...]:
    """File names: features and labels of training, then of the test."""
    return tuple(f"{data}_{part}_{what}.npy" for part in ("train", "test") for what in ("feat", "label"))


def _published(data: str) -> Published:
    nowhere = "not published for download; ask the authors of ORCA for the folder drug_sep"
    return Published(dict.fromkeys(names(data), nowhere), unpack={})


def open_part(data: str, folder: Path, part: str) -> tuple[Any, np.ndarray]:
    """(features (N, 1, 3840), labels (N, 1) float32) of one part. DataError for other shapes and for NaN labels."""
    feature_file, label_file = (folder / f"{data}_{part}_{what}.npy" for what in ("feat", "label"))
    for file in (feature_file, label_file):
        refuse_page(file, _published(data))
    features = load_npy(feature_file)
    labels = np.asarray(load_npy(label_file))
    if getattr(features, "ndim", 0) != 3 or features.shape[1:] != (1, FEATURES):
        raise DataError(
            f"{feature_file} has shape {getattr(features, 'shape', type(features).__name__)}, not (N, 1, {FEATURES})",
            cause="another file of this name",
        )
    if labels.dtype.kind not in "fiu" or labels.size != len(features):
        raise DataError(
            f"{label_file} holds {labels.size} values of type {labels.dtype} for {len(features)} rows of features",
            cause="files of two different sets, or a truncated one",
        )
    labels = labels.reshape(-1, 1).astype(np.float32)
    if not np.isfinite(labels).all():
        row = int(np.flatnonzero(~np.isfinite(labels[:, 0]))[0])
        raise DataError(f"{label_file}: the label of row {row} is not a number", cause="a missing measurement")
    return features, labels


@dataclass(frozen=True)
class Rows(RowReader):
    """(1, 3840) float32: the training rows, then the test rows."""

    data: str

    def open(self) -> tuple[Any, Any]:
        train, test = (open_part(self.data, Path(self.path), part)[0] for part in ("train", "test"))
        return train, test

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        train, test = self.opened()
        return len(train) + len(test), (1, FEATURES), np.dtype(np.float32)

    def files(self) -> Sequence[Path]:
        return tuple(Path(self.path) / name for name in names(self.data))

    def read(self, row: int) -> np.ndarray:
        return self.read_rows(np.array([row]))[0]

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        train, test = self.opened()
        out = np.empty((len(rows), 1, FEATURES), np.float32)
        first = rows < len(train)
        out[first] = train[rows[first]]
        out[~first] = test[rows[~first] - len(train)]
        return out


def load(
    data: str, path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0
) -> TaskData:
    """Rows under a protocol. DataError for files that are absent, damaged, or of another shape."""
    task = f"drug_response/{data}"
    folder = find(task, Path(path), names(data), _published(data), FOLDERS)
    labels = [open_part(data, folder, part)[1] for part in ("train", "test")]
    train, test = rows_between(0, len(labels[0])), rows_between(len(labels[0]), sum(map(len, labels)))
    parts, notes = {"train": train, "test": test}, []
    if protocol == "clean":
        if len(train) < 2:
            raise DataError(f"{folder}: {len(train)} training row cannot be shared with a validation part")
        order = np.random.default_rng(derive_seed(0, task, "validation")).permutation(train)
        held = max(1, round(VALIDATION * len(train)))
        parts = {"train": np.sort(order[held:]), "validation": np.sort(order[:held]), "test": test}
        notes.append("validation rows may share their drug or cell line with training rows: files do not say which")
    return assemble(
        task, folder, protocol, X=Rows(str(folder), data), y=np.concatenate(labels), kind="regression", parts=parts,
        limit=limit, seed=seed, strategy="files", notes=notes, target_names=("response",),
    )  # fmt: skip


def generate(
    data: str, out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """n: training rows (640); a quarter as many for the test.

    A row is a pair of a drug and a cell line, each with six hidden properties; features are noisy linear readings of
    them, half from either, and the label a sparse linear function of the features plus noise.
    """
    task = f"drug_response/{data}"
    out = prepare_folder(task, Path(out), resolution)
    n = 640 if n is None else n
    check_count(task, n, FEWEST)
    rng = np.random.default_rng(derive_seed(seed, task))
    counts = {"train": n, "test": max(2, n // 4)}
    rows, half = sum(counts.values()), FEATURES // 2
    features = np.empty((rows, FEATURES))
    for side, kinds in ((slice(0, half), 24), (slice(half, FEATURES), 40)):
        entities = rng.normal(size=(kinds, _LATENT)) @ rng.normal(size=(_LATENT, half)) + rng.normal(size=(kinds, half))
        features[:, side] = entities[rng.integers(0, kinds, rows)]
    weights = np.where(rng.random(FEATURES) < 0.02, rng.normal(size=FEATURES), 0.0)
    clear = features @ weights
    labels = clear / clear.std() + _NOISE * rng.normal(size=rows)
    folder = out / FOLDERS[0]
    folder.mkdir(exist_ok=True)
    paths, start = [], 0
    for part, count in counts.items():
        stop = start + count
        for what, values in (("feat", features[start:stop, None]), ("label", labels[start:stop])):
            paths.append(folder / f"{data}_{part}_{what}.npy")
            np.save(paths[-1], values.astype(np.float32))
        start = stop
    return (*paths, mark(out, task, n=n, seed=seed))


def look(data: str, report: Report, folder: Path) -> None:
    """Nothing is known of the published files' numbers of rows: shapes and values are judged."""
    for part in ("train", "test"):
        with report.reading(part):
            features, labels = open_part(data, folder, part)
            report.say(f"{part} rows", None, f"{len(features):,}; the published number is not known")
            report.values(f"{part} features", features)
            report.say(f"{part} labels", None, f"{labels.min():.4g} to {labels.max():.4g}, mean {labels.mean():.4g}")


def _task(data: str, title: str) -> Task:
    published = recipe(f"DRUG-{title}")
    return Task(
        name=f"drug_response/{data}",
        title=f"Drug response {title}",
        summary=f"response of cancer cell lines to drugs in {title} from 3,840 features of both",
        kind="regression",
        modality="series",
        protocols={
            "clean": Terms(
                metric="1-r2",
                also=("rmse", "mae"),
                text="train and test as in the files, a tenth of the training rows drawn once validates; R2 over all "
                "test rows",
            ),
            "shipped": Terms(
                metric="shipped-1-r2-1008",
                also=("1-r2",),
                text="train and test as in the files; the test rows select; 1 - R2 averaged over chunks of 1,008 rows",
                selected_on="test",
            ),
        },
        load=partial(load, data),
        generate=partial(generate, data),
        verify=verifier(f"drug_response/{data}", _published(data), names(data), FOLDERS, partial(look, data)),
        recognise=recogniser(names(data), FOLDERS),
        reference=published.settings,
        unmapped=published.unmapped,
        published=None,
        synthetic=True,
        traps=(
            "the composition of the 3,840 features is not documented: drugs and cell lines cannot be told apart",
            "as shipped, the label's last axis is squeezed twice, which fails for single labels in current PyTorch",
            "validation is the test set in the shipped protocol",
        ),
    )


TASK = (_task("ctrp", "CTRP"), _task("gdsc", "GDSC"))
