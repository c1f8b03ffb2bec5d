"""What the tasks of this suite share: from files, parts and a protocol to the rows that take part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from crosstune.benchmarks.contract import ProtocolName, TaskData
from crosstune.data.lazy import LazyRows, RowReader, forget
from crosstune.errors import DataError, UsageError
from crosstune.records import Dataset, Split, TargetKind

SUITE = "nas_bench_360"
MARKER = "crosstune-stand-in.json"
EAGER_BYTES = 1 << 28  # rows stay in their files above this
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Published:
    """Where the official files of a task are. files: name -> address; unpack: how an archive becomes the files."""

    files: Mapping[str, str]
    unpack: Mapping[str, str]

    def where(self, name: str) -> str:
        return f"{name}: {self.files.get(name, ', '.join(self.files.values()))}"


def rows_between(start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop, dtype=np.int64)


def last_share(count: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """All but the last ``share`` of ``count`` rows, and those: a validation part by file order. At least one each."""
    held = min(max(1, round(count * share)), count - 1)
    return rows_between(0, count - held), rows_between(count - held, count)


def assemble(
    task: str, path: Path, protocol: ProtocolName, *, X: RowReader | np.ndarray, y: RowReader | np.ndarray,
    kind: TargetKind, parts: Mapping[str, np.ndarray], limit: Mapping[str, int] | None, seed: int, strategy: str,
    notes: Sequence[str] = (), classes: Sequence[str] | None = None, target_names: Sequence[str] | None = None,
    units: np.ndarray | None = None, groups: np.ndarray | None = None, options: Mapping[str, Any] | None = None,
    stay_in_files: bool = False,
) -> TaskData:  # fmt: skip
    """The rows that take part under the protocol, in the order of the files.

    parts: row numbers into X and y; without "validation" it is the test part, as public code has it. limit: the first
    so many rows of a part. units: (N,) int64 over all rows. groups: what no split may tear, the units unless given;
    left out where a protocol shares rows between parts. options: what else was chosen, for the record. stay_in_files:
    rows are read whenever they are asked for, however few they are. DataError for a part without rows.
    """
    shared = "validation" not in parts
    chosen = {name: np.asarray(parts["test" if shared and name == "validation" else name]) for name in PARTS}
    for name in PARTS:
        most = (limit or {}).get("test" if shared and name == "validation" else name)
        chosen[name] = chosen[name] if most is None else chosen[name][:most]
        if not len(chosen[name]):
            raise DataError(
                f"{task} has no {name} rows in {path}", cause="too few samples in the files, or a limit of 0",
                fix="give more samples",
            )  # fmt: skip
    rows = np.unique(np.concatenate(list(chosen.values())))
    repeated = len(chosen["train"]) + len(chosen["test"]) + (0 if shared else len(chosen["validation"])) > len(rows)
    together = units if groups is None else groups
    said = (*made_here(path), *notes)
    dataset = Dataset(
        X=_picked(X, rows, 0 if stay_in_files else EAGER_BYTES),
        y=_picked(y, rows, EAGER_BYTES),
        kind=kind,
        classes=None if classes is None else tuple(classes),
        target_names=None if target_names is None else tuple(target_names),
        units=None if units is None else units[rows],
        groups=None if shared or repeated or together is None else together[rows],
        name=task,
        source={
            "path": str(path),
            "format": f"files of {task}",
            "task": {
                "task": task,
                "path": str(path),
                "protocol": protocol,
                "limit": dict(limit or {}),
                "seed": seed,
                "options": dict(options or {}),
            },
        },
    )
    places = {name: np.searchsorted(rows, wanted) for name, wanted in chosen.items()}
    split = Split(places["train"], places["validation"], places["test"], strategy, seed)
    return TaskData(dataset, split, notes=said)


def _picked(values: RowReader | np.ndarray, rows: np.ndarray, eager_bytes: int) -> np.ndarray:
    if isinstance(values, RowReader):
        lazy = LazyRows(values, rows)
        return np.asarray(lazy) if lazy.nbytes <= eager_bytes else cast(np.ndarray, lazy)
    return values[rows]


# -- places -----------------------------------------------------------------------------------------------------------


def find(task: str, path: Path, names: Sequence[str], published: Published, folders: Sequence[str] = ()) -> Path:
    """The folder that holds ``names``: the path itself, a folder in it called like one of ``folders``, or the folder of
    a file that was named. DataError listing what is not there and where it is published."""
    path = Path(path).expanduser()
    looked = [path.parent] if path.is_file() else [path, *(path / folder for folder in folders)]
    for folder in looked:
        if all((folder / name).exists() for name in names):
            forget(folder)
            return folder
    best = max(looked, key=lambda folder: sum((folder / name).exists() for name in names))
    lacking = [name for name in names if not (best / name).exists()]
    raise DataError(
        f"{task}: {best} does not hold {', '.join(lacking)}",
        cause=_packed(looked, published) or "another folder, other names, or files that are not there yet",
        fix="; ".join(dict.fromkeys(published.where(name) for name in lacking))
        + f"; or make a stand-in: crosstune data generate {task} --out {path}",
    )


def _packed(folders: Sequence[Path], published: Published) -> str | None:
    for folder in folders:
        for archive, command in published.unpack.items():
            if (folder / archive).exists():
                return f"{archive} is there, but not unpacked: {command}"
    return None


def web_page(file: Path) -> str | None:
    """What to say of a file that is a saved web page or a pointer to a file; None for others."""
    with open(file, "rb") as opened:
        head = opened.read(512)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return f"{file} is a web page, not data (it begins {head.strip()[:24].decode('utf-8', 'replace')!r})"
    if head.startswith(b"version https://git-lfs"):
        return f"{file} is a Git LFS pointer, not data"
    if not head:
        return f"{file} is empty"
    return None


def refuse_page(file: Path, published: Published) -> None:
    """DataError for a page that was saved in place of the data, as drives do for large files."""
    said = web_page(file)
    if said is not None:
        raise DataError(
            said,
            cause="the address answers with a confirmation or sign-in page first",
            fix=f"open it in a browser and download the file itself; {published.where(file.name)}",
        )


# -- stand-ins --------------------------------------------------------------------------------------------------------


def mark(folder: Path, task: str, *, synthetic: bool = True, **made: Any) -> Path:
    """A file that says that what lies beside it was made here, and whether it is synthetic or solved."""
    path = folder / MARKER
    text = {"task": task, "synthetic": synthetic, "made_by": "crosstune data generate", **made}
    path.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return path


def made_here(path: Path) -> tuple[str, ...]:
    """What to say of files that ``generate`` made; nothing of others."""
    folder = path if path.is_dir() else path.parent
    for place in (folder / MARKER, folder.parent / MARKER):
        if place.exists():
            try:
                solved = json.loads(place.read_text(encoding="utf-8"))["synthetic"] is False
            except (ValueError, KeyError, TypeError):
                solved = False
            if solved:
                return ("the equation solved by crosstune in the official layout, not the published file",)
            return ("synthetic stand-in made by crosstune in the official layout, not measurements",)
    return ()


def prepare_folder(task: str, out: Path, resolution: int | None) -> Path:
    """The folder to write to. UsageError for a resolution that the layout does not have, or a file in its place."""
    if resolution is not None:
        raise UsageError(f"{task} has one layout and takes no resolution", fix="leave --resolution out")
    if out.is_file():
        raise UsageError(f"{out} is a file", fix="name a folder with --out; files get names of their own in it")
    out.mkdir(parents=True, exist_ok=True)
    return out


def check_count(task: str, n: int, fewest: int) -> None:
    if n < fewest:
        raise UsageError(
            f"{task} needs at least {fewest} samples to hold every class, got {n}", fix=f"use --n {fewest}"
        )
