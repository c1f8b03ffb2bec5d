"""The scores that run.json keeps: the metric that decides, the further ones of a task's protocol, and figures that need
more than one prediction per row, such as a rollout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from crosstune.assembly import predict
from crosstune.benchmarks.contract import Predict
from crosstune.errors import CrosstuneError, DataError
from crosstune.experiment.binding import load_task
from crosstune.experiment.request import Request
from crosstune.metrics import MeanMetric, get_metric
from crosstune.metrics.bootstrap import interval
from crosstune.nn.model import CrossModalModel
from crosstune.records import Dataset, Score, SplitName

MOST_VALUES = 200_000  # predicted values up to which an interval costs no time worth mentioning


def scores_of(
    record: dict[str, Any], prediction: np.ndarray, data: Dataset, split: SplitName, arm: str, seed: int,
    selected_on: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """The run's metric and its protocol's further ones for one arm, as entries of run.json's ``scores``. One that is
    undefined for these rows has no value and says why; one that leaves labels or classes out says which. Intervals
    (bootstrap over rows) only where they are cheap."""
    protocol = record["task"].get("protocol", "clean")
    found = []
    for name in dict.fromkeys([record["task"]["metric"], *(record["task"].get("also") or ())]):
        score = Score(float("nan"), name, split, selected_on, seed, protocol, rows=len(data))
        note = None
        metric, target = get_metric(name), np.asarray(data.y)
        try:
            score = replace(score, value=metric.score(prediction, target, data.units))
            note = metric.remark(prediction, target, data.units)
            if isinstance(metric, MeanMetric) or prediction.size <= MOST_VALUES:
                low, high = interval(metric, prediction, target, data.units, seed=0)
                score = replace(score, low=low, high=high)
        except DataError as problem:
            note = problem.problem
        found.append(_entry(arm, score, note))
    return found


def own_scores(
    request: Request, record: dict[str, Any], predictions: Predict, split: SplitName, arm: str, seed: int,
    notify: Callable[..., None],
) -> list[dict[str, Any]]:  # fmt: skip
    """The task's own figures of one arm (``TaskData.evaluate``). They need the task's files: where those have gone
    since, the entry has no value and says so, and the run goes on."""
    task = record["task"]
    if request.task is None or not task.get("evaluates"):
        return []
    selected_on, protocol = task.get("selected_on", "validation"), task.get("protocol", "clean")
    notify(kind="waiting", text=f"{arm}: the task's own figures on {split}")
    try:
        data = load_task(request.task, seed=request.split_seed)
    except CrosstuneError as problem:
        notify(kind="message", text=f"the task's own figures cannot be computed: {problem.problem}")
        score = Score(float("nan"), "own figures", split, selected_on, seed, protocol)
        return [_entry(arm, score, problem.problem)]
    assert data.evaluate is not None
    figures = data.evaluate(predictions, split)
    return [
        _entry(arm, Score(float(value), name, split, selected_on, seed, protocol)) for name, value in figures.items()
    ]


def predictor(model: CrossModalModel, like: Dataset) -> Predict:
    """Inputs (n, C, ...) in raw units to canonical predictions of a model. like: data of the same columns and kind."""
    empty = {"y": None, "lengths": None, "groups": None, "time": None, "units": None}

    def of(inputs: np.ndarray) -> np.ndarray:
        return predict(model, replace(like, X=np.asarray(inputs, dtype=np.float32), **empty))  # type: ignore[arg-type]

    return of


def keep_scores(record: dict[str, Any], scores: list[dict[str, Any]]) -> None:
    """Add to run.json's ``scores``; an arm scored again on the same split replaces what was there."""
    key = lambda e: (e["arm"], e["seed"], e["split"], e["metric"])  # noqa: E731
    new = {key(e) for e in scores}
    record["scores"] = [e for e in record.get("scores") or [] if key(e) not in new] + scores


def _entry(arm: str, score: Score, note: str | None = None) -> dict[str, Any]:
    return {"arm": arm, **score.as_dict()} | ({"note": note} if note else {})
