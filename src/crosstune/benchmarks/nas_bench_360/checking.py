"""Verification shared by the tasks: findings collected while files are looked at, so that one fault hides no other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.benchmarks.contract import Check, Verification
from crosstune.benchmarks.nas_bench_360.common import Published, made_here, web_page
from crosstune.data.lazy import spaced_rows
from crosstune.errors import DataError

LOOKED_AT = 64  # rows whose values are read, spread over the file


@dataclass
class Report:
    """Findings about one folder."""

    task: str
    path: Path
    published: Published
    checks: list[Check] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def say(self, name: str, ok: bool | None, text: str) -> None:
        self.checks.append(Check(name, None if ok is None else bool(ok), text))

    def files(self, folder: Path, names: Sequence[str]) -> bool:
        """Whether all are there, are not empty, and are data rather than a saved page."""
        good = True
        for name in names:
            if not (folder / name).exists():
                self.missing.append(self.published.where(name))
                good = False
            elif (folder / name).is_file():
                said = web_page(folder / name)
                if said is not None:
                    self.say(name, False, said)
                    good = False
        return good

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """What goes wrong inside becomes a finding."""
        try:
            yield
        except (DataError, OSError) as error:
            self.say(name, False, str(error))

    def count(self, name: str, found: int, official: int) -> None:
        """A count that differs from the official one is a subset or a stand-in: said, not judged."""
        said = f"{found:,}"
        self.say(
            name, True if found == official else None, said if found == official else f"{said}; official {official:,}"
        )

    def shape(self, name: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
        same = tuple(found) == tuple(wanted)
        self.say(f"{name} shape", same, f"{tuple(found)} per sample" + ("" if same else f"; official {tuple(wanted)}"))
        return same

    def dtype(self, name: str, found: Any, wanted: str | None) -> None:
        right = None if wanted is None else np.dtype(found) == np.dtype(wanted)
        self.say(f"{name} dtype", right, f"{np.dtype(found)}" + ("" if right is not False else f"; official {wanted}"))

    def values(self, name: str, values: Any, low: float | None = None, high: float | None = None) -> None:
        """Finite values within bounds, in up to 64 rows spread over the file."""
        rows = spaced_rows(values, most=0, fewest=LOOKED_AT)
        seen = np.asarray(values[rows], np.float64)
        if not np.isfinite(seen).all():
            self.say(f"{name} values", False, f"{int((~np.isfinite(seen)).sum())} values are NaN or infinite")
            return
        inside = (low is None or seen.min() >= low) and (high is None or seen.max() <= high)
        bounds = "" if inside else f"; expected {'-inf' if low is None else low} to {'inf' if high is None else high}"
        self.say(f"{name} values", inside, f"{seen.min():.6g} to {seen.max():.6g} in {len(rows)} rows{bounds}")

    def labels(self, name: str, labels: np.ndarray, low: int, high: int) -> None:
        """Integers in low..high, and whether every class occurs."""
        labels = np.asarray(labels)
        if labels.dtype.kind not in "iu" and not (labels == np.round(labels)).all():
            self.say(f"{name} labels", False, f"{labels.dtype} values that are not whole numbers")
            return
        least, most = int(labels.min()), int(labels.max())
        if least < low or most > high:
            self.say(f"{name} labels", False, f"{least} to {most}; official {low} to {high}")
            return
        lacking = sorted(set(range(low, high + 1)) - {int(v) for v in np.unique(labels)})
        text = f"{high - low + 1 - len(lacking)} of {high - low + 1} classes"
        self.say(
            f"{name} labels", not lacking, text + (f"; none of {', '.join(map(str, lacking[:8]))}" if lacking else "")
        )

    def same_rows(self, name: str, *counts: int) -> bool:
        same = len(set(counts)) == 1
        self.say(f"{name} rows", same, f"{counts[0]:,}" if same else f"inputs and labels disagree: {counts}")
        return same

    def checksums(self, folder: Path, published: Mapping[str, str], complete: bool) -> None:
        """MD5 of files that have one. complete: whether the counts are official, so that a difference is a fault."""
        for name, wanted in published.items():
            with open(folder / name, "rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
            if found == wanted:
                self.say(f"{name} md5", True, found)
            else:
                text = f"{found}; published {wanted}"
                self.say(f"{name} md5", False if complete else None, text if complete else f"{text} (another size)")

    def done(self) -> Verification:
        self.checks[:0] = [Check("origin", None, said) for said in made_here(self.path)]
        return Verification(self.task, str(self.path), tuple(self.checks), tuple(self.missing))


def verifier(
    task: str, published: Published, names: Sequence[str], folders: Sequence[str], look: Callable[[Report, Path], None]
) -> Callable[[Path], Verification]:
    """``verify`` of a task: finds its folder, lists what is missing, and has ``look`` judge the rest."""

    def verify(path: Path) -> Verification:
        path = Path(path).expanduser()
        report = Report(task, path, published)
        folder = best_folder(path, names, folders)
        for archive, command in published.unpack.items():
            if (folder / archive).exists() and not all((folder / name).exists() for name in names):
                report.say(archive, False, f"is there, but not unpacked: {command}")
        if report.files(folder, names):
            with report.reading("readable"):
                look(report, folder)
        return report.done()

    return verify


def best_folder(path: Path, names: Sequence[str], folders: Sequence[str]) -> Path:
    """Where most of the files are: the path, a folder in it, or the folder of the file that was named."""
    looked = [path.parent] if path.is_file() else [path, *(path / folder for folder in folders)]
    return max(looked, key=lambda folder: sum((folder / name).exists() for name in names))


def recogniser(names: Sequence[str], folders: Sequence[str]) -> Callable[[Path], bool]:
    """``recognise`` of a task: whether any file of an official name is there. Never raises."""

    def recognise(path: Path) -> bool:
        path = Path(path).expanduser()
        if path.is_file():
            return path.name in names
        folder = best_folder(path, names, folders)
        return any((folder / name).exists() for name in names)

    return recognise
