"""What a pretrained body is worth: frozen features and a closed-form head on tasks it has never seen.

Validation rows alone are scored; the tests of the tasks stay closed. The head sees the body's features only, no linear
part on the raw signal, so that nothing but the body's features is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.assembly import build_model, plan_model, predict
from crosstune.backbones import Backbone
from crosstune.benchmarks.contract import get_task
from crosstune.benchmarks.showcase.common import carve, thin
from crosstune.data.formulas import Kind
from crosstune.metrics import get_metric
from crosstune.nn.embedders import PatchEmbedder
from crosstune.pretraining.photographs import photographs
from crosstune.records import Dataset
from crosstune.stages.closed_form import fit_head

SERIES = ("gun-point", "italy-power", "arrow-head", "osu-leaf", "acsf1", "basic-motions", "japanese-vowels",
          "pickup-gesture", "covid", "cardano")  # fmt: skip
OTHERS = ("digits", "breast-cancer", "wine", "iris", "diabetes")
GRIDS = ("digits", "darcy", "reaction-diffusion", "photographs")
TASKS: dict[Kind, tuple[str, ...]] = {"sequence": SERIES + OTHERS, "grid": GRIDS}
EXTRA: dict[str, Callable[[], Dataset]] = {"photographs": photographs}  # beside the suite
SHARES = (100, 30, 10)
MOST_ROWS = 2000


@dataclass(frozen=True)
class Judgement:
    """A score on the validation rows. error: of classes in [0, 1], or the root mean square error over the target's
    spread. start: what the embedder started from, "random" or "theta"."""

    task: str
    share: int
    modality: str
    metric: str
    error: float
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


def parts(data: Path, task: str, share: int) -> tuple[Dataset, Dataset]:
    """Training and validation rows of a task with a share (per cent) of its training rows."""
    if task in EXTRA:
        whole = EXTRA[task]()
        split = thin(whole, carve(whole), share)
        return whole.take(split.train), whole.take(split.validation)
    name = f"showcase/{task}" + ("" if share == 100 else f"-{share}")
    loaded = get_task(name).load(data, "clean")
    return loaded.dataset.take(loaded.split.train), loaded.dataset.take(loaded.split.validation)


def judge(
    backbone: Backbone, data: Path, *, tasks: tuple[str, ...] = SERIES + OTHERS, shares: tuple[int, ...] = SHARES,
    seeds: tuple[int, ...] = (0, 1), starts: tuple[str, ...] = ("random",),
) -> Iterator[Judgement]:  # fmt: skip
    """Scores of a frozen backbone, task by task. seeds: of the embedder; starts: "random", and "theta" for series
    and grids where the backbone's own source embedder can be read as one (seed 0 alone)."""
    rms = backbone.token_rms()
    like = "grid" if backbone.modality == "image" else backbone.modality
    for task in tasks:
        terms = None if task in EXTRA else get_task(f"showcase/{task}").protocols["clean"]
        metric = get_metric("error" if terms is None else terms.metric)
        for share in shares:
            train, validation = parts(data, task, share)
            for start in starts:
                if start == "theta" and not (train.modality == like and hasattr(backbone.source, "start")):
                    continue
                for seed in seeds if start == "random" else seeds[:1]:
                    config = plan_model(train, backbone.body, linear_part=False, embedder_seed=seed)
                    model = build_model(config, backbone.body, train, token_rms=rms)
                    if start == "theta":
                        assert isinstance(model.embedder, PatchEmbedder)
                        backbone.source.start(model.embedder)  # type: ignore[operator]
                    fit_head(model, train, max_rows=MOST_ROWS, generator=np.random.default_rng(0))
                    error = metric.score(predict(model, validation), np.asarray(validation.y), validation.units)
                    yield Judgement(task, share, train.modality, metric.name, float(error), start, seed, len(train))
