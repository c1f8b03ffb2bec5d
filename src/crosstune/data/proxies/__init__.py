"""Labelled source data for pretrained bodies, available offline.

A source proxy stands in for the data a body was pretrained on. Each module of this package that defines ``PROXY``
takes part (see ``crosstune.discovery``): an object with ``name``, ``summary``, ``license`` and ``load()``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TextProxy:
    """Passages of text with a topic each.

    passages: N texts. labels: int64 (N,), codes into ``classes``. digest: sha256 over all three, the proxy's identity.
    """

    passages: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.passages)


def make_text_proxy(passages: list[str], labels: list[int], classes: list[str]) -> TextProxy:
    """The record with its digest."""
    text = json.dumps([passages, labels, classes], ensure_ascii=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return TextProxy(tuple(passages), np.array(labels, np.int64), tuple(classes), digest)
