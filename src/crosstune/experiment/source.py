"""The source bank: the labelled proxy seen through the frozen pretrained body, computed once and cached."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save

from crosstune.backbones import Backbone
from crosstune.discovery import pick
from crosstune.runs.files import write_bytes
from crosstune.stages.source_head import mean_hidden
from crosstune.stages.state import SourceBank

PASSAGES = 2048
TOKENS = 32


def cache_folder() -> Path:
    """CROSSTUNE_CACHE, else XDG_CACHE_HOME/crosstune, else ~/.cache/crosstune."""
    if os.environ.get("CROSSTUNE_CACHE"):
        return Path(os.environ["CROSSTUNE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "crosstune"


def _balanced(labels: np.ndarray, count: int) -> np.ndarray:
    """The first ``count`` rows when classes take turns; deterministic."""
    order = np.argsort(labels, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels))[:-1]])
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - starts[labels[order]]
    return np.sort(np.argsort(rank, kind="stable")[:count])


def source_bank(
    backbone: Backbone, proxy_name: str, *, passages: int = PASSAGES, tokens: int = TOKENS,
    on_share: Callable[[float], None] | None = None,
) -> SourceBank:  # fmt: skip
    """Tokens, features and labels of the proxy. Only the features are cached (a few MB); tokens are a look-up."""
    proxy = pick("crosstune.data.proxies", "PROXY", proxy_name, "source proxy").load()
    rows = _balanced(np.asarray(proxy.labels), passages)
    texts = [proxy.passages[i] for i in rows]
    labels = torch.from_numpy(np.asarray(proxy.labels)[rows]).long()
    inputs = backbone.encode(texts, max_tokens=tokens)
    embedded, mask, grid = backbone.source_tokens(inputs)
    info = backbone.info
    key = f"{info.name} {info.weights} {info.seed} {info.sha256} {proxy.digest} {passages} {tokens} 1"
    path = cache_folder() / "features" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
    hidden = _cached(path, (len(texts), info.hidden))
    if hidden is None:
        hidden = mean_hidden(backbone.body, embedded, mask, grid, on_share=on_share)
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
            write_bytes(path, save({"hidden": hidden.contiguous()}))
    return SourceBank(
        tokens=embedded, mask=mask, hidden=hidden, labels=labels, holdout=torch.zeros(len(labels), dtype=torch.bool),
        classes=tuple(proxy.classes), name=proxy_name, grid=grid,
    )  # fmt: skip


def _cached(path: Path, shape: tuple[int, ...]) -> torch.Tensor | None:
    if not path.exists():
        return None
    try:
        hidden = load_file(path)["hidden"]
    except Exception:  # a damaged cache file is the same as none
        return None
    return hidden if tuple(hidden.shape) == shape else None
