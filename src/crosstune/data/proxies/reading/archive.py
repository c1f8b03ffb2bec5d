"""An .npz with X (images, waves or texts) and y."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from crosstune.data.files import damaged, missing_key, open_source
from crosstune.data.proxies.contract import (
    Modality,
    Proxy,
    Wanted,
    balanced,
    make_audio_proxy,
    make_image_proxy,
    make_text_proxy,
)
from crosstune.data.proxies.reading import pictures, recordings
from crosstune.data.proxies.reading.labels import coded
from crosstune.errors import DataError


def look(path: Path) -> Modality:
    """What X holds, from its header alone: (N, 3, H, W), (N, 1, H, W), (N, H, W, 3) or (N, H, W) are images, (N, L)
    and (N, 1, L) waves, text (N,) texts. Raises DataError for anything else, and for missing keys."""
    open_source(str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            for key in ("X", "y"):
                if key not in names:
                    missing_key("key", key, names, path, "X and y in np.savez(..., X=..., y=...)")
            with archive.open("X.npy") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
    except DataError:
        raise
    except Exception as problem:  # zipfile, zlib, OSError, ValueError: whatever a damaged archive raises
        damaged(path, "npz", problem)
    return kind_of(shape, dtype, path)


def kind_of(shape: tuple[int, ...], dtype: Any, path: Path) -> Modality:
    if dtype.kind in "US" and len(shape) == 1:
        return "text"
    if dtype.kind == "O":
        raise DataError(
            f"{path}: X holds Python objects, which only pickle can load, and pickle can run code",
            fix="save text as np.array(texts).astype(str), waves padded to one length",
        )
    if len(shape) == 4 or (len(shape) == 3 and shape[1] > 1):
        return "image"
    if len(shape) in (2, 3):
        return "audio"
    raise DataError(
        f"{path}: X of {dtype} {shape} is neither images, waves nor texts",
        fix="give images (N, 3, H, W), waves (N, L) with their rate, or an array of text (N,)",
    )


def load(path: Path, wanted: Wanted) -> Proxy:
    """The proxy in an .npz: at most ``wanted.rows`` rows, classes taking turns. ``rate`` in Hz belongs to waves."""
    kind = look(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            x, y = stored["X"], stored["y"]
            rate = stored["rate"] if "rate" in stored.files else None
    except Exception as problem:
        _damaged(path, problem)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or len(x) != len(y):
        raise DataError(f"{path}: X has {len(x)} rows and y shape {y.shape}", fix="give one label per row: y (N,)")
    labels, classes = coded(y, f"{path}: y")
    rows = balanced(labels, wanted.rows)
    notes = [f"{len(rows):,} of {len(x):,} rows are used, classes taking turns"] if len(rows) < len(x) else []
    x, labels = x[rows], labels[rows]
    name = f"{path}: X"
    if kind == "text":
        texts = [str(t.decode("utf-8", "replace") if isinstance(t, bytes) else t) for t in x]
        _need_text(texts, name, rows)
        return make_text_proxy(texts, labels, classes, notes)
    if kind == "audio":
        own = None if rate is None else _rate(rate, path)
        waves, said = recordings.from_array(x, own, wanted.rate, wanted.samples, name)
        return make_audio_proxy(waves, wanted.rate, labels, classes, [*notes, *said])
    images, said = pictures.from_array(x, wanted.size, name)
    return make_image_proxy(images, labels, classes, [*notes, *said])


def _need_text(texts: list[str], name: str, rows: np.ndarray) -> None:
    empty = [int(rows[i]) for i, text in enumerate(texts) if not text.strip()]
    if empty:
        raise DataError(f"{name} is empty in {len(empty)} rows, first in row {empty[0]}", fix="leave such rows out")


def _rate(value: np.ndarray, path: Path) -> int:
    if value.size != 1 or value.dtype.kind not in "iuf" or not 1 <= float(value.ravel()[0]) <= 1_000_000:
        raise DataError(f"{path}: rate = {value!r} is no number of samples per second", fix="save rate=16000")
    return round(float(value.ravel()[0]))


def _damaged(path: Path, problem: Exception) -> NoReturn:
    if "pickle" in str(problem).lower():
        raise DataError(
            f"{path}: y holds Python objects, which only pickle can load, and pickle can run code",
            fix="save labels as np.array(labels).astype(str) or as whole numbers",
        ) from None
    damaged(path, "npz", problem)
