"""What a pretrained body is worth: frozen features and a closed-form head on tasks it has never seen.

The tests of the tasks stay closed: rows that are not of them are divided anew into as many training and validation rows
as the task has, several times, because single validation parts are too small to tell bodies apart. The head sees the
body's features only, no linear part on the raw signal, so that nothing but the body's features is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crosstune.assembly import build_model, plan_model, predict
from crosstune.backbones import Backbone
from crosstune.benchmarks.contract import get_task
from crosstune.benchmarks.showcase.common import carve, thin
from crosstune.data.formulas import Kind
from crosstune.metrics import Metric, get_metric
from crosstune.nn.heads import PooledHead
from crosstune.nn.model import CrossModalModel
from crosstune.pretraining.photographs import photographs
from crosstune.records import FIELD_KINDS, Dataset, Split
from crosstune.stages.closed_form import fit_head, fit_head_on_features, pooled_features
from crosstune.stages.start import can_start

SERIES = ("gun-point", "italy-power", "arrow-head", "osu-leaf", "acsf1", "basic-motions", "japanese-vowels",
          "pickup-gesture", "covid", "cardano")  # fmt: skip
OTHERS = ("digits", "breast-cancer", "wine", "iris", "diabetes")
GRIDS = ("digits", "darcy", "reaction-diffusion", "photographs")
TASKS: dict[Kind, tuple[str, ...]] = {"sequence": SERIES + OTHERS, "grid": GRIDS}
EXTRA: dict[str, Callable[[], Dataset]] = {"photographs": photographs}  # beside the suite
SHARES = (100, 30, 10)
MOST_ROWS = 2000
DRAWS = 12


@dataclass(frozen=True)
class Judgement:
    """A score on validation rows. error: of classes in [0, 1], or the root mean square error over the target's spread;
    mean over ``draws`` divisions of the rows, whose standard deviation is ``spread``. start: what the embedder started
    from, "random" or "theta"."""

    task: str
    share: int
    modality: str
    metric: str
    error: float
    spread: float
    draws: int
    start: str
    seed: int
    rows: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def prepare(data: Path, tasks: tuple[str, ...] = SERIES + OTHERS) -> None:
    """Write the data of the tasks that are not there yet."""
    for name in tasks:
        if name not in EXTRA and not (data / f"{name}.npz").exists():
            get_task(f"showcase/{name}").generate(data)


def rows_of(data: Path, task: str) -> tuple[Dataset, Split]:
    """A task's data and its split, whole."""
    if task in EXTRA:
        whole = EXTRA[task]()
        return whole, carve(whole)
    loaded = get_task(f"showcase/{task}").load(data, "clean")
    return loaded.dataset, loaded.split


def metric_of(task: str) -> Metric:
    """What a task is judged by."""
    return get_metric("error" if task in EXTRA else get_task(f"showcase/{task}").protocols["clean"].metric)


def divisions(dataset: Dataset, split: Split, share: int, draws: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Training rows, of which a share (per cent) is kept, and validation rows. The first is the task's own; the others
    divide the same rows anew. Test rows are in none."""
    open_rows = np.concatenate([split.train, split.validation])
    for draw in range(draws):
        parts = split
        if draw:
            order = np.random.Generator(np.random.PCG64(draw)).permutation(open_rows)
            train, validation = np.sort(order[: len(split.train)]), np.sort(order[len(split.train) :])
            parts = replace(split, train=train, validation=validation)
        thinned = thin(dataset, parts, share)
        yield thinned.train, thinned.validation


def judge(
    backbone: Backbone, data: Path, *, tasks: tuple[str, ...] = SERIES + OTHERS, shares: tuple[int, ...] = SHARES,
    seeds: tuple[int, ...] = (0, 1), starts: tuple[str, ...] = ("random",), draws: int = DRAWS,
) -> Iterator[Judgement]:  # fmt: skip
    """Scores of a frozen backbone, task by task. seeds: of the embedder; starts: "random", and "theta" (the first seed
    alone) where the backbone's own source embedder can be read as one. draws: divisions of the rows; fields, whose
    heads take long, have the task's own alone. Scales of channels are those of all rows but the test's, for every
    body."""
    rms = backbone.token_rms()
    for task in tasks:
        dataset, split = rows_of(data, task)
        metric = metric_of(task)
        seen = dataset.take(np.sort(np.concatenate([split.train, split.validation])))
        for start in starts:
            for seed in seeds if start == "random" else seeds[:1]:
                config = plan_model(seen, backbone.body, linear_part=False, embedder_seed=seed)
                model = build_model(config, backbone.body, seen, token_rms=rms).eval()
                if start == "theta":
                    if not can_start(backbone, model):
                        continue
                    backbone.source.start(model.embedder)  # type: ignore[operator]
                several = 1 if dataset.kind in FIELD_KINDS else draws
                features = None if several == 1 else pooled_features(model, dataset, np.arange(len(dataset)))
                for share in shares:
                    errors, rows = [], 0
                    for train, validation in divisions(dataset, split, share, several):
                        rows = len(train)
                        if features is None:
                            errors.append(_fitted(model, dataset, train, validation, metric))
                        else:
                            errors.append(_solved(model, features, dataset, train, validation, metric))
                    yield Judgement(task, share, dataset.modality, metric.name, float(np.mean(errors)),
                                    float(np.std(errors)), several, start, seed, rows)  # fmt: skip


def _fitted(model: CrossModalModel, data: Dataset, train: np.ndarray, validation: np.ndarray, metric: Metric) -> float:
    fit_head(model, data.take(train), max_rows=MOST_ROWS, generator=np.random.default_rng(0))
    part = data.take(validation)
    return metric.score(predict(model, part), np.asarray(part.y), part.units)


@torch.no_grad()
def _solved(
    model: CrossModalModel, features: Tensor, data: Dataset, train: np.ndarray, validation: np.ndarray, metric: Metric
) -> float:
    """The same from features that are there already."""
    assert isinstance(model.head, PooledHead)
    fit_head_on_features(model, features[train], data.take(train))
    outputs = model.head.linear(model.head.features(features[validation]))
    part = data.take(validation)
    return metric.score(model.canonical(outputs).numpy(), np.asarray(part.y), part.units)
