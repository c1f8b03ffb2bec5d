"""Putting a model together for a data set, and moving rows in and out of it. Shared by stages and runs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crosstune.backbones import Body
from crosstune.data.lazy import is_lazy, sample, spaced_rows
from crosstune.errors import TaskError
from crosstune.nn.memory import is_out_of_memory, release
from crosstune.nn.model import CrossModalModel, Layers, ModelConfig
from crosstune.nn.patching import plan_patches
from crosstune.records import FIELD_KINDS, Dataset

# Tokens a body sees per sample unless told otherwise: attention is cheap at this length, and windows that are too
# short lose their content. Fields get more, since every token paints its own window.
DEFAULT_TOKENS = {"series": 32, "grid": 49, "volume": 64}
FIELD_TOKENS = {"series": 64, "grid": 196}
T = TypeVar("T")


def default_tokens(dataset: Dataset, body: Body | None = None) -> int:
    """Tokens per sample for data of this shape; a hierarchical body merges them and gets more."""
    table = FIELD_TOKENS if dataset.kind in FIELD_KINDS else DEFAULT_TOKENS
    factor = 1 if body is None else body.grid_tokens
    if dataset.kind in FIELD_KINDS or dataset.modality == "series":
        factor = min(factor, 4)
    return table.get(dataset.modality, 64) * factor


def plan_model(
    train: Dataset, body: Body, *, tokens: int | None = None, linear_part: bool = True,
    layers: Layers = "all", embedder_seed: int = 0,
) -> ModelConfig:  # fmt: skip
    """The model's configuration for this data; raises DataError when it cannot fit the body."""
    assert train.kind is not None
    assert train.y is not None
    shape = tuple(train.X.shape[1:])
    kind = train.kind
    out_size: tuple[int, ...] = ()
    if kind in ("classification", "segmentation"):
        assert train.classes is not None
        outputs = len(train.classes)
    else:
        outputs = int(train.y.shape[1])
    if kind in FIELD_KINDS:
        check_field(train)
        out_size = _extent(train)
    window: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    pool = 1
    categories = {int(c): max(1, len(names)) for c, names in train.categories.items()}
    if train.is_table and (shape[0] > body.limit(1) or (not categories and shape[0] > 256)):
        # more columns than tokens: the columns become a series and are read in windows
        raise_too_wide(shape[0], body.limit(1))
    if not train.is_table:
        size = shape[1:]
        plan = plan_patches(
            size, tokens=tokens or default_tokens(train, body), limit=body.limit(len(size)) - 2,
            channels=shape[0] * (2 if bool(np.isnan(train.X).any()) else 1),
        )  # fmt: skip
        window, stride, pool = plan.window, plan.stride, plan.pool
    rank = 0
    if kind in FIELD_KINDS and train.lengths is not None:
        linear_part = False  # it maps a whole sample to a whole field, and these have no common length
    if kind in FIELD_KINDS and linear_part:
        rank = int(min(256, len(train)))
    return ModelConfig(
        kind=kind,
        shape=shape,
        outputs=outputs,
        out_size=out_size,
        ragged=train.lengths is not None,
        missing=bool(np.isnan(sample(train.X)).any()),
        categories=categories,
        window=window,
        stride=stride,
        pool=pool,
        linear_part=linear_part,
        layers=layers,
        rank=rank,
        embedder_seed=embedder_seed,
    )


def layout(train: Dataset, config: ModelConfig, body: Body) -> list[str]:
    """In words: how rows of these data become tokens of this body, and what it costs in resolution."""
    shape = config.shape
    if config.is_table:
        text = f"one token for each of {shape[0]} columns"
        return [text + (f", {len(config.categories)} of them categories" if config.categories else "")]
    plan = config.plan
    size, window, stride = ("x".join(str(n) for n in values) for values in (shape[1:], plan.window, plan.stride))
    channels = f"{shape[0]} channel{'s' if shape[0] > 1 else ''}"
    lines = [f"{plan.tokens} tokens: windows of {window} every {stride} samples over {size}, {channels} at once"]
    if plan.pool > 1:
        lines.append(f"{plan.pool} samples along each axis are averaged within a window, beside their spread: windows "
                     f"this wide over {channels} would make too many weights; --tokens N makes them finer")  # fmt: skip
    limit = body.limit(len(shape) - 1)
    full = math.prod(shape[1:])
    if full > limit:
        lines.append(f"one token per sample would be {full:,}, the body takes {limit:,}: windows keep all samples")
    if body.native_grid is not None and len(shape) == 3:
        native = "x".join(str(n) for n in body.native_grid)
        lines.append(f"positions are interpolated from the body's {native} grid to {'x'.join(map(str, plan.grid))}; "
                     "the data keep their own resolution")  # fmt: skip
    if config.ragged and train.lengths is not None:
        low, high = int(train.lengths.min()), int(train.lengths.max())
        few, most = plan.grid_for((low,))[0], plan.grid_for((high,))[0]
        lines.append(f"series of {low} to {high} samples take {few} to {most} tokens; padding is masked")
    return lines


def _extent(train: Dataset) -> tuple[int, ...]:
    """Spatial extent of the target: of fields (n, C, ...) and of class maps (n, ...)."""
    assert train.y is not None
    return tuple(train.y.shape[2 if train.kind == "dense" else 1 :])


def check_field(train: Dataset) -> None:
    """TaskError for fields and class maps that the head cannot paint."""
    given, wanted = train.X.shape[2:], _extent(train)
    if len(given) != len(wanted) or len(wanted) not in (1, 2):
        raise TaskError(
            f"{train.kind} targets of extent {wanted} from samples of extent {given} have no model",
            cause="targets of positions need the axes of the input: series to series (L) or grid to grid (H, W)",
            fix="bring both to one or two axes (slices of a volume as rows), or flatten y and use --task regression",
        )
    if train.lengths is not None and (train.kind == "dense" or given != wanted):
        raise TaskError(
            f"{train.kind} targets over series of different lengths have no model",
            cause="a field's loss and score would count the padding"
            if train.kind == "dense"
            else "only maps with a class for every sample of their series can differ in length",
            fix="cut the series into windows of one length, or resample them to one length",
        )


def raise_too_wide(columns: int, limit: int) -> None:
    raise TaskError(
        f"the table has {columns} columns, more than the body's {min(limit, 256)} tokens",
        cause="one token per column does not fit",
        fix="give ordered columns (spectra, series) as an array of shape (rows, 1, columns), or drop columns",
    )


def build_model(config: ModelConfig, body: Body, train: Dataset, *, token_rms: float) -> CrossModalModel:
    """A fresh model on a copy of ``body``: normaliser and target scaler fitted on the training rows, embedder
    calibrated to the source tokens' root mean square (a single number; nothing else of the source is used)."""
    model = CrossModalModel(config, copy.deepcopy(body))
    categorical = tuple(config.categories)
    if is_lazy(train.X):  # statistics of a sample of rows, evenly spaced
        rows = spaced_rows(train.X)
        model.normaliser.fit(train.X[rows], None if train.lengths is None else train.lengths[rows], skip=categorical)
    else:
        model.normaliser.fit(train.X, train.lengths, skip=categorical)
    if model.scaler is not None:
        assert train.y is not None
        model.scaler.fit(sample(train.y))
    rows = np.arange(len(train))[:: max(1, len(train) // 256)][:256]
    x, lengths, _ = batch(train, rows)
    model.embedder.calibrate(model.normaliser(x), lengths, rms=token_rms)
    return model


def batch(
    dataset: Dataset, rows: np.ndarray, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Rows as tensors (x, lengths, y) on a device; ragged batches are cut to their longest row."""
    x = dataset.X[rows]
    lengths = None
    if dataset.lengths is not None:
        kept = dataset.lengths[rows]
        x = x[..., : max(1, int(kept.max()))]
        lengths = torch.from_numpy(np.ascontiguousarray(kept)).long()
    target = None if dataset.y is None else dataset.y[rows]
    if target is not None and lengths is not None and dataset.kind in FIELD_KINDS:
        target = target[..., : x.shape[-1]]
    y = None if target is None else torch.from_numpy(np.ascontiguousarray(target)).to(device)
    values = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(device)
    return values, None if lengths is None else lengths.to(device), y


def chunks(rows: np.ndarray | int, size: int) -> Iterator[np.ndarray]:
    """Consecutive pieces of at most ``size`` rows."""
    rows = np.arange(rows) if isinstance(rows, int) else rows
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def in_pieces(rows: np.ndarray | int, size: int, work: Callable[[np.ndarray], T]) -> Iterator[tuple[np.ndarray, T]]:
    """Consecutive pieces of at most ``size`` rows and what ``work`` makes of each. A piece too large for the memory is
    tried again at half its size, and so are those behind it."""
    rows, at = np.arange(rows) if isinstance(rows, int) else rows, 0
    while at < len(rows):
        some = rows[at : at + size]
        try:
            done = work(some)
        except (RuntimeError, MemoryError) as problem:
            if len(some) == 1 or not is_out_of_memory(problem):
                raise
            size = -(-len(some) // 2)
        else:
            yield some, done
            at += len(some)
            continue
        release()


@torch.no_grad()
def predict(
    model: CrossModalModel, dataset: Dataset, *, batch_size: int = 64, on_share: Callable[[float], None] | None = None
) -> np.ndarray:
    """Canonical predictions (records.py) for every row, float64, in evaluation mode. ``on_share`` hears how far."""
    parts = []
    for rows, out in _outputs(model, dataset, batch_size):
        parts.append(model.canonical(out).numpy())
        if on_share is not None:
            on_share((int(rows[-1]) + 1) / len(dataset))
    if not parts:
        return np.zeros((0, model.config.outputs))
    return np.concatenate(parts)


def whole(model: CrossModalModel, out: Tensor, dataset: Dataset) -> Tensor:
    """Outputs of ragged class maps (B, K, l) with zero logits up to the longest series there is; others as they are."""
    if model.config.kind != "segmentation" or dataset.lengths is None:
        return out
    return F.pad(out, (0, dataset.X.shape[-1] - out.shape[-1]))


@torch.no_grad()
def outputs(model: CrossModalModel, dataset: Dataset, *, batch_size: int = 64) -> Tensor:
    """Raw outputs (logits, standardised values or fields) for every row, on the CPU; see ``whole`` for ragged class
    maps."""
    return torch.cat([out for _, out in _outputs(model, dataset, batch_size)])


def _outputs(model: CrossModalModel, dataset: Dataset, batch_size: int) -> Iterator[tuple[np.ndarray, Tensor]]:
    def work(rows: np.ndarray) -> Tensor:
        x, lengths, _ = batch(dataset, rows, model.device)
        return whole(model, model(x, lengths).cpu(), dataset)

    was_training = model.training
    model.eval()
    yield from in_pieces(len(dataset), batch_size, work)
    model.train(was_training)
