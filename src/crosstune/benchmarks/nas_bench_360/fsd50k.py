"""FSD50K: what is heard in a clip (Fonseca et al., 2020), 200 labels at once, from mel spectrograms of seconds of it.

A clip is judged by all of its seconds: they share a unit, and their logits are averaged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from crosstune.benchmarks.contract import ProtocolName, Task, TaskData, Terms
from crosstune.benchmarks.nas_bench_360.checking import Report, recogniser, verifier
from crosstune.benchmarks.nas_bench_360.common import Published, assemble, find, refuse_page, rows_between
from crosstune.benchmarks.nas_bench_360.fsd_audio import (
    FRAMES,
    MELS,
    SECOND,
    masked,
    mel_decibels,
    read_wav,
    wav_samples,
    with_noise,
)
from crosstune.benchmarks.nas_bench_360.fsd_manifest import (
    LABELS,
    PARTS,
    Manifest,
    clip_of_chunks,
    read_labels,
    read_manifest,
    spaced_chunks,
)
from crosstune.benchmarks.nas_bench_360.fsd_stand_in import generate
from crosstune.benchmarks.recipes import recipe
from crosstune.data.lazy import RowReader
from crosstune.errors import DataError

NAME = "nas_bench_360/fsd50k"
FILES = tuple(f"chunks/{name}" for name in (*PARTS.values(), LABELS))
NOISE = "noise_22050"
FOLDERS = ("audio", "fsd", "fsd50k")
CHUNKS_PER_CLIP = 4  # of a training clip under the clean protocol
NOISE_PROBABILITY = 0.75
OFFICIAL = {"train": 36_796, "validation": 4_170, "test": 10_231}
PUBLISHED = Published(
    dict.fromkeys(FILES, "https://drive.google.com/uc?id=1IDOkm7IpFfgByDZNM6daxZaVzVJVBNid (audio.zip, 24 GB)"),
    unpack={"audio.zip": "unzip audio.zip"},
)
Draws = Literal["none", "frozen", "anew"]


@dataclass
class Lists:
    """What a process holds: the three lists, which chunk a row is (-1: a clip, whose chunk is drawn), which clip, which
    list, the noises, and how often every row has been read."""

    manifests: list[Manifest]
    chunk: np.ndarray
    clip: np.ndarray
    part: np.ndarray
    noises: list[Path]
    visits: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Spectrograms(RowReader):
    """(1, 96, frames) float32: rows of the training list, then all chunks of the other two.

    draws: "none": training rows are up to four chunks of a clip, evenly spaced, as they are. "frozen": a training row
    is a clip, whose chunk, masks and noise are drawn once from the seed and the clip. "anew": the same, drawn anew with
    every reading; how often a row was read is counted within a process. frames: 101, or 102 with a frame of zeros.
    """

    draws: Draws
    frames: int
    seed: int

    def open(self) -> Lists:
        folder = Path(self.path)
        classes = read_labels(folder)
        manifests = [read_manifest(folder, part, classes) for part in PARTS]
        chunk, clip, part = [], [], []
        for number, manifest in enumerate(manifests):
            owners = clip_of_chunks(manifest)
            if number or self.draws == "none":
                picked = rows_between(0, len(owners)) if number else spaced_chunks(manifest, CHUNKS_PER_CLIP)
                chunk.append(picked)
                clip.append(owners[picked])
            else:
                chunk.append(np.full(len(manifest.clips), -1))
                clip.append(rows_between(0, len(manifest.clips)))
            part.append(np.full(len(chunk[-1]), number))
        noises = sorted((folder / NOISE).glob("*.wav")) if self.draws != "none" else []
        if self.draws != "none" and not noises:
            raise DataError(
                f"{folder / NOISE} holds no .wav files",
                cause="the recipe mixes training clips with noise, and audio.zip was unpacked in part",
                fix="unpack it again, or use --protocol clean, which needs no noise",
            )
        return Lists(manifests, np.concatenate(chunk), np.concatenate(clip), np.concatenate(part), noises)

    def layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        return len(self.opened().chunk), (1, MELS, self.frames), np.dtype(np.float32)

    def files(self) -> Sequence[Path]:
        """The lists, and 64 of the hundreds of thousands of sounds."""
        lists = self.opened()
        rows = np.unique(np.linspace(0, len(lists.chunk) - 1, 64).astype(int))
        sounds = [self.sound(lists, row, max(0, int(lists.chunk[row]))) for row in rows]
        return [*(Path(self.path) / name for name in FILES), *sounds]

    def sound(self, lists: Lists, row: int, chunk: int) -> Path:
        return Path(self.path) / lists.manifests[int(lists.part[row])].files[chunk].decode()

    def read(self, row: int) -> np.ndarray:
        lists = self.opened()
        if lists.chunk[row] >= 0:
            feature = self.second(self.sound(lists, row, int(lists.chunk[row])))
        else:
            visit = 0
            if self.draws == "anew":
                visit = lists.visits[row]
                lists.visits[row] += 1
            feature = self.drawn(lists, row, np.random.default_rng([self.seed, 50, int(lists.clip[row]), visit]))
        return np.pad(feature, ((0, 0), (0, self.frames - FRAMES)))[None]

    def second(self, file: Path) -> np.ndarray:
        sound = read_wav(file)
        if len(sound) != SECOND:
            raise DataError(
                f"{file} has {len(sound):,} samples; a chunk has {SECOND:,}", cause="a copy that was cut off"
            )
        return mel_decibels(sound)

    def drawn(self, lists: Lists, row: int, rng: np.random.Generator) -> np.ndarray:
        """A training item of the recipe. A chunk has the 101 frames that the recipe pads to and crops to already."""
        first = lists.manifests[0].first
        clip = int(lists.clip[row])
        feature = masked(self.second(self.sound(lists, row, int(rng.integers(first[clip], first[clip + 1])))), rng)
        if rng.random() < NOISE_PROBABILITY:
            noise = lists.noises[int(rng.integers(len(lists.noises)))]
            start = int(rng.integers(0, max(1, wav_samples(noise) - SECOND + 1)))
            sound = read_wav(noise, start, min(SECOND, wav_samples(noise)))
            feature = with_noise(feature, mel_decibels(np.resize(sound, SECOND)), rng)
        return feature


def load(path: Path, protocol: ProtocolName, *, limit: Mapping[str, int] | None = None, seed: int = 0) -> TaskData:
    TASK.terms(protocol)
    folder = find(NAME, path, FILES, PUBLISHED, FOLDERS)
    for name in FILES:
        refuse_page(folder / name, PUBLISHED)
    draws: Mapping[str, Draws] = {"clean": "none", "official": "anew", "shipped": "frozen"}
    reader = Spectrograms(str(folder), draws[protocol], FRAMES + (protocol == "shipped"), seed)
    lists = reader.opened()
    y = np.concatenate([m.labels[lists.clip[lists.part == k]] for k, m in enumerate(lists.manifests)]).astype(
        np.float32
    )
    names = [m.clips for m in lists.manifests]
    code = {name: number for number, name in enumerate(dict.fromkeys(np.concatenate(names).tolist()))}
    codes = [np.array([code[name] for name in part.tolist()], dtype=np.int64) for part in names]
    units = np.concatenate([codes[k][lists.clip[lists.part == k]] for k in range(len(codes))])
    parts = {name: np.flatnonzero(lists.part == k) for k, name in enumerate(PARTS)}
    notes = {
        "clean": f"training rows are up to {CHUNKS_PER_CLIP} chunks of a clip, evenly spaced, without masks or noise",
        "official": "a training clip's chunk, masks and noise are drawn anew whenever it is read; after a resumed run "
        "they begin again with the first draw",
        "shipped": "a training clip's chunk, masks and noise are drawn once and stay the same for all epochs",
    }
    if protocol == "shipped":
        parts.pop("validation")
    idle = int((y[parts["test"]].max(axis=0) == 0).sum())
    said = [notes[protocol]] + ([f"{idle} classes have no clip in the test and no average precision"] if idle else [])
    return assemble(
        NAME, folder, protocol, X=reader, y=y, kind="multilabel", parts=parts, limit=limit, seed=seed, strategy="lists",
        target_names=read_labels(folder), units=units, notes=said, stay_in_files=draws[protocol] == "anew",
    )  # fmt: skip


def look(report: Report, folder: Path) -> None:
    classes = read_labels(folder)
    report.say("classes", True, f"{len(classes)} names")
    for part, name in PARTS.items():
        with report.reading(name):
            manifest = read_manifest(folder, part, classes)
            report.count(f"{part} clips", len(manifest.clips), OFFICIAL[part])
            counts = np.diff(manifest.first)
            report.say(f"{part} chunks", None, f"{len(manifest.files):,}; {counts.min()} to {counts.max()} a clip")
            idle = int((manifest.labels.sum(axis=0) == 0).sum())
            report.say(
                f"{part} labels", idle == 0 or None, f"{idle} classes without a clip" if idle else "every class occurs"
            )
            picks = manifest.files[np.unique(np.linspace(0, len(manifest.files) - 1, 64).astype(int))]
            loudest = 0.0
            for pick in picks:
                sound = read_wav(folder / pick.decode())
                if len(sound) != SECOND:
                    raise DataError(f"{folder / pick.decode()} has {len(sound):,} samples; a chunk has {SECOND:,}")
                loudest = max(loudest, float(np.abs(sound).max()))
            report.say(f"{part} sounds", loudest > 0, f"{len(picks)} looked at, loudest {loudest:.2f} of full scale")
    noises = sorted((folder / NOISE).glob("*.wav"))
    report.say("noise", True if noises else None, f"{len(noises)} files in {NOISE}")


TASK = Task(
    name=NAME,
    title="FSD50K",
    summary="sound events in clips of any length, mel spectrograms of seconds; 200 labels at once",
    kind="multilabel",
    modality="grid",
    protocols={
        "clean": Terms(
            "1-map-clips", "the lists' own parts; up to four chunks of every training clip, all chunks of the others, "
            "whose logits are averaged over a clip; no draws", also=("1-map",),
        ),
        "official": Terms(
            "1-map-clips", "the lists' own parts; a training clip's chunk, masks and noise drawn anew with every "
            "reading; logits averaged over a clip",
        ),
        "shipped": Terms(
            "1-map-clips", "training list alone, drawn once for all epochs, 96 x 102; test clips select; logits "
            "averaged over a clip; the validation list is not used; positive labels weigh 10 in the loss",
            also=("1-map",), selected_on="test", settings={"fit.pos_weight": 10.0},
        ),
    },
    load=load,
    generate=partial(generate, NAME),
    verify=verifier(NAME, PUBLISHED, FILES, FOLDERS, look),
    recognise=recogniser(FILES, FOLDERS),
    reference=recipe("FSD").settings,
    unmapped=recipe("FSD").unmapped,
    published="FSD50K",
    published_protocol="official",
    published_metric="1-mAP",
    synthetic=True,
    traps=(
        "logits of a clip's chunks are averaged before the sigmoid; averaging probabilities gives another figure",
        "labels are joined by commas inside one field of the list, which is quoted",
        "the first four characters of a file's name in a list stand for where the data lie",
        "the recipe draws chunk, masks and noise; public fine-tuning code does so once and keeps them for all epochs",
        "public fine-tuning code weighs positives by 10, the benchmark does not",
        "a class without a clip in the test has no average precision",
    ),
)  # fmt: skip
