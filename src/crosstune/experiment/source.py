"""The source bank: the labelled proxy seen through the frozen pretrained body, computed once and cached.

What is kept. Hidden means and token means of every row: a few MB. Tokens, which alignment draws from, are a sample
(2,048 images of 196 tokens of width 768 would be 1.2 GB): at most ``MOST_VALUES`` numbers (128 MiB), of texts from
every row, of images and sounds from ``TOKEN_ROWS`` rows. Stages that show the body source samples ask for ``whole``
rows: fewer of them then, with every token they have. Only the means are cached; the tokens are made again.

How many rows. All 2,048 for small bodies; fewer, at least 256, where these would cost more than ``WORK`` operations
(two per parameter and token): about a minute of two CPU cores with nothing else to do. On an accelerator always 2,048.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from crosstune.backbones import Backbone
from crosstune.backbones.load import own_proxy
from crosstune.data.proxies import Proxy, ProxySource, balanced, choose
from crosstune.experiment.native import tokens_in_batches, typical_tokens, wanted
from crosstune.nn.heads import token_means
from crosstune.runs.files import write_bytes
from crosstune.stages.source_head import mean_hidden
from crosstune.stages.state import SourceBank

ROWS, FEWEST_ROWS = 2048, 256
TOKENS = 32  # of a text
TOKEN_ROWS = 512
MOST_VALUES = 2**25
PER_CLASS = 4  # whole rows: of so few classes that each has as many
WORK = 4e12
FORMAT = 2  # of the cache


def cache_folder() -> Path:
    """CROSSTUNE_CACHE, else XDG_CACHE_HOME/crosstune, else ~/.cache/crosstune."""
    if os.environ.get("CROSSTUNE_CACHE"):
        return Path(os.environ["CROSSTUNE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "crosstune"


@dataclass(frozen=True)
class Origin:
    """Where a bank came from, as it goes into a run's record. name: None without a labelled proxy."""

    asked: str
    name: str | None
    modality: str
    digest: str | None
    rows: int
    classes: int
    license: str | None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return dict(self.__dict__) | {"notes": list(self.notes)}


def rows_for(backbone: Backbone, tokens: int = TOKENS) -> int:
    """How many rows of a proxy the body is shown: see the head of this file."""
    body = backbone.body
    if next(iter(body.parameters())).device.type != "cpu":
        return ROWS
    if backbone.modality == "text":
        length = tokens
    elif backbone.modality == "image":
        length = int(np.prod(body.native_grid or (14, 14))) // body.grid_tokens
    elif backbone.modality == "series":
        length = backbone.native.size[1] // 8
    else:
        length = 50  # a second of sound
    work = 2.0 * backbone.info.parameters * max(1, length)
    return int(min(ROWS, max(FEWEST_ROWS, WORK // work)))


def source_bank(
    backbone: Backbone, proxy: str = "auto", *, rows: int | None = None, tokens: int = TOKENS,
    on_share: Callable[[float], None] | None = None,
) -> SourceBank:  # fmt: skip
    """The bank of a proxy for a body; see ``source_bank_and_origin``."""
    return source_bank_and_origin(backbone, proxy, rows=rows, tokens=tokens, on_share=on_share)[0]


def source_bank_and_origin(
    backbone: Backbone, proxy: str = "auto", *, rows: int | None = None, tokens: int = TOKENS,
    on_share: Callable[[float], None] | None = None, whole: bool = False,
) -> tuple[SourceBank, Origin]:  # fmt: skip
    """Tokens, features and labels of the proxy, and where they came from.

    proxy: "auto" (by the body's modality), "none", a name, or a path; "none" gives the bank without labels. rows: at
    most so many, None = ``rows_for``. tokens: length of texts. ``on_share`` hears how far the body is. whole: keep
    every token of fewer rows instead of some tokens of many. Raises UsageError for a proxy of another modality,
    DataError for files that cannot be used, WeightsError for a download that cannot be had.
    """
    source = choose(proxy, backbone.modality, own_proxy(backbone.info.name))
    if source is None:
        return _unlabelled(backbone), Origin(proxy, None, backbone.modality, None, 0, 0, None)
    few = rows is None and rows_for(backbone, tokens) < ROWS
    rows = rows or rows_for(backbone, tokens)
    found = source.load(wanted(backbone, rows))
    found = found.take(balanced(found.labels, rows))
    bank = _bank(backbone, source, found, tokens, on_share, whole)
    notes = list(found.notes)
    if few and len(found) == rows:
        notes.append(f"{rows:,} examples are used: more would take this body too long on a CPU")
    what = "samples are whole:" if whole else "alignment draws from"
    notes.append(f"{what} {int(bank.mask.sum()):,} tokens of {len(bank.tokens):,} examples")
    origin = Origin(proxy, source.name, source.modality, found.digest, len(found), len(found.classes), source.license,
                    tuple(notes))  # fmt: skip
    return bank, origin


def _bank(
    backbone: Backbone, source: ProxySource, proxy: Proxy, tokens: int, on_share: Callable[[float], None] | None,
    whole: bool,
) -> SourceBank:  # fmt: skip
    path = cache_folder() / "features" / f"{_key(backbone, proxy, tokens)}.safetensors"
    n = len(proxy)
    means = _cached(path, {"hidden": (n, backbone.info.hidden), "means": (n, backbone.info.width)})
    if means is None:
        means = _means(backbone, proxy, tokens, on_share)
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
            write_bytes(path, save(means))
    if whole:
        seen = whole_rows(proxy.labels, MOST_VALUES // _values_per_row(backbone, proxy, tokens))
    else:
        seen = np.arange(n) if proxy.modality == "text" else balanced(proxy.labels, TOKEN_ROWS)
    cloud, mask, grid = _sample(backbone, proxy.take(seen), tokens)
    return SourceBank(
        tokens=cloud, mask=mask, hidden=means["hidden"], labels=torch.from_numpy(proxy.labels).long(),
        holdout=torch.zeros(n, dtype=torch.bool), classes=tuple(proxy.classes), name=source.name, grid=grid,
        rows=None if len(seen) == n else torch.from_numpy(seen), means=means["means"],
    )  # fmt: skip


def whole_rows(labels: np.ndarray, room: int) -> np.ndarray:
    """At most ``room`` rows, sorted, of as many classes as leave ``PER_CLASS`` rows to each, or what they have, two at
    least; spread evenly over the list of classes. Rows of one class are what features are compared in. labels: (N,)
    codes."""
    present = np.unique(labels)
    each = max(2, min(PER_CLASS, len(labels) // len(present)))
    kinds = min(len(present), max(2, room // each))
    wanted = present[np.linspace(0, len(present) - 1, kinds).round().astype(int)]
    rows = np.flatnonzero(np.isin(labels, wanted))
    return rows[balanced(labels[rows], room)]


def _values_per_row(backbone: Backbone, proxy: Proxy, tokens: int) -> int:
    one, _, _ = next(tokens_in_batches(backbone, proxy.take(np.arange(1)), tokens=tokens))
    return one.numel()


def _means(
    backbone: Backbone, proxy: Proxy, tokens: int, on_share: Callable[[float], None] | None
) -> dict[str, Tensor]:
    """Means over the tokens of every row, of the body's last layer and of theta."""
    hidden, means, done = [], [], 0
    for some, mask, grid in tokens_in_batches(backbone, proxy, tokens=tokens):
        hidden.append(mean_hidden(backbone.body, some, mask, grid).cpu())
        means.append(token_means(some, mask).cpu())
        done += len(some)
        if on_share is not None:
            on_share(done / len(proxy))
    return {"hidden": torch.cat(hidden).contiguous(), "means": torch.cat(means).contiguous()}


def _sample(backbone: Backbone, proxy: Proxy, tokens: int) -> tuple[Tensor, Tensor, tuple[int, ...] | None]:
    """Of every row the same number of tokens: all, if memory allows, else a random choice in their order; with their
    mask and the grid of a whole row. Always computed in the same batches, so that a cache changes no bit."""
    rng = np.random.default_rng(0)
    kept, masks, grid = [], [], None
    for some, mask, grid in tokens_in_batches(backbone, proxy, tokens=tokens):  # noqa: B007 (the last is given back)
        room = max(1, MOST_VALUES // (len(proxy) * some.shape[2]))
        if room < some.shape[1]:
            # the valid tokens of a row go before its padding
            rank = torch.from_numpy(rng.random(tuple(mask.shape))) + (~mask).cpu().double()
            chosen = rank.argsort(1)[:, :room].sort(1).values.to(mask.device)
            some = some.gather(1, chosen[:, :, None].expand(-1, -1, some.shape[2]))
            mask = mask.gather(1, chosen)
        kept.append(some.cpu())
        masks.append(mask.cpu())
    return torch.cat(kept), torch.cat(masks), grid


def _key(backbone: Backbone, proxy: Proxy, tokens: int) -> str:
    """What decides the means: weights, their arrangement, the normalisation of inputs, and the examples."""
    info = backbone.info
    body = json.dumps(backbone.body.config_dict(), sort_keys=True, default=str)
    examples = f"{proxy.digest} {hashlib.sha256(proxy.labels.tobytes()).hexdigest()} {len(proxy)} {tokens}"
    text = f"{info.name} {info.weights} {info.seed} {info.sha256} {body} {backbone.native} {examples} {FORMAT}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _cached(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor] | None:
    if not path.exists():
        return None
    try:
        found = load_file(path)
    except Exception:  # a damaged cache file is the same as none
        return None
    return found if {name: tuple(t.shape) for name, t in found.items()} == shapes else None


def _unlabelled(backbone: Backbone, together: int = 16) -> SourceBank:
    """The bank without a proxy: typical tokens in groups, as if of so many short examples."""
    points = typical_tokens(backbone, most=MOST_VALUES).cpu()
    together = min(together, len(points))
    points = points[: len(points) // together * together].reshape(-1, together, points.shape[1])
    return SourceBank(
        tokens=points, mask=torch.ones(points.shape[:2], dtype=torch.bool), hidden=torch.zeros(0, backbone.info.hidden),
        labels=torch.zeros(0, dtype=torch.long), holdout=torch.zeros(0, dtype=torch.bool), classes=(), name="none",
    )  # fmt: skip
