"""The verdict's rules on predictions whose outcome is known by construction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crosstune import report
from crosstune.errors import RunError

from .writer import RunWriter


def labels(n: int, wrong: int, *, start: int = 0) -> np.ndarray:
    """Probabilities of two classes for targets that are all 0, with ``wrong`` rows from ``start`` on mistaken."""
    p = np.tile([0.9, 0.1], (n, 1))
    p[start : start + wrong] = [0.2, 0.8]
    return p


def judged(folder: Path, n: int, *, metric: str = "error", direction: str = "lower", **wrong) -> report.Summary:
    """A run in which each arm mistakes the given number of the n rows (a pair: number and first row; None: nothing)."""
    arms = {}
    for name, mistakes in wrong.items():
        arm = name.replace("floor_", "floor:").replace("_", "-")
        count, start = mistakes if isinstance(mistakes, tuple) else (mistakes, 0)
        arms[arm] = None if count is None else {0: labels(n, count, start=start)}
    target = np.zeros(n, dtype=int)
    if metric != "error":
        target[::2] = 1
        arms = {a: v and {0: np.where(target[:, None] == 1, v[0][:, ::-1], v[0])} for a, v in arms.items()}
    writer = RunWriter(folder, "classification", metric, target, arms, classes=["no", "yes"], direction=direction)
    return report.summarise(writer.write())


def test_a_clear_win_is_worth_it(tmp_path):
    verdict = judged(tmp_path, 200, recraft=10, no_align=40, floor_linear=60, floor_majority=120).verdict
    assert (verdict.answer, verdict.use) == ("use", "recraft")
    assert verdict.headline.startswith("Use recraft, it was worth it: validation error 0.050 against 0.300")
    assert verdict.alignment.value == pytest.approx(0.15)
    assert verdict.alignment.method_better


def test_a_gain_that_random_weights_have_too_is_not_credited_to_pretraining(tmp_path):
    same = judged(tmp_path / "same", 200, recraft=10, scratch=(10, 5), floor_linear=60).verdict
    assert (same.answer, same.use) == ("use", "recraft")
    assert same.headline.startswith("Use recraft, though the gain is not the pretraining's (random weights do as well)")
    better = judged(tmp_path / "better", 200, recraft=10, scratch=50, floor_linear=60).verdict
    assert better.headline.startswith("Use recraft, it was worth it")


def test_a_clear_loss_says_use_the_floor_instead(tmp_path):
    verdict = judged(tmp_path, 200, recraft=60, floor_linear=10).verdict
    assert (verdict.answer, verdict.use) == ("use-other", "floor:linear")
    assert verdict.headline == "Use linear model instead: validation error 0.050 against 0.300 for recraft."
    assert "The model saved in this run is that of recraft, not linear model." in verdict.sentences


def test_a_floor_that_is_ahead_by_chance_wins_by_being_simpler(tmp_path):
    verdict = judged(tmp_path, 60, recraft=(7, 0), floor_linear=(6, 20)).verdict
    assert (verdict.answer, verdict.use) == ("use-other", "floor:linear")
    assert verdict.headline.startswith("No measurable gain over linear model, which is simpler: use it")


def test_a_tie_goes_to_the_floor(tmp_path):
    verdict = judged(tmp_path, 60, recraft=6, floor_linear=6).verdict
    assert (verdict.answer, verdict.use) == ("use-other", "floor:linear")
    assert "score the same" in verdict.sentences[0]


def test_a_lead_that_could_be_chance_is_undecided(tmp_path):
    verdict = judged(tmp_path, 60, recraft=(6, 0), floor_linear=(7, 20)).verdict
    assert verdict.answer == "undecided"
    assert "the lead could be chance" in verdict.headline


def test_a_control_that_beats_everything_is_named(tmp_path):
    verdict = judged(tmp_path, 300, recraft=90, frozen=10, floor_linear=80).verdict
    assert (verdict.answer, verdict.use) == ("use-other", "frozen")
    assert verdict.headline.startswith("Use frozen body instead")
    assert any(s.startswith("Training the body hurt") for s in verdict.sentences)


def test_a_control_slightly_ahead_is_said_and_does_not_overturn_a_win(tmp_path):
    verdict = judged(tmp_path, 200, recraft=10, frozen=(9, 50), floor_linear=80).verdict
    assert (verdict.answer, verdict.use) == ("use", "recraft")
    assert "Simpler variants of recraft scored better on validation: frozen body (0.045)." in verdict.sentences


def test_missing_controls_are_said(tmp_path):
    verdict = judged(tmp_path, 60, recraft=3, scratch=30, floor_linear=20).verdict
    assert verdict.alignment is None
    assert verdict.body is None
    assert "What alignment brought is not known: that control was not run." in verdict.sentences
    assert any(s.startswith("Pretraining helped: error 0.450 better") for s in verdict.sentences)


def test_a_method_without_stage_1_is_not_credited_with_alignment(tmp_path):
    judged(tmp_path, 200, recraft=10, no_align=40, floor_linear=60)
    run = json.loads((tmp_path / "run.json").read_text())
    run["method"]["stages"] = [{"name": "fit"}]
    (tmp_path / "run.json").write_text(json.dumps(run))
    verdict = report.summarise(tmp_path).verdict
    assert verdict.alignment is None
    assert not any("lignment" in s for s in verdict.sentences)
    assert any(s.startswith("What sets recraft apart helped: error 0.150 better than the same recipe with everything "
                            "trained") for s in verdict.sentences)  # fmt: skip


def test_floors_that_timed_out_are_named_and_left_out(made):
    summary = report.summarise(made("digits"))
    boosting = summary.arm("floor:boosting")
    assert (boosting.status, boosting.value, boosting.difference) == ("timeout", None, None)
    assert any(s.startswith("Not in the comparison: gradient boosting (stopped after 20 s") for s in
               summary.verdict.sentences)  # fmt: skip


def test_floors_held_back_by_the_budget_are_named(tmp_path):
    target = np.zeros(60, dtype=int)
    arms = {"recraft": {0: labels(60, 2)}, "floor:linear": {0: labels(60, 30)}}
    note = "trained on 64 of 1,078 rows to keep the time limit"
    RunWriter(tmp_path, "classification", "error", target, arms, statuses={"floor:linear": ("ok", note)}).write()
    sentences = report.summarise(tmp_path).verdict.sentences
    assert f"Held back by the budget, so perhaps better than shown: linear model ({note})." in sentences


def test_without_any_floor_it_is_undecided(tmp_path):
    verdict = judged(tmp_path, 60, recraft=3, frozen=20, floor_linear=None).verdict
    assert verdict.answer == "undecided"
    assert "nothing simple to be compared with" in verdict.headline


def test_without_the_method_it_is_undecided_and_names_what_is_best(tmp_path):
    verdict = judged(tmp_path, 60, recraft=None, floor_linear=3).verdict
    assert (verdict.answer, verdict.use) == ("undecided", "floor:linear")
    assert "recraft has no validation score (no predictions recorded)" in verdict.headline


def test_without_any_score_it_says_so(tmp_path):
    summary = judged(tmp_path, 60, recraft=None, floor_linear=None)
    assert summary.verdict.headline == "Undecided: no arm of this run has a validation score."
    assert report.write_html(tmp_path).is_file()


@pytest.mark.parametrize("rows", [1, 5])
def test_a_handful_of_rows_decides_nothing(tmp_path, rows):
    # Every row speaks for the method; the plain percentile bootstrap would return an interval of width zero here.
    summary = judged(tmp_path, rows, recraft=0, floor_linear=rows)
    assert summary.verdict.answer == "undecided"
    assert summary.arm("floor:linear").difference.low is None
    assert any("at least 6 are needed" in s for s in summary.verdict.sentences)
    assert report.write_html(tmp_path).is_file()
    assert "no interval" in report.model_card(tmp_path) or rows > 0


def test_one_row_where_the_metric_is_undefined(tmp_path):
    target = np.array([[1.0]])
    arms = {"recraft": {0: target}, "floor:mean": {0: target + 1}}
    RunWriter(tmp_path, "regression", "1-r2", target, arms).write()
    summary = report.summarise(tmp_path)
    assert summary.arm("recraft").value is None
    assert "undefined" in summary.arm("recraft").note
    assert report.write_html(tmp_path).is_file()


def test_a_higher_is_better_metric_is_turned_the_right_way(tmp_path):
    summary = judged(tmp_path, 200, metric="macro-f1", direction="higher", recraft=10, floor_linear=60)
    assert summary.arm("recraft").value > summary.arm("floor:linear").value
    assert (summary.verdict.answer, summary.verdict.use) == ("use", "recraft")
    assert summary.arm("floor:linear").difference.value > 0


def test_a_metric_without_contributions_per_row_gets_intervals(made):
    summary = report.summarise(made("multilabel"))  # 1-map: mean average precision over labels
    method = summary.arm("recraft")
    assert method.low < method.value < method.high
    assert summary.arm("floor:neighbour").difference.method_better


def test_selection_is_admitted_on_validation_and_settled_by_the_test(made):
    folder = made("revealed")
    on_validation = report.summarise(folder)
    assert any(f"crosstune reveal {folder}" in s and "optimistic" in s for s in on_validation.verdict.sentences)
    on_test = report.summarise(folder, split="test")
    assert " test error " in on_test.verdict.headline
    assert not any("optimistic" in s for s in on_test.verdict.sentences)
    assert any("The seal was opened once." in s for s in on_test.verdict.sentences)
    assert on_test.arm("recraft").rows == 837


def test_the_test_split_stays_sealed(made):
    with pytest.raises(RunError, match=r"is sealed[\s\S]*crosstune reveal"):
        report.summarise(made("digits"), split="test")
    with pytest.raises(RunError, match="no split named 'train'"):
        report.summarise(made("digits"), split="train")


def test_an_interrupted_run_says_so(tmp_path):
    target = np.zeros(30, dtype=int)
    arms = {"recraft": {0: labels(30, 2)}, "floor:linear": {0: labels(30, 20)}}
    RunWriter(tmp_path, "classification", "error", target, arms, overrides={"status": "interrupted"}).write()
    assert any("not complete (status: interrupted)" in s for s in report.summarise(tmp_path).verdict.sentences)


def test_the_summary_is_plain_data(made):
    for name in ("digits", "heat"):
        data = json.loads(json.dumps(report.summarise(made(name)).as_dict(), allow_nan=False))
        assert data["verdict"]["answer"] in ("use", "use-other", "undecided")
        assert {"arm", "value", "low", "high", "difference"} <= set(data["arms"][0])
    stages = report.summarise(made("digits")).as_dict()["bound"]
    assert [s["stage"] for s in stages] == ["before", "after-align", "after-fit"]
    assert stages[0]["terms"]["bound"]["value"] == pytest.approx(
        sum(stages[0]["terms"][k]["value"] for k in ("err_s", "alignment", "distortion"))
    )


def test_text_for_a_terminal_puts_the_verdict_first_and_reads_no_markup(tmp_path):
    target = np.zeros(40, dtype=int)
    arms = {"recraft": {0: labels(40, 2)}, "floor:[bold]x": {0: labels(40, 20)}}
    RunWriter(tmp_path, "classification", "error", target, arms).write()
    text = report.render_text(report.summarise(tmp_path), color=False)
    assert text.startswith("Use recraft")
    assert "[bold]x" in text
    assert "\x1b" not in text
    assert "\x1b" in report.render_text(report.summarise(tmp_path), color=True, width=80)
