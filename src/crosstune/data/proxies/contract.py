"""What a source proxy is: labelled texts, images, waves or series, and where they come from. NumPy only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self

import numpy as np

from crosstune.errors import DataError

Modality = Literal["text", "image", "audio", "series"]


@dataclass(frozen=True)
class Wanted:
    """What a body can take, for sources that draw or resample to measure.

    rows: how many examples are of use at most. size: height and width of images, of series 1 and their length. rate:
    samples per second of waves, in Hz. samples: length of a wave. Sources may give more rows than wanted, never other
    sizes.
    """

    rows: int = 2048
    size: tuple[int, int] = (64, 64)
    rate: int = 16000
    samples: int = 16000


ORDINARY = Wanted()


@dataclass(frozen=True)
class TextProxy:
    """Passages of text with a topic each.

    passages: N texts. labels: int64 (N,), codes into ``classes``. digest: sha256 over all three, the proxy's identity.
    notes: what was done to the data on the way in.
    """

    passages: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()
    modality: Literal["text"] = "text"

    def __len__(self) -> int:
        return len(self.passages)

    def take(self, rows: np.ndarray) -> Self:
        """The rows in the given order. The digest stays that of the whole: it names the proxy, not the choice."""
        return replace(self, passages=tuple(self.passages[i] for i in rows), labels=self.labels[rows])


@dataclass(frozen=True)
class ImageProxy:
    """Pictures with a class each. images: uint8 (N, 3, H, W). The rest as in ``TextProxy``."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()
    modality: Literal["image"] = "image"

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray) -> Self:
        return replace(self, images=self.images[rows], labels=self.labels[rows])


@dataclass(frozen=True)
class AudioProxy:
    """Sounds with a class each. waves: float32 (N, L) in [-1, 1]. rate: samples per second, in Hz."""

    waves: np.ndarray
    rate: int
    labels: np.ndarray
    classes: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()
    modality: Literal["audio"] = "audio"

    def __len__(self) -> int:
        return len(self.waves)

    def take(self, rows: np.ndarray) -> Self:
        return replace(self, waves=self.waves[rows], labels=self.labels[rows])


@dataclass(frozen=True)
class SeriesProxy:
    """Series with a class each. series: float32 (N, C, L). The rest as in ``TextProxy``."""

    series: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()
    modality: Literal["series"] = "series"

    def __len__(self) -> int:
        return len(self.series)

    def take(self, rows: np.ndarray) -> Self:
        return replace(self, series=self.series[rows], labels=self.labels[rows])


Proxy = TextProxy | ImageProxy | AudioProxy | SeriesProxy


class ProxySource(Protocol):
    """Where a proxy comes from. name: as given to ``--proxy``. size: how many examples and classes, in words."""

    name: str
    summary: str
    license: str
    modality: Modality
    size: str

    def load(self, wanted: Wanted = ORDINARY) -> Proxy:
        """The proxy, fit for ``wanted``. DataError for data that cannot be used, WeightsError for a download that
        cannot be had."""
        ...


def make_text_proxy(
    passages: Sequence[str], labels: Sequence[int] | np.ndarray, classes: Sequence[str], notes: Sequence[str] = ()
) -> TextProxy:
    """The record with its digest."""
    codes = np.asarray(labels, np.int64)
    _check(len(passages), codes, classes)
    content = [list(passages), codes.tolist(), list(classes)]
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return TextProxy(tuple(passages), codes, tuple(classes), digest, tuple(notes))


def make_image_proxy(
    images: np.ndarray, labels: Sequence[int] | np.ndarray, classes: Sequence[str], notes: Sequence[str] = ()
) -> ImageProxy:
    """The record with its digest. images: uint8 (N, 3, H, W)."""
    codes = np.asarray(labels, np.int64)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise DataError(f"images of a proxy are uint8 (N, 3, H, W), not {images.dtype} {images.shape}")
    _check(len(images), codes, classes)
    return ImageProxy(images, codes, tuple(classes), _digest(images, codes, classes, "image"), tuple(notes))


def make_audio_proxy(
    waves: np.ndarray, rate: int, labels: Sequence[int] | np.ndarray, classes: Sequence[str], notes: Sequence[str] = ()
) -> AudioProxy:
    """The record with its digest. waves: float32 (N, L)."""
    codes = np.asarray(labels, np.int64)
    if waves.dtype != np.float32 or waves.ndim != 2:
        raise DataError(f"waves of a proxy are float32 (N, L), not {waves.dtype} {waves.shape}")
    _check(len(waves), codes, classes)
    digest = _digest(waves, codes, classes, f"audio {int(rate)}")
    return AudioProxy(waves, int(rate), codes, tuple(classes), digest, tuple(notes))


def make_series_proxy(
    series: np.ndarray, labels: Sequence[int] | np.ndarray, classes: Sequence[str], notes: Sequence[str] = ()
) -> SeriesProxy:
    """The record with its digest. series: float32 (N, C, L)."""
    codes = np.asarray(labels, np.int64)
    if series.dtype != np.float32 or series.ndim != 3:
        raise DataError(f"series of a proxy are float32 (N, C, L), not {series.dtype} {series.shape}")
    _check(len(series), codes, classes)
    return SeriesProxy(series, codes, tuple(classes), _digest(series, codes, classes, "series"), tuple(notes))


def _check(rows: int, labels: np.ndarray, classes: Sequence[str]) -> None:
    if labels.shape != (rows,):
        raise DataError(f"a proxy of {rows} examples has labels of shape {labels.shape}", fix="give one label per row")
    if rows == 0 or len(classes) < 2:
        raise DataError(
            f"a proxy of {rows} examples in {len(classes)} classes says nothing about a body",
            fix="give at least two classes with examples each, or use --proxy auto or none",
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"labels of the proxy lie outside 0 to {len(classes) - 1}")


def _digest(array: np.ndarray, labels: np.ndarray, classes: Sequence[str], kind: str) -> str:
    head = json.dumps([kind, list(array.shape), labels.tolist(), list(classes)], ensure_ascii=True)
    found = hashlib.sha256(head.encode())
    found.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).data)
    return found.hexdigest()


def balanced(labels: np.ndarray, count: int) -> np.ndarray:
    """The first ``count`` rows when classes take turns, sorted; deterministic. labels: (N,) codes."""
    order = np.argsort(labels, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels))[:-1]])
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - starts[labels[order]]
    return np.sort(np.argsort(rank, kind="stable")[:count])
