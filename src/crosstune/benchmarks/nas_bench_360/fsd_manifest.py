"""The lists of FSD50K chunks: which files make a clip, and what is heard in it."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crosstune.errors import DataError

PARTS = {"train": "tr.csv", "validation": "val.csv", "test": "eval.csv"}
LABELS = "lbl_map.json"
CLASSES = 200
PREFIX = 4  # characters of the first folder in a list, which stands for where the data lie


@dataclass(frozen=True)
class Manifest:
    """One list, clip by clip. files: (chunks,) bytes, below the folder of the data, chunks of a clip together and in
    order. clips: their ids. first: (clips + 1,) number of each clip's first chunk. labels: (clips, 200) uint8."""

    files: np.ndarray
    clips: np.ndarray
    first: np.ndarray
    labels: np.ndarray


def read_labels(folder: Path) -> tuple[str, ...]:
    """The 200 classes in the order of their numbers."""
    file = folder / "chunks" / LABELS
    try:
        numbers = json.loads(file.read_text(encoding="utf-8"))
        names = sorted(numbers, key=lambda name: int(numbers[name]))
        right = [int(numbers[name]) for name in names] == list(range(CLASSES))
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is not a map of class names ({error})", cause="a damaged file") from None
    if not right:
        raise DataError(f"{file} does not number {CLASSES} classes from 0; it has {len(names)}")
    return tuple(names)


def read_manifest(folder: Path, part: str, classes: tuple[str, ...]) -> Manifest:
    """A list with the columns files, labels (names joined by commas, in quotes) and ext (the clip)."""
    file, number = folder / "chunks" / PARTS[part], {name: k for k, name in enumerate(classes)}
    chunks: dict[str, list[bytes]] = {}
    heard: dict[str, str] = {}
    with open(file, newline="", encoding="utf-8", errors="replace") as opened:
        rows = csv.DictReader(opened)
        if not {"files", "labels", "ext"} <= set(rows.fieldnames or ()):
            raise DataError(
                f"{file} has columns {', '.join(rows.fieldnames or ()) or 'none'}; expected files, labels, ext"
            )
        for line, row in enumerate(rows, start=2):
            clip = row["ext"]
            if not row["files"] or not clip or row["labels"] is None:
                raise DataError(f"{file}, line {line}, is incomplete", cause="a file that was cut off")
            chunks.setdefault(clip, []).append(row["files"][PREFIX:].lstrip("/").encode())
            if heard.setdefault(clip, row["labels"]) != row["labels"]:
                raise DataError(
                    f"{file}, line {line}: clip {clip} has other labels than before", cause="a damaged file"
                )
    labels = np.zeros((len(heard), CLASSES), np.uint8)
    for place, (clip, names) in enumerate(heard.items()):
        for name in names.split(","):
            if name.strip() not in number:
                raise DataError(f"{file}: clip {clip} has the label {name!r}, which {LABELS} does not know")
            labels[place, number[name.strip()]] = 1
    ordered = [sorted(files) for files in chunks.values()]
    first = np.cumsum([0, *map(len, ordered)])
    flat = np.array([name for files in ordered for name in files], dtype=bytes)
    return Manifest(flat, np.array(list(heard)), first.astype(np.int64), labels)


def spaced_chunks(manifest: Manifest, most: int) -> np.ndarray:
    """Numbers of at most so many chunks of every clip, evenly spaced, first and last included."""
    picked = []
    for start, stop in zip(manifest.first[:-1], manifest.first[1:]):
        count = min(most, stop - start)
        picked.append(start + np.round(np.linspace(0, stop - start - 1, count)).astype(np.int64))
    return np.concatenate(picked)


def clip_of_chunks(manifest: Manifest) -> np.ndarray:
    """(chunks,) which clip each chunk belongs to."""
    return np.repeat(np.arange(len(manifest.clips)), np.diff(manifest.first))
