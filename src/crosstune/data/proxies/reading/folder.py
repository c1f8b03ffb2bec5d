"""A folder with one sub-folder per class, holding images, .wav recordings or .txt texts."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crosstune.data.proxies.contract import (
    Modality,
    Proxy,
    Wanted,
    balanced,
    make_audio_proxy,
    make_image_proxy,
    make_text_proxy,
)
from crosstune.data.proxies.reading import passages, pictures, recordings
from crosstune.data.proxies.reading.refusal import read_each
from crosstune.errors import DataError

KINDS: dict[Modality, tuple[str, ...]] = {
    "image": pictures.ENDINGS, "audio": recordings.ENDINGS, "text": passages.ENDINGS,
}  # fmt: skip
_OF_ENDING: dict[str, Modality] = {ending: kind for kind, endings in KINDS.items() for ending in endings}


@dataclass(frozen=True)
class Contents:
    """What lies in the folder: class names with their files, and endings of files of no use."""

    root: Path
    modality: Modality
    classes: dict[str, list[Path]]
    ignored: tuple[str, ...]


def look(root: Path) -> Contents:
    """The classes and files of a folder. Raises DataError for a folder without class folders or usable files, with
    several kinds of files, or with an empty class."""
    try:
        folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as problem:
        raise DataError(
            f"the proxy folder {root} cannot be read: {problem.strerror}", fix="check its permissions"
        ) from None
    if len(folders) < 2:
        raise DataError(
            f"the proxy folder {root} has {len(folders)} sub-folders, but a proxy needs at least two classes",
            cause="files lie in the folder itself, or one level too deep",
            fix=f"make one folder per class: {root.name}/CLASS/FILE with images, .wav or .txt files",
        )
    files = {folder.name: sorted(_files(folder)) for folder in folders}
    endings = Counter(p.suffix.lower() for paths in files.values() for p in paths)
    kinds = {_OF_ENDING[e] for e in endings if e in _OF_ENDING}
    if len(kinds) != 1:
        _refuse(root, endings, sorted(kinds))
    modality = kinds.pop()
    kept = {name: [p for p in paths if p.suffix.lower() in KINDS[modality]] for name, paths in files.items()}
    empty = [name for name, paths in kept.items() if not paths]
    if empty:
        raise DataError(
            f"class folders of the proxy {root} hold no {modality} file: {', '.join(empty[:5])}",
            cause="an incomplete copy, or folders that are no classes",
            fix="fill or remove them",
        )
    ignored = tuple(f"{count} {ending or 'without ending'}" for ending, count in sorted(endings.items())
                    if ending not in KINDS[modality])  # fmt: skip
    return Contents(root, modality, kept, ignored)


def _files(folder: Path) -> Iterator[Path]:
    for where, names, files in os.walk(folder):
        names[:] = sorted(n for n in names if not n.startswith("."))
        yield from (Path(where) / f for f in files if not f.startswith(".") and (Path(where) / f).is_file())


def _refuse(root: Path, endings: Counter[str], kinds: list[Modality]) -> None:
    found = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in endings.most_common(6)) or "nothing"
    if kinds:
        raise DataError(
            f"the proxy folder {root} mixes {' and '.join(kinds)} files ({found})",
            fix="keep one kind; a proxy has the modality of the body",
        )
    foreign = [e for e in endings if e in recordings.FOREIGN]
    raise DataError(
        f"the proxy folder {root} holds no images, .wav or .txt files (found: {found})",
        cause="another file format",
        fix=f"convert them: ffmpeg -i FILE{foreign[0]} -ac 1 -ar 16000 FILE.wav" if foreign
        else f"images may end in {', '.join(pictures.ENDINGS)}",
    )  # fmt: skip


def load(root: Path, wanted: Wanted) -> Proxy:
    """The proxy in a folder: at most ``wanted.rows`` files, classes taking turns, chosen by the hash of their names;
    only these are opened. Raises DataError for files that cannot be used, all at once."""
    found = look(root)
    names = tuple(found.classes)
    files = [
        (path, code)
        for code, paths in enumerate(found.classes.values())
        for path in sorted(paths, key=lambda p: hashlib.sha256(p.relative_to(root).as_posix().encode()).digest())
    ]
    labels = np.array([code for _, code in files], np.int64)
    rows = balanced(labels, wanted.rows)
    chosen, labels = [files[i][0] for i in rows], labels[rows]
    notes = (
        [f"files that are no {found.modality} were passed over: {', '.join(found.ignored)}"] if found.ignored else []
    )
    if len(chosen) < len(files):
        notes.append(f"{len(chosen):,} of {len(files):,} files are used, classes taking turns")
    if found.modality == "text":
        return make_text_proxy(read_each(root, chosen, passages.read_passage), labels, names, notes)
    if found.modality == "audio":
        read = read_each(root, chosen, lambda p: recordings.read_recording(p, wanted.rate, wanted.samples))
        waves = np.stack([wave for wave, _, _ in read])
        said = recordings.said([r for _, r, _ in read], [n for _, _, n in read], wanted.rate, wanted.samples)
        return make_audio_proxy(waves, wanted.rate, labels, names, [*notes, *said])
    seen = read_each(root, chosen, lambda p: pictures.read_picture(p, wanted.size))
    images = np.stack([image for image, _ in seen])
    return make_image_proxy(images, labels, names, [*notes, *pictures.said([s for _, s in seen], wanted.size)])
