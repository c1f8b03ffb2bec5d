"""From a data set as a package ships it to a task with a fixed split and low-data variants."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from crosstune.benchmarks.contract import Check, Modality, ProtocolName, Task, TaskData, Terms, Verification
from crosstune.benchmarks.showcase.digests import DIGESTS
from crosstune.data import load_dataset, save_dataset, split
from crosstune.errors import DataError
from crosstune.records import Dataset, Split, TargetKind

SHARES = (100, 30, 10)
FRACTIONS = (0.5, 0.2, 0.3)
LEAST = 8  # rows that even the smallest variant trains on


@dataclass(frozen=True)
class Origin:
    """A data set of the suite. make: reads it from its package, or computes it (computed: its last bits then depend on
    the platform, so no checksum is known)."""

    name: str
    title: str
    summary: str
    kind: TargetKind
    modality: Modality
    metric: str
    make: Callable[[], Dataset]
    source: str
    computed: bool = False


def content_digest(data: Dataset) -> str:
    """sha256 over the values of a data set in float32 and its targets."""
    digest = hashlib.sha256()
    for values in (data.X, data.y, data.lengths):
        if values is not None:
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def carve(data: Dataset) -> Split:
    """The suite's one split of a data set."""
    return split(data, seed=0, fractions=FRACTIONS)


def thin(data: Dataset, parts: Split, share: int) -> Split:
    """The split with a share (per cent) of its training rows: every class keeps a row, the others are drawn by a fixed
    seed; validation and test stay as they are."""
    if share == 100:
        return parts
    rng = np.random.Generator(np.random.PCG64(share))
    order = rng.permutation(parts.train)
    wanted = min(len(order), max(LEAST, round(len(order) * share / 100)))
    if data.kind == "classification":
        assert data.y is not None
        labels = data.y[order]
        rank = np.zeros(len(order), dtype=np.int64)
        for code in np.unique(labels):
            rank[labels == code] = np.arange((labels == code).sum())
        first = np.argsort(rank > 0, kind="stable")  # one of each class, then as they come
        wanted = max(wanted, 2 * len(np.unique(labels)))
        order = order[first] if wanted < len(order) else order
    return replace(parts, train=np.sort(order[:wanted]), strategy=f"{parts.strategy}, {share} % of train")


def file_of(path: Path, origin: Origin) -> Path:
    """The data file, given itself or its folder."""
    return path / f"{origin.name}.npz" if path.is_dir() or not path.suffix else path


def _load(
    path: Path, protocol: ProtocolName, *, origin: Origin, share: int, limit: Mapping[str, int] | None = None,
    seed: int = 0,
) -> TaskData:  # fmt: skip
    file = file_of(path, origin)
    if not file.exists():
        raise DataError(
            f"no {file.name} in {str(path)!r}",
            cause="the data were not written yet",
            fix=f"crosstune data generate showcase/{origin.name} -o {path}",
        )
    data = load_dataset(file)
    if data.name != origin.name:
        raise DataError(f"{str(file)!r} holds {data.name!r}, not {origin.name!r}", fix="pass the right file or folder")
    parts = thin(data, carve(data), share)
    if limit:
        rows = {name: parts.rows(name)[: limit.get(name)] for name in ("train", "validation", "test")}
        parts = replace(parts, train=rows["train"], validation=rows["validation"], test=rows["test"])
    return TaskData(data, parts, notes=(f"{origin.source}; parts carved anew, not an archive's",))


def _generate(
    out: Path, *, origin: Origin, n: int | None = None, resolution: int | None = None, seed: int = 0, workers: int = 1,
    on_share: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    file = file_of(out, origin)
    data = replace(origin.make(), name=origin.name)
    save_dataset(data, file)
    if on_share is not None:
        on_share(1.0)
    return (file,)


def _recognise(path: Path, *, origin: Origin) -> bool:
    return file_of(path, origin).name == f"{origin.name}.npz" and file_of(path, origin).exists()


def _verify(path: Path, *, origin: Origin, name: str) -> Verification:
    file = file_of(path, origin)
    if not file.exists():
        return Verification(name, str(path), (), (f"{file.name}: crosstune data generate {name} -o {path}",))
    data = load_dataset(file)
    finite = bool(np.isfinite(data.X).all())
    checks = [
        Check("rows", len(data) > 0, f"{len(data)} rows of shape {tuple(data.X.shape[1:])}"),
        Check(
            "finite", finite or origin.modality == "table", "every value is finite" if finite else "some are missing"
        ),
    ]
    known = DIGESTS.get(origin.name)
    if known is not None:
        found = content_digest(data)
        checks.append(Check("digest", found == known, f"sha256 {found[:16]}, known is {known[:16]}"))
    return Verification(name, str(path), tuple(checks))


def tasks_of(origin: Origin) -> tuple[Task, ...]:
    """The task and its low-data variants."""
    made = []
    for share in SHARES:
        name = f"showcase/{origin.name}" + ("" if share == 100 else f"-{share}")
        text = "50 % train, 20 % validation, 30 % test, stratified, seed 0"
        terms = Terms(origin.metric, text + ("" if share == 100 else f"; {share} % of the training rows"))
        made.append(
            Task(
                name=name, title=origin.title + ("" if share == 100 else f" ({share} %)"), summary=origin.summary,
                kind=origin.kind, modality=origin.modality, protocols={"clean": terms},
                load=partial(_load, origin=origin, share=share), generate=partial(_generate, origin=origin),
                verify=partial(_verify, origin=origin, name=name), recognise=partial(_recognise, origin=origin),
            )
        )  # fmt: skip
    return tuple(made)
