"""PSICOV: distances between the residues of a protein from what is known of its sequence (PDNET; Adhikari, 2020).

A row is a protein on a square canvas. Outside of the protein the target is NaN, which no loss and no metric counts, so
that every protein carries its own length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from crosstune.benchmarks.contract import ProtocolName, Task, TaskData, Terms
from crosstune.benchmarks.nas_bench_360.checking import Report, recogniser, verifier
from crosstune.benchmarks.nas_bench_360.common import Published, assemble, find, refuse_page, rows_between
from crosstune.benchmarks.nas_bench_360.psicov_stand_in import generate
from crosstune.benchmarks.recipes import recipe
from crosstune.data.lazy import RowReader
from crosstune.data.numpy_files import load_npy
from crosstune.data.restricted_pickle import load_pickle
from crosstune.errors import DataError

NAME = "nas_bench_360/psicov"
TRAIN, TEST = "deepcov.lst", "psicov.lst"
FOLDERS = ("protein",)
PLANES = 57
BORDER = 5  # residues of padding on each side
LARGEST_CANVAS, CANVAS_STEP = 512, 64
CLIP = 16.0  # Angstrom, in training targets
FARTHEST = 500.0
SEPARATION, CONTACT = 24, 8.0
OFFICIAL = {TRAIN: 3456, TEST: 150}
OFFICIAL_VALIDATION = 100
PUBLISHED = Published(
    dict.fromkeys((TRAIN, TEST), "https://drive.google.com/uc?id=1nBs6qJJPK8qNzsmFo3waPsGzHFHplLMo (protein.zip)"),
    unpack={"protein.zip": "unzip protein.zip"},
)
_MAPS = ("ccmpred", "freecon", "potential")


@dataclass(frozen=True)
class Protein:
    """features: as in the file. distances: (L, L) Angstrom, cleaned."""

    name: str
    length: int
    features: dict[str, np.ndarray]
    distances: np.ndarray


def read_list(file: Path) -> list[str]:
    """The first word of every line."""
    refuse_page(file, PUBLISHED)
    names = [
        line.split()[0] for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    ]
    odd = [name for name in names if not name.replace("_", "").replace("-", "").isalnum()]
    if odd or not names:
        raise DataError(
            f"{file} is not a list of protein names" + (f": {odd[0]!r}" if odd else ""), cause="a damaged file"
        )
    return names


def paths_of(folder: Path, part: str, name: str) -> tuple[Path, Path]:
    """(features, distances) of a protein of a list."""
    place = folder / Path(part).stem
    return place / "features" / f"{name}.pkl", place / "distance" / f"{name}-cb.npy"


def open_distances(file: Path) -> tuple[int, Any]:
    """(length, distance map (L, L), which may stay in the file): an array of three objects."""
    _refuse_absent(file)
    held = load_npy(file, large=1 << 12)
    if not isinstance(held, np.ndarray) or held.dtype != object or len(held) != 3:
        raise DataError(f"{file} does not hold length, sequence and distances", cause="another file of this name")
    length, distances = int(held[0]), held[2]
    if tuple(getattr(distances, "shape", ())) != (length, length) or length < 2:
        raise DataError(f"{file}: a protein of {length} residues with distances {getattr(distances, 'shape', '?')}")
    return length, distances


def open_features(file: Path, length: int) -> dict[str, np.ndarray]:
    """ss (3, L), pssm (L, 22), sa and entropy (L,), ccmpred, freecon and potential (L, L)."""
    _refuse_absent(file)
    held = load_pickle(file)
    held = {k.decode() if isinstance(k, bytes) else k: v for k, v in held.items()} if isinstance(held, dict) else {}
    shapes = {"ss": (3, length), "pssm": (length, 22), "sa": (length,), "entropy": (length,)}
    shapes |= dict.fromkeys(_MAPS, (length, length))
    found = {}
    for name, shape in shapes.items():
        if name not in held:
            raise DataError(f"{file} lacks {name!r}; it has {', '.join(map(str, held)) or 'no dictionary'}")
        values = np.asarray(held[name], np.float32)
        if values.shape != shape:
            raise DataError(f"{file}: {name} has shape {values.shape}, expected {shape} for {length} residues")
        if not (np.abs(values) < 100).all():
            raise DataError(f"{file}: {name} holds values outside of (-100, 100)", cause="a damaged file")
        found[name] = values
    return found


def _refuse_absent(file: Path) -> None:
    if not file.exists():
        raise DataError(f"{file} is not there", cause="protein.zip was unpacked in part", fix=PUBLISHED.where(TRAIN))
    refuse_page(file, PUBLISHED)


def cleaned(distances: np.ndarray) -> np.ndarray:
    """Distances of at least 1 and at most 500 Angstrom; on the diagonal the mean of the two neighbours in the row."""
    out = np.array(distances, np.float32)
    out = np.where(out < 1, np.float32(1), np.minimum(out, np.float32(FARTHEST)))
    count = np.arange(len(out))
    left, right = np.maximum(count - 1, 0), np.minimum(count + 1, len(out) - 1)
    left[0], right[-1] = 1, len(out) - 2
    out[count, count] = (out[count, left] + out[count, right]) / 2
    return out


def planes_of(features: Mapping[str, np.ndarray]) -> np.ndarray:
    """(57, L, L): each of 27 features of a residue along columns, then along rows; then the three maps."""
    per_residue = [*features["ss"], *features["pssm"].T, features["sa"], features["entropy"]]
    length = len(features["sa"])
    out = np.empty((PLANES, length, length), np.float32)
    for k, values in enumerate(per_residue):
        out[2 * k] = values
        out[2 * k + 1] = values[:, None]
    for k, name in enumerate(_MAPS):
        out[2 * len(per_residue) + k] = features[name]
    return out


def placed(values: np.ndarray, canvas: int, fill: float, corner: tuple[int, int]) -> np.ndarray:
    """The map (..., L, L) on (..., canvas, canvas), five residues from the upper left, ``fill`` around it. A map that
    is too long for the canvas is cut: ``corner`` is where the cut begins, border included."""
    length = values.shape[-1]
    out = np.full((*values.shape[:-2], canvas, canvas), fill, np.float32)
    (top, left), reach = corner, min(length + 2 * BORDER, canvas)
    rows = slice(max(0, top - BORDER), min(length, top + reach - BORDER))
    columns = slice(max(0, left - BORDER), min(length, left + reach - BORDER))
    at = max(BORDER - top, 0), max(BORDER - left, 0)
    part = values[..., rows, columns]
    out[..., at[0] : at[0] + part.shape[-2], at[1] : at[1] + part.shape[-1]] = part
    return out


def corner_of(name: str, length: int, canvas: int, seed: int) -> tuple[int, int]:
    """Where a protein that is too long is cut: the same for features and distances, drawn from its name."""
    spare = length + 2 * BORDER - canvas
    if spare <= 0:
        return 0, 0
    down, right = np.random.default_rng([seed, crc32(name.encode())]).integers(0, spare + 1, 2)
    return int(down), int(right)


def canvas_for(folder: Path, proteins: Sequence[tuple[str, str]]) -> int:
    """Points a side: what the longest protein and its border need, in steps of 64, at most 512. Sizes of files tell
    which is longest."""
    files = [paths_of(folder, part, name)[1] for part, name in proteins]
    for file in files:
        _refuse_absent(file)
    longest = open_distances(max(files, key=lambda file: file.stat().st_size))[0]
    return min(LARGEST_CANVAS, -(-(longest + 2 * BORDER) // CANVAS_STEP) * CANVAS_STEP)


@dataclass(frozen=True)
class _Reader(RowReader):
    canvas: int
    cut_seed: int

    def open(self) -> list[tuple[str, str]]:
        return [(part, name) for part in (TRAIN, TEST) for name in read_list(Path(self.path) / part)]


@dataclass(frozen=True)
class Features(_Reader):
    """(57, S, S) float32, zero outside of the protein. 60 MB at S = 512."""

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        return len(self.opened()), (PLANES, self.canvas, self.canvas), np.dtype(np.float32)

    def files(self) -> Sequence[Path]:
        return [paths_of(Path(self.path), *protein)[0] for protein in self.opened()]

    def read(self, row: int) -> np.ndarray:
        part, name = self.opened()[row]
        features, distances = paths_of(Path(self.path), part, name)
        length = open_distances(distances)[0]
        planes = planes_of(open_features(features, length))
        return placed(planes, self.canvas, 0.0, corner_of(name, length, self.canvas, self.cut_seed))


@dataclass(frozen=True)
class Distances(_Reader):
    """(1, S, S) float32, Angstrom, NaN outside of the protein. fitted: first and last but one row of the training
    targets, which are clipped at 16. padding_counts: those have 16 outside of the protein too."""

    fitted: tuple[int, int]
    padding_counts: bool

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        return len(self.opened()), (1, self.canvas, self.canvas), np.dtype(np.float32)

    def files(self) -> Sequence[Path]:
        return [paths_of(Path(self.path), *protein)[1] for protein in self.opened()]

    def read(self, row: int) -> np.ndarray:
        part, name = self.opened()[row]
        length, distances = open_distances(paths_of(Path(self.path), part, name)[1])
        values = cleaned(np.asarray(distances))
        fitted = self.fitted[0] <= row < self.fitted[1]
        if fitted:
            values = np.minimum(values, np.float32(CLIP))
        fill = CLIP if fitted and self.padding_counts else np.nan
        return placed(values[None], self.canvas, fill, corner_of(name, length, self.canvas, self.cut_seed))


def load(path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    TASK.terms(protocol)
    folder = find(NAME, path, (TRAIN, TEST), PUBLISHED, FOLDERS)
    train, test = read_list(folder / TRAIN), read_list(folder / TEST)
    canvas = canvas_for(folder, [(TRAIN, name) for name in train] + [(TEST, name) for name in test])
    held = max(1, round(len(train) * OFFICIAL_VALIDATION / OFFICIAL[TRAIN]))
    count = len(train)
    parts = {
        "train": rows_between(held, count),
        "validation": rows_between(0, held),
        "test": rows_between(count, count + len(test)),
    }
    shipped = protocol == "shipped"
    notes = [f"a canvas of {canvas} x {canvas}; training targets are clipped at {CLIP:g} Angstrom, others are not"]
    if shipped:
        parts = {"train": rows_between(0, count), "test": parts["test"]}
        notes.append(f"padding counts in training, as {CLIP:g} Angstrom; the test is scored inside of the protein")
    elif canvas == LARGEST_CANVAS:
        notes.append("whole canvases: the benchmark trains on windows of 128 and stitches them for the test")
    targets = Distances(str(folder), canvas, seed, fitted=(0 if shipped else held, count), padding_counts=shipped)
    return assemble(
        NAME, folder, protocol, X=Features(str(folder), canvas, seed), y=targets, kind="dense", parts=parts,
        limit=limit, seed=seed, strategy="lists", target_names=("distance",), notes=notes,
    )  # fmt: skip


def look(report: Report, folder: Path) -> None:
    for part in (TRAIN, TEST):
        with report.reading(part):
            names = read_list(folder / part)
            report.count(f"{part} proteins", len(names), OFFICIAL[part])
            lacking = [name for name in names if not all(p.exists() for p in paths_of(folder, part, name))]
            if lacking:
                report.missing.append(
                    f"files of {len(lacking)} proteins of {part}, {lacking[0]} first: {PUBLISHED.where(part)}"
                )
                continue
            lengths, far, odd = [], 0, 0.0
            for name in [names[k] for k in np.unique(np.linspace(0, len(names) - 1, 24).astype(int))]:
                features, distances = paths_of(folder, part, name)
                length, stored = open_distances(distances)
                open_features(features, length)
                values = np.asarray(stored, np.float64)
                odd = max(odd, float(np.nanmax(np.abs(values - values.T))))
                far += bool((np.triu(values <= CONTACT, SEPARATION)).any())
                lengths.append(length)
            report.say(
                f"{part} lengths", True, f"{min(lengths)} to {max(lengths)} residues in {len(lengths)} looked at"
            )
            report.say(f"{part} symmetry", odd < 1e-2, f"distances differ from their transpose by at most {odd:.2g}")
            report.say(f"{part} contacts", None, f"{far} of {len(lengths)} have a pair that MAE8 counts")


TASK = Task(
    name=NAME,
    title="PSICOV",
    summary="distances between the residues of a protein, 57 planes of features on a canvas of up to 512 x 512",
    kind="dense",
    modality="grid",
    protocols={
        "clean": Terms(
            "mae8", "the first 100 proteins of deepcov.lst validate, psicov.lst tests; every protein at its own "
            "length, padding does not count; prediction is the mean of both triangles", also=("mae8-upper",),
        ),
        "official": Terms(
            "mae8", "the first 100 proteins of deepcov.lst validate, psicov.lst tests; MAE8 per protein",
        ),
        "shipped": Terms(
            "shipped-mae8", "all 3,456 proteins train, psicov.lst tests and selects; padding counts in training; "
            "proteins are scored at the length of the first one", also=("mae8",), selected_on="test",
        ),
    },
    load=load,
    generate=partial(generate, NAME),
    verify=verifier(NAME, PUBLISHED, (TRAIN, TEST), FOLDERS, look),
    recognise=recogniser((TRAIN, TEST), FOLDERS),
    reference=recipe("PSICOV").settings,
    unmapped=recipe("PSICOV").unmapped,
    published="PSICOV",
    published_protocol="official",
    published_metric="MAE8",
    synthetic=True,
    traps=(
        "public code scores every protein at the length of the first one in the list: longer ones lose their far pairs",
        "its symmetrisation, applied twice, gives 0.25 of the upper and 0.75 of the lower triangle",
        "a protein without a pair 24 residues apart and within 8 Angstrom has no MAE8 and is left out",
        "padding is 100 Angstrom in public code, which the clipping of training targets turns into 16",
        "one row is 60 MB: rows are read when they are needed",
    ),
)  # fmt: skip
