"""Budgets: how they are written, and how their time is shared out. No test here measures time."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from crosstune.backbones import load_backbone
from crosstune.errors import BudgetError, UsageError
from crosstune.experiment import Request
from crosstune.experiment import plan as planning
from crosstune.experiment.arms import Arm, _limit
from crosstune.experiment.budget import Budget
from crosstune.methods import Method, control, get_method
from crosstune.records import Dataset

RATE = 1000.0  # rows a second, instead of a measurement


@pytest.mark.parametrize(
    ("text", "seconds", "steps"),
    [
        ("4m", 240, None), ("90s", 90, None), ("1h30m", 5400, None), ("1.5m", 90, None), (" 2 M ", 120, None),
        ("45", 45, None), (45, 45, None), (0.5, 0.5, None), ("200steps", None, 200), ("1step", None, 1),
    ],
)  # fmt: skip
def test_a_budget_is_a_duration_or_a_number_of_steps(text: Any, seconds: float | None, steps: int | None) -> None:
    budget = Budget.parse(text)
    assert (budget.seconds, budget.steps) == (seconds, steps)


@pytest.mark.parametrize(
    "text", ["", "soon", "4 minutes", "0s", "0steps", "-3m", "m4", "4m30", "1.5steps", "nan", "1e3s"]
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="--budget 4m") as caught:
        Budget.parse(text)
    assert repr(text) in str(caught.value)


def a_run(data: Dataset, budget: str, *, used: float = 0.0, seeds: int = 1, method: str = "recraft") -> Any:
    """What the plan needs of a run, with a clock that stands still."""
    said: list[str] = []
    return SimpleNamespace(
        request=Request(budget=budget, seeds=tuple(range(seeds)), method=method), used=lambda: used,
        validation=data, train=data, record={"method": {"name": method}, "arms": {}}, said=said,
        save=lambda **changes: None, event=lambda kind, **values: said.append(values["text"]),
    )  # fmt: skip


def methods(name: str = "recraft") -> dict[str, Method]:
    method = get_method(name)
    return {name: method} | {c: control(method, c) for c in method.controls}


@pytest.fixture
def allot(waves: Dataset, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(planning, "rows_per_second", lambda run, backbone: RATE)

    def plan(budget: str, **more: Any) -> dict[str, Any]:
        return planning.allot(a_run(waves, budget, **more), methods(), load_backbone("twin-bert"))

    return plan


def test_every_arm_gets_the_same_time_and_together_they_fill_the_budget(allot: Any) -> None:
    for budget, used, seeds in (("4m", 20.0, 1), ("10m", 33.0, 3)):
        plan = allot(budget, used=used, seeds=seeds)
        assert list(plan["arms"]) == ["recraft", "no-align", "frozen", "scratch"]
        assert plan["dropped"] == []
        (each,) = {arm["seconds"] for arm in plan["arms"].values()}
        total = Budget.parse(budget).seconds
        assert total is not None
        assert 4 * seeds * each == pytest.approx(total - used - planning.REPORT_SECONDS)
        assert plan["arms"]["recraft"]["role"] == "method"
        assert {a["role"] for n, a in plan["arms"].items() if n != "recraft"} == {"control"}


def test_what_comes_after_fitting_is_kept_free(allot: Any, waves: Dataset) -> None:
    arms = allot("4m")["arms"]
    after = 0.5 + 2 * len(waves) / RATE
    assert arms["frozen"]["after_seconds"] == pytest.approx(after)
    assert arms["recraft"]["after_seconds"] > after  # it measures its bound as well
    for arm in arms.values():
        assert 0 < arm["after_seconds"] < arm["seconds"]
        assert 100 <= arm["selection_rows"] <= 5000
        assert 256 <= arm["max_head_rows"] <= 8192
        assert 48 <= arm["probe_rows"] <= 300


def test_controls_are_dropped_from_the_last(allot: Any) -> None:
    order = ["no-align", "frozen", "scratch"]
    seen = []
    for seconds in (60, 18, 15, 12, 9):
        plan = allot(f"{seconds}s")
        kept = [name for name in plan["arms"] if name != "recraft"]
        assert kept == order[: len(kept)]
        assert plan["dropped"] == order[len(kept) :][::-1]
        (each,) = {arm["seconds"] for arm in plan["arms"].values()}
        assert each * len(plan["arms"]) == pytest.approx(seconds - planning.REPORT_SECONDS)
        seen.append(len(kept))
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == 3
    assert seen[-1] == 0


def test_no_time_for_the_method_is_an_error_that_names_a_budget(allot: Any) -> None:
    with pytest.raises(BudgetError, match="10 s went into preparation") as caught:
        allot("13s", used=10.0)
    assert caught.value.exit_code == 5
    assert caught.value.fix == "--budget 40s or more"
    with pytest.raises(BudgetError, match="--budget 30s or more"):
        allot("1s", used=3.0)


def test_steps_need_no_clock(allot: Any) -> None:
    plan = allot("50steps", used=1e6, seeds=2)
    assert plan["dropped"] == []
    for arm in plan["arms"].values():
        assert arm["steps"] == 50
        assert arm["seconds"] is None
        assert arm["after_seconds"] == 0
        assert (arm["max_head_rows"], arm["selection_rows"], arm["probe_rows"]) == (8192, 5000, 300)


def an_arm(role: str, seconds: float | None = 20.0, steps: int | None = None) -> Arm:
    return Arm(name="frozen", method=get_method("frozen"), role=role, label="frozen body", seconds=seconds, steps=steps,
               after_seconds=2.0)  # fmt: skip


def test_a_plan_is_cut_to_the_time_that_is_left(waves: Dataset) -> None:
    free = planning.REPORT_SECONDS
    assert planning.within_time(a_run(waves, "100s", used=100 - free - 60), an_arm("control"), 3) == an_arm("control")
    late = planning.within_time(a_run(waves, "100s", used=100 - free - 54), an_arm("control"), 3)
    assert late is not None
    assert late.seconds == pytest.approx(18)
    # the method goes on with whatever there is, for without it there is no run
    last = planning.within_time(a_run(waves, "100s", used=120), an_arm("method"), 4)
    assert last is not None
    assert last.seconds == 1.0


def test_a_control_without_time_is_left_out_and_the_record_says_so(waves: Dataset) -> None:
    run = a_run(waves, "100s", used=100 - planning.REPORT_SECONDS - 6)
    assert planning.within_time(run, an_arm("control"), 2) is None
    entry = run.record["arms"]["frozen"]
    assert entry["status"] == "skipped"
    assert entry["note"] == "left out: 3 s remained where 20 s were planned"
    assert run.said == ["frozen body left out: 3 s remained where 20 s were planned"]
    # steps are never cut
    arm = an_arm("control", seconds=None, steps=5)
    assert planning.within_time(a_run(waves, "5steps", used=1e9), arm, 9) == arm


def test_limits_within_an_arm() -> None:
    method = get_method("recraft")
    align, fit = method.stages[1], method.stages[2]
    arm = dataclasses.replace(an_arm("method"), method=method)
    assert _limit(arm, fit, used=5.0, steps=0).seconds == pytest.approx(20 - 5 - 2)
    assert _limit(arm, align, used=1.0, steps=0).seconds == pytest.approx(0.3 * 20)
    assert _limit(arm, fit, used=19.9, steps=0).seconds == 0.5
    steps = dataclasses.replace(arm, seconds=None, steps=7)
    assert _limit(steps, fit, used=99.0, steps=0).steps == 7
    assert _limit(steps, fit, used=99.0, steps=0).seconds is None
    assert _limit(steps, align, used=99.0, steps=0).steps is None
