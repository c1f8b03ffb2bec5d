"""Cosmic: which pixels of a Hubble image were hit by cosmic rays (deepCR, ACS/WFC; Kwon, Zhang and Bloom, 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from crosstune.benchmarks.contract import ProtocolName, Task, TaskData, Terms
from crosstune.benchmarks.nas_bench_360.checking import Report, recogniser, verifier
from crosstune.benchmarks.nas_bench_360.common import Published, assemble, find, last_share, refuse_page, rows_between
from crosstune.benchmarks.nas_bench_360.cosmic_stand_in import generate
from crosstune.benchmarks.recipes import recipe
from crosstune.data.lazy import RowReader
from crosstune.data.numpy_files import load_npy
from crosstune.errors import DataError
from crosstune.records import IGNORED

NAME = "nas_bench_360/cosmic"
TRAIN, TEST = "npy_train", "npy_test"
LISTS = {TRAIN: "train_dirs.npy", TEST: "test_dirs.npy"}
FOLDERS = ("cosmic", "COSMIC")
FILTER = "f435w"
CROP = slice(64, 192)
SIZE = 128
CLASSES = ("sky", "cosmic ray")
SKY_RANGE = (-0.9, 3.0)  # of the sky level, added as public code does
OFFICIAL = {TRAIN: 4_830, TEST: 420}
# fields of galaxies, by proposal and visit; the others are globular clusters and crowded fields
_GALAXIES = (
    "10760_2 10760_4 13737_2 13737_3 9490_a3 12513_2 12513_3 10182_pb 10182_pd 10584_13 10342_3 14343_1 13057_1 "
    "10260_7 10260_5 10407_3 13364_95 10190_28 10190_13 9490_a2 13691_11 12058_12 12058_16 12058_1 12058_6 14704_1 "
    "13804_6"
)
GALAXIES = frozenset(_GALAXIES.split())
_TARS = {TRAIN: "deepCR.ACS-WFC.train.tar", TEST: "deepCR.ACS-WFC.test.tar"}
PUBLISHED = Published(
    {
        TRAIN: f"https://drive.google.com/uc?id=1lHsNhPM-73YFdi7V1mkEaa_WyYuz9Waf ({_TARS[TRAIN]}, 6.5 GB)",
        TEST: f"https://drive.google.com/uc?id=1Pc6p1r6TdGCFZMOYScINMj65sF0BnSod ({_TARS[TEST]}, 2.0 GB)",
    },
    unpack={tar: f"tar xf {tar}" for tar in _TARS.values()},
)


def list_stamps(folder: Path, part: str, *, listed: bool) -> list[Path]:
    """Stamps of galaxy fields in one filter, relative to ``folder``, sorted; or in the order of ``train_dirs.npy`` or
    ``test_dirs.npy`` where ``listed`` and there is one."""
    if listed and (folder / LISTS[part]).exists():
        return _from_list(folder, part)
    place = folder / part / FILTER
    if not place.is_dir():
        inside = sorted(p.name for p in (folder / part).iterdir()) if (folder / part).is_dir() else []
        raise DataError(
            f"{folder / part} has no folder {FILTER}" + (f"; it has {', '.join(inside[:6])}" if inside else ""),
            cause="the archive holds <filter>/<proposal>/<visit>/ below it",
            fix="unpack it whole",
        )
    found = [
        stamp.relative_to(folder)
        for visit in sorted(place.glob("*/*"))
        if f"{visit.parent.name}_{visit.name}" in GALAXIES
        for stamp in sorted(visit.glob("*.npy"))
        if stamp.name != "sky.npy"
    ]
    if not found:
        raise DataError(f"{place} holds no stamps of galaxy fields", cause="another selection of proposals and visits")
    return found


def _from_list(folder: Path, part: str) -> list[Path]:
    found = []
    for entry in np.asarray(load_npy(folder / LISTS[part])).reshape(-1):
        name = str(entry).removeprefix("./")
        place = next((p for p in (Path(name), Path(part) / name) if (folder / p).exists()), None)
        if place is None:
            raise DataError(
                f"{folder / LISTS[part]} names {entry!s}, which is not there", fix="remove or mend the list"
            )
        found.append(place)
    return found


def open_stamp(file: Path) -> np.ndarray:
    """(2 or 3, 128, 128): image in electrons, mask of cosmic rays, mostly pixels to ignore; the middle of the file."""
    try:
        planes = np.asarray(load_npy(file))
    except DataError:
        refuse_page(file, PUBLISHED)
        raise
    if planes.ndim != 3 or planes.shape[0] not in (2, 3) or min(planes.shape[1:]) < CROP.stop:
        raise DataError(f"{file} has shape {planes.shape}; expected (2 or 3, H, W) with H and W of {CROP.stop} or more")
    return planes[:, CROP, CROP]


def sky_level(folder: Path, stamp: Path) -> float:
    """The sky behind a stamp, in electrons: entry k of its visit's sky.npy, counted from 1, for a name ``<k>_...``."""
    levels = np.asarray(load_npy(folder / stamp.parent / "sky.npy"), np.float64).reshape(-1)
    number = stamp.name.split("_")[0]
    if not number.isdigit() or not 1 <= int(number) <= len(levels):
        raise DataError(f"{folder / stamp} has no sky level: {stamp.parent / 'sky.npy'} has {len(levels)}")
    return float(levels[int(number) - 1])


class Stamps(NamedTuple):
    paths: list[Path]
    train: int  # how many of them are for training


@dataclass(frozen=True)
class _Reader(RowReader):
    listed: bool

    def open(self) -> Stamps:
        parts = [list_stamps(Path(self.path), part, listed=self.listed) for part in (TRAIN, TEST)]
        return Stamps([*parts[0], *parts[1]], len(parts[0]))

    def files(self) -> Sequence[Path]:
        return [Path(self.path) / stamp for stamp in self.opened().paths]


@dataclass(frozen=True)
class Images(_Reader):
    """(1, 128, 128) float32, electrons. sky_seed: adds sky times U(-0.9, 3), drawn for each stamp from the seed and its
    name, so that no order of reading changes it; -1 leaves images as they are."""

    sky_seed: int

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        return len(self.opened().paths), (1, SIZE, SIZE), np.dtype(np.float32)

    def read(self, row: int) -> np.ndarray:
        folder, stamp = Path(self.path), self.opened().paths[row]
        image = open_stamp(folder / stamp)[0].astype(np.float32)
        if self.sky_seed >= 0:
            draw = np.random.default_rng([self.sky_seed, crc32(stamp.as_posix().encode())]).uniform(*SKY_RANGE)
            image = image + np.float32(draw * sky_level(folder, stamp))
        return image[None]


@dataclass(frozen=True)
class Masks(_Reader):
    """(128, 128) int64: 1 where a cosmic ray hit. ignore: -1 where the file says that a pixel does not count."""

    ignore: bool

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        return len(self.opened().paths), (SIZE, SIZE), np.dtype(np.int64)

    def read(self, row: int) -> np.ndarray:
        planes = open_stamp(Path(self.path) / self.opened().paths[row])
        mask = (planes[1] > 0.5).astype(np.int64)
        if self.ignore and len(planes) == 3:
            mask[planes[2] > 0.5] = IGNORED
        return mask


def load(path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    TASK.terms(protocol)
    folder = find(NAME, path, (TRAIN, TEST), PUBLISHED, FOLDERS)
    clean = protocol == "clean"
    images = Images(str(folder), not clean, -1 if clean else seed)
    stamps = images.opened()
    visits = np.unique(["/".join(p.parts[-3:-1]) for p in stamps.paths], return_inverse=True)[1].reshape(-1)
    test = rows_between(stamps.train, len(stamps.paths))
    fitting, held = last_share(stamps.train, 0.1)
    notes = []
    if clean:
        fitting, held = by_visit(visits[: stamps.train], 0.1, seed)
        notes.append("images as they are, no sky added; pixels to be ignored do not count")
    else:
        notes.append("sky times U(-0.9, 3) is added to every image, test images too, drawn once for each")
    seen = len(set(visits[test]) & set(visits[: stamps.train]))
    if seen:
        notes.append(f"{seen} of {len(set(visits[test]))} visits of the test have training stamps as well")
    parts = {"train": fitting, "validation": held, "test": test}
    if protocol == "shipped":
        parts = {"train": rows_between(0, stamps.train), "test": test}
    return assemble(
        NAME, folder, protocol, X=images, y=Masks(str(folder), not clean, protocol != "official"), kind="segmentation",
        parts=parts, limit=limit, seed=seed, strategy="visits" if clean else "files", classes=CLASSES,
        groups=visits.astype(np.int64) if clean else None, notes=notes,
    )  # fmt: skip


def by_visit(visits: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that train and rows that validate: whole visits, drawn until they hold the share. One visit alone is cut."""
    names = np.unique(visits)
    if len(names) < 2:
        return last_share(len(visits), share)
    chosen: list[int] = []
    for visit in np.random.default_rng([seed, 435]).permutation(names)[:-1]:
        chosen.append(int(visit))
        if np.isin(visits, chosen).mean() >= share:
            break
    held = np.isin(visits, chosen)
    return np.flatnonzero(~held), np.flatnonzero(held)


def look(report: Report, folder: Path) -> None:
    for part in (TRAIN, TEST):
        with report.reading(part):
            stamps = list_stamps(folder, part, listed=False)
            report.count(f"{part} stamps of galaxies in {FILTER}", len(stamps), OFFICIAL[part])
            picks = [stamps[k] for k in np.unique(np.linspace(0, len(stamps) - 1, 24).astype(int))]
            held = [open_stamp(folder / stamp) for stamp in picks]
            two = sum(len(planes) == 2 for planes in held)
            report.say(f"{part} planes", None, f"{two} of {len(held)} stamps looked at have no ignore plane")
            finite = all(np.isfinite(planes).all() for planes in held)
            report.say(f"{part} values", finite, "finite" if finite else "NaN or infinite values")
            binary = all(set(np.unique(planes[1:])) <= {0, 1} for planes in held)
            hit = float(np.mean([planes[1].mean() for planes in held]))
            report.say(f"{part} masks", binary and 0 < hit < 0.2, f"{hit:.2%} of the pixels are cosmic rays")
            for stamp in stamps:
                sky_level(folder, stamp)
            report.say(f"{part} sky", True, "a level for every stamp")
        if (folder / LISTS[part]).exists():
            with report.reading(LISTS[part]):
                same = set(list_stamps(folder, part, listed=True)) == set(stamps)
                report.say(LISTS[part], same, "names the same stamps" if same else "names other stamps than are there")


TASK = Task(
    name=NAME,
    title="Cosmic",
    summary="cosmic-ray hits in Hubble images, 128 x 128; a mask",
    kind="segmentation",
    modality="grid",
    protocols={
        "clean": Terms(
            "1-auroc-hard", "whole visits validate, about a tenth of the training stamps; images as they are; pixels "
            "to be ignored do not count; (FPR + FNR) / 2 of the mask", also=("1-auroc-pixels", "fnr-mask", "mean-iou"),
        ),
        "official": Terms(
            "official-1-auroc-hard", "the last tenth of the list validates; sky added everywhere; ignore plane not "
            "applied; mask where the logit exceeds one half", also=("fnr-mask",),
        ),
        "shipped": Terms(
            "shipped-1-auroc-hard", "all training stamps train, the test stamps select; sky added everywhere; ignored "
            "pixels count as true negatives", also=("fnr-mask",), selected_on="test",
        ),
    },
    load=load,
    generate=partial(generate, NAME, sorted(GALAXIES)),
    verify=verifier(NAME, PUBLISHED, (TRAIN, TEST), FOLDERS, look),
    recognise=recogniser((TRAIN, TEST), FOLDERS),
    reference=recipe("COSMIC").settings,
    unmapped=recipe("COSMIC").unmapped,
    published="Cosmic",
    published_protocol="official",
    published_metric="FNR %",
    synthetic=True,
    traps=(
        "the public 1-AUROC is the balanced error of a hard mask, thresholds differ (logit 0 or 0.5), and the ignore "
        "plane is applied or not: a soft AUROC is another figure",
        "public code adds random sky to test images too, from the generator of whichever worker reads them",
        "the official validation part follows the order of a directory listing",
        "stamps of one visit show the same field: validation by visit is harder than by stamp",
        "some files have no ignore plane",
    ),
)  # fmt: skip
