"""The floors of a run: started in a child process beside the preparation of the backbone, kept as they finish."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from crosstune.experiment.scoring import keep_scores, scores_of
from crosstune.experiment.sitting import Sitting, validation_rows
from crosstune.floors import FloorResult, FloorRun, default_floors

FLOOR_SHARE = 0.25  # of the budget at most


def start_floors(run: Sitting, seconds: float | None) -> FloorRun | None:
    """Start the floors that are still to do. A run of floors alone gives them its whole budget, and has them predict
    the test inputs too: the predictions lie under the seal until ``reveal``, which need not train them again."""
    alone, auto = run.request.only_floors, run.request.floors == "auto"
    limit = None if seconds is None else max(3.0, (1.0 if alone else FLOOR_SHARE) * seconds)
    names = default_floors(run.train, seconds=limit) if auto else run.request.floors
    names = tuple(n for n in names if f"floor:{n}" not in run.record["arms"])
    if not names:
        return None
    queries = {"validation": run.validation}
    if alone and run.record["task"]["rows"]["test"]:
        queries["test"] = replace(run.folder.part("test"), y=None)
    threads = (run.request.threads or 1) if alone else 1
    return FloorRun.start(run.train, queries, names, seed=run.request.seeds[0], seconds=limit, threads=threads)


def sharing(run: Sitting, floors: FloorRun | None) -> Callable[[float], None]:
    """Progress of the source features; floors that finish meanwhile are shown at once, and Ctrl-C is heard."""

    def on_share(share: float) -> None:
        run.flag.check()
        take_floors(run, floors)
        run.notify(kind="waiting", text=f"source features {share:.0%}")

    return on_share


def take_floors(run: Sitting, floors: FloorRun | None, *, wait: bool = False) -> None:
    while floors is not None:
        for result in floors.poll():
            # Ctrl-C reaches the child as well: what it breaks is not the floor's failure
            if result.status == "ok" or not run.flag.raised:
                _keep_floor(run, result)
        run.flag.check()
        if not wait or floors.done:
            return
        current = floors.current()
        run.notify(kind="waiting", text=f"floor {current[0]}: {current[1]}" if current else "floors")
        time.sleep(0.1)


def _keep_floor(run: Sitting, result: FloorResult) -> None:
    arm, seed = f"floor:{result.name}", run.request.seeds[0]
    score = None
    if result.status == "ok":
        prediction = result.predictions["validation"]
        run.folder.save_predictions(
            "validation", arm, seed, rows=validation_rows(run), prediction=prediction, data=run.validation,
            metric=run.metric.name, selected_on="train", protocol=run.protocol,
        )  # fmt: skip
        if "test" in result.predictions:
            run.folder.seal(result.name, result.predictions["test"])
        score = run.metric.score(prediction, np.asarray(run.validation.y), run.validation.units)
        keep_scores(run.record, scores_of(run.record, prediction, run.validation, "validation", arm, seed, "train"))
    run.record["arms"][arm] = {"role": "floor", **result.as_dict()}
    run.save()
    run.event("floor", arm=arm, label=result.label, status=result.status, seconds=result.seconds, score=score,
              metric=run.metric.name, note=result.note)  # fmt: skip
