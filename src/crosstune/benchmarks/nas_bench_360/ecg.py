"""ECG: rhythm of a single-lead electrocardiogram (PhysioNet/CinC Challenge 2017), windows of 1,000 samples at 300 Hz.

Recordings are split first and cut into windows afterwards; the recording of a window is its unit, so that the windows
of one can vote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crosstune.benchmarks.contract import ProtocolName, Task, TaskData, Terms
from crosstune.benchmarks.nas_bench_360.checking import Report, recogniser, verifier
from crosstune.benchmarks.nas_bench_360.common import Published, assemble, find, refuse_page
from crosstune.benchmarks.nas_bench_360.ecg_stand_in import generate
from crosstune.benchmarks.recipes import recipe
from crosstune.data.lazy import RowReader
from crosstune.data.restricted_pickle import load_pickle
from crosstune.errors import DataError

NAME = "nas_bench_360/ecg"
FILE = "challenge2017.pkl"
FOLDERS = ("ecg", "ECG")
WINDOW = 1000
LETTERS = "NAO~"
CLASSES = ("normal", "atrial fibrillation", "other rhythm", "noise")
STEPS = (500, 83, 250, 25)  # samples between the starts of windows, by class: rare classes get more windows
EVALUATION_STEP = 500
OFFICIAL_RECORDINGS = 8528
_IN_FILE = 1 << 10  # bytes above which a recording stays in its file
PUBLISHED = Published(
    {FILE: "https://drive.google.com/uc?id=1vp41dhFqCAsEBUld8tXfzC1lRiGm27Aq (a page asks for confirmation first)"},
    unpack={},
)


class Recordings(NamedTuple):
    """signals: one-dimensional, in the file. labels: (n,) codes. mean, spread: of each whole recording."""

    signals: list[Any]
    labels: np.ndarray
    mean: np.ndarray
    spread: np.ndarray


def open_recordings(file: Path) -> tuple[list[Any], np.ndarray]:
    """(signals, label codes) of the pickle {"data": recordings of different lengths, "label": letters}."""
    refuse_page(file, PUBLISHED)
    held = load_pickle(file, large=_IN_FILE)
    held = {k.decode() if isinstance(k, bytes) else k: v for k, v in held.items()} if isinstance(held, dict) else {}
    if not {"data", "label"} <= set(held):
        raise DataError(f"{file} does not hold a dictionary with `data` and `label`", cause="another file of this name")
    signals = list(held["data"])
    letters = [v.decode() if isinstance(v, bytes) else str(v) for v in np.asarray(held["label"]).reshape(-1)]
    if len(signals) != len(letters):
        raise DataError(f"{file}: {len(signals)} recordings and {len(letters)} labels")
    strange = sorted({letter for letter in letters if letter not in LETTERS or not letter})
    if strange:
        raise DataError(f"{file}: labels {', '.join(map(repr, strange[:5]))}; the official ones are N, A, O and ~")
    for number, signal in enumerate(signals):
        if getattr(signal, "ndim", 0) != 1 or signal.dtype.kind not in "if":
            raise DataError(f"{file}: recording {number} is not a series of numbers")
    return signals, np.array([LETTERS.index(letter) for letter in letters], dtype=np.int64)


def recording_parts(count: int) -> dict[str, np.ndarray]:
    """The benchmark's own parts of the recordings: a fifth held out, and that halved, both with random state 0."""
    from sklearn.model_selection import train_test_split

    train, held = train_test_split(np.arange(count), test_size=0.2, random_state=0)
    validation, test = train_test_split(held, test_size=0.5, random_state=0)
    return {"train": train, "validation": validation, "test": test}


def final_parts(count: int) -> dict[str, np.ndarray]:
    """Those of the last training: a tenth held out with random state 0."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(np.arange(count), test_size=0.1, random_state=0)
    return {"train": train, "test": test}


def window_table(lengths: Sequence[int], labels: np.ndarray, held_out: np.ndarray | None) -> np.ndarray:
    """(windows, 2): recording and start, in the order of the file.

    held_out: (n,) bool, recordings cut every 500 samples whatever their class, up to the last sample, so that nothing
    about the label can be read off their windows. None: every recording by its class's step, with starts below
    length - 1000, as the benchmark does.
    """
    rows = []
    for number, length in enumerate(lengths):
        if held_out is not None and held_out[number]:
            starts = np.arange(0, length - WINDOW + 1, EVALUATION_STEP)
        else:
            starts = np.arange(0, max(0, length - WINDOW), STEPS[labels[number]])
        rows.append(np.column_stack([np.full(len(starts), number), starts]))
    return np.concatenate(rows).astype(np.int64)


@dataclass(frozen=True)
class Windows(RowReader):
    """(1, 1000) float32, each recording standardised over its whole length. by_class: windows of the held-out
    recordings too are as close as their class says."""

    by_class: bool

    def open(self) -> tuple[Recordings, np.ndarray]:
        signals, labels = open_recordings(Path(self.path) / FILE)
        mean, spread = np.zeros(len(signals)), np.ones(len(signals))
        for number, signal in enumerate(signals):
            values = np.asarray(signal, np.float64)
            if len(values):
                mean[number], spread[number] = values.mean(), values.std() or 1.0
        table = window_table([len(s) for s in signals], labels, None if self.by_class else held_out(len(signals)))
        return Recordings(signals, labels, mean, spread), table

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        return len(self.opened()[1]), (1, WINDOW), np.dtype(np.float32)

    def files(self) -> Sequence[Path]:
        return (Path(self.path) / FILE,)

    def read(self, row: int) -> np.ndarray:
        recordings, table = self.opened()
        number, start = table[row]
        values = np.asarray(recordings.signals[number][int(start) : int(start) + WINDOW], np.float64)
        return ((values - recordings.mean[number]) / recordings.spread[number]).astype(np.float32)[None]


def held_out(count: int) -> np.ndarray:
    out = np.zeros(count, bool)
    parts = recording_parts(count)
    out[parts["validation"]] = out[parts["test"]] = True
    return out


def load(path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    TASK.terms(protocol)
    folder = find(NAME, path, (FILE,), PUBLISHED, FOLDERS)
    reader = Windows(str(folder), protocol != "clean")
    recordings, table = reader.opened()
    count = len(recordings.labels)
    if count < 10:
        raise DataError(f"{folder / FILE} has {count} recordings", fix="at least 10 are needed for three parts")
    units = table[:, 0]
    chosen = final_parts(count) if protocol == "shipped" else recording_parts(count)
    parts = {name: np.flatnonzero(np.isin(units, members)) for name, members in chosen.items()}
    # in an order of chance, so that the first so many training windows come from many recordings
    parts["train"] = np.random.default_rng(0).permutation(parts["train"])
    short = int(sum(len(signal) <= WINDOW for signal in recordings.signals))
    notes = [f"{short} recordings of {WINDOW} samples or fewer have no training window"] if short else []
    if protocol == "clean":
        notes.append("held-out recordings are cut every 500 samples whatever their class; voting is by recording")
    else:
        notes.append("test windows too are closer together for rare classes, so their number depends on the label")
    if protocol == "shipped":
        parts["test"] = np.random.default_rng([seed, 2017]).permutation(parts["test"])
        notes.append("test windows are shuffled, since the public figure is averaged over shuffled chunks")
    return assemble(
        NAME, folder, protocol, X=reader, y=recordings.labels[units], kind="classification", parts=parts, limit=limit,
        seed=seed, strategy="recordings", units=units, classes=CLASSES, notes=notes,
    )  # fmt: skip


def look(report: Report, folder: Path) -> None:
    signals, labels = open_recordings(folder / FILE)
    report.count("recordings", len(signals), OFFICIAL_RECORDINGS)
    lengths = np.array([len(signal) for signal in signals])
    report.say("lengths", bool(lengths.min() >= WINDOW), f"{lengths.min()} to {lengths.max()} samples at 300 Hz")
    report.dtype("signal", signals[0].dtype, "int16")
    report.labels("recordings", labels, 0, 3)
    said = ", ".join(f"{letter} {int((labels == k).sum())}" for k, letter in enumerate(LETTERS))
    report.say("classes", None, said)
    flat = [n for n, signal in enumerate(signals[:: max(1, len(signals) // 64)]) if np.ptp(np.asarray(signal)) == 0]
    report.say(
        "signals", not flat, f"{len(flat)} of the recordings looked at are constant" if flat else "none constant"
    )


TASK = Task(
    name=NAME,
    title="ECG",
    summary="cardiac rhythm in windows of a single-lead electrocardiogram; 4 classes, split by recording",
    kind="classification",
    modality="series",
    protocols={
        "clean": Terms(
            "1-f1-vote",
            "recordings split 80/10/10 with the benchmark's random state, then windows; held-out recordings are cut "
            "alike for all classes; the windows of a recording vote",
            also=("1-f1", "error"),
        ),
        "official": Terms(
            "1-f1-vote",
            "recordings split 80/10/10 with random state 0; windows of rare classes closer in all parts; votes",
            also=("1-f1",),
        ),
        "shipped": Terms(
            "shipped-1-f1-1000",
            "recordings split 90/10 with random state 0; the test windows select; macro-F1 of windows, averaged over "
            "chunks of 1,000 shuffled ones, without votes",
            also=("1-f1", "1-f1-vote"),
            selected_on="test",
        ),
    },
    load=load,
    generate=partial(generate, NAME, FILE, recording_parts),
    verify=verifier(NAME, PUBLISHED, (FILE,), FOLDERS, look),
    recognise=recogniser((FILE,), FOLDERS),
    reference=recipe("ECG").settings,
    unmapped=recipe("ECG").unmapped,
    published="ECG",
    published_protocol="official",
    published_metric="1-F1",
    synthetic=True,
    traps=(
        "splitting after windowing puts windows of one recording on both sides",
        "windows of rare classes are closer together, in the test part of public code too",
        "the official figure lets the windows of a recording vote; public fine-tuning code scores windows",
        "the tuning split (80/10/10) and the final one (90/10) have different test recordings",
        "the file is a pickle; it is read without running it",
    ),
)
