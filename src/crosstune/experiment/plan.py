"""Who gets how much of the budget: equal time for the method and each of its controls."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import torch

from crosstune.assembly import batch, build_model, plan_model
from crosstune.backbones import Backbone
from crosstune.errors import BudgetError
from crosstune.experiment.arms import Arm, label
from crosstune.experiment.sitting import Sitting
from crosstune.methods import Method, control

REPORT_SECONDS = 3.0  # kept free for drawing the report


def plan_arms(run: Sitting, method: Method, backbone: Backbone) -> list[Arm]:
    """Limits for every arm, made once and kept with the run: a resumed run follows the same plan."""
    names = list(method.controls if run.request.controls == "auto" else run.request.controls)
    methods = {method.name: method} | {name: control(method, name) for name in names}
    if run.record["plan"] is None:
        run.record["plan"] = allot(run, methods, backbone)
        run.save()
    plan = run.record["plan"]
    return [Arm(method=methods[name], **plan["arms"][name]) for name in methods if name in plan["arms"]]


def allot(run: Sitting, methods: dict[str, Method], backbone: Backbone) -> dict[str, Any]:
    """Equal time for the method and each of its controls: unequal time would decide the comparison.

    When the time does not suffice for all, controls are dropped from the last, and the record says so.
    """
    budget, seeds = run.request.parsed_budget(), len(run.request.seeds)
    shared: dict[str, Any] = {"max_head_rows": 8192, "selection_rows": 5000, "probe_rows": 300, "after_seconds": 0.0}
    names, dropped, each, rate = list(methods), [], None, 1.0
    if budget.seconds is not None:
        rate = rows_per_second(run, backbone)
        left = budget.seconds - run.used() - REPORT_SECONDS
        each = left / (seeds * len(names))
        after = 0.5 + 2.0 * len(run.validation) / rate  # the last selection and the predictions
        while len(names) > 1 and each < 3.0 + after:
            dropped.append(names.pop())
            each = left / (seeds * len(names))
        if each < 1.0:
            raise BudgetError(
                f"budget {budget.text} ended before there was a model ({run.used():.0f} s went into preparation)",
                cause="loading the backbone and the data took all of it",
                fix=f"--budget {max(30, int(4 * run.used()))}s or more",
            )
        shared = {
            # a third of the time for features; solving grows with the square of the rows (about 2e6 pairs a second)
            "max_head_rows": int(min(8192, max(256, min(0.3 * each * rate, (0.2 * each * 2e6) ** 0.5)))),
            "head_seconds": round(0.2 * each, 3),
            "selection_rows": int(min(5000, max(100, 0.04 * each * rate))),
            "probe_rows": int(min(300, max(48, 0.02 * each * rate))),
            "after_seconds": after,
        }
    arms = {}
    first = next(iter(methods.values()))
    for name in names:
        own = methods[name].name == run.record["method"]["name"] and name == first.name
        extra = 0.0
        if own and budget.seconds is not None and methods[name].aligns and run.request.bound:
            extra = 0.5 + 2.0 * shared["probe_rows"] / rate  # the bound after fitting
        arms[name] = shared | {
            "name": name, "role": "method" if own else "control", "label": label(name, first, budget.steps is not None),
            "seconds": each, "steps": budget.steps, "after_seconds": shared["after_seconds"] + extra,
        }  # fmt: skip
    return {"arms": arms, "dropped": dropped}


def rows_per_second(run: Sitting, backbone: Backbone) -> float:
    """Measured on a throw-away model: rows of this data through embedder, body and head, forward only."""
    config = plan_model(run.train, backbone.body, tokens=run.request.tokens, linear_part=False)
    model = build_model(config, backbone.body, run.train, token_rms=0.05).eval().to(backbone.device)
    rows = np.arange(min(32, len(run.train)))
    x, lengths, _ = batch(run.train, rows, model.device)
    with torch.no_grad():
        model(x, lengths)
        times = []
        for _ in range(3):
            before = time.monotonic()
            model(x, lengths).cpu()  # a GPU only says that it has begun
            times.append(time.monotonic() - before)
    return max(1.0, len(rows) / max(1e-4, sorted(times)[1]))


def within_time(run: Sitting, arm: Arm, arms_left: int) -> Arm | None:
    """The arm with its limit cut to an equal part of the time that is really left; None (and a record of it) when a
    control has none. The machine may have slowed down since the plan was made, and the budget holds all the same."""
    seconds = run.request.parsed_budget().seconds
    if seconds is None or arm.seconds is None:
        return arm
    left = seconds - run.used() - REPORT_SECONDS
    share = min(arm.seconds, left / arms_left)
    if arm.role == "control" and share < 0.75 * arm.seconds:
        note = f"left out: {max(0.0, share):.0f} s remained where {arm.seconds:.0f} s were planned"
        entry = {"role": "control", "label": arm.label, "status": "skipped", "note": note}
        run.record["arms"].setdefault(arm.name, entry)
        run.save()
        run.event("message", text=f"{arm.label} {note}")
        return None
    return dataclasses.replace(arm, seconds=max(1.0, share))
