"""The page of evidence: every outcome has its sentence, nothing depends on order or place, gaps are said."""

from __future__ import annotations

import json
import random
import re
import xml.dom.minidom
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from crosstune.errors import DataError
from crosstune.report import paired
from crosstune.report.evidence import Evidence, gather
from crosstune.report.evidence_page import render_page

from . import sweeps

ALL = {"recraft": 0.8, "no-align": 0.9, "no-distortion": 0.8, "mean-match": 0.85, "finetune": 1.0, "scratch": 1.5,
       "shuffled": 1.2, "nearest": 1.3, "linear": 1.1}  # fmt: skip


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "RESAMPLES", 1000)


def gathered(folder: Path, factors: Mapping[str, float] = ALL, **more: Any) -> Evidence:
    sweeps.write(folder, sweeps.lines(factors, **more))
    return gather([str(folder)])


def page(found: Evidence) -> str:
    return render_page(found, "help.md")["help.md"]


def answers(found: Evidence) -> dict[str, str]:
    """Question -> the answer's first words."""
    return {
        line.split("? ")[0] + "?": line.split("? ", 1)[1].partition(":")[0] for line in found.headline().splitlines()
    }


BETTER = {
    "Does transfer beat training from scratch?": "Yes",
    "Do pretrained weights alone, without alignment, beat random ones?": "Yes",
    "Does alignment beat no alignment at equal time?": "Yes",
    "Does alignment beat matching means and variances only?": "Yes",
    "Does pretraining beat the same weights shuffled?": "Yes",
    "Does RECRAFT beat plain fine-tuning?": "Yes",
    "Does its recipe of fitting, without alignment, beat plain fine-tuning?": "Yes",
    "Does RECRAFT beat the best floor?": "Yes",
    "Does anything beat the best floor?": "Yes",
}


def test_yes_where_the_method_is_better(tmp_path: Path) -> None:
    found = gathered(tmp_path)
    said = answers(found)
    assert {q: a for q, a in said.items() if q in BETTER} == BETTER
    assert said["Does minimising distortion beat leaving it out at equal time?"] == "Not decided"
    text = page(found)
    sentence = (
        r"Yes: the error of recraft is lower than that of scratch by 4\d\.\d % on average, 95 % interval of the "
        r"difference \\\[−4\d\.\d, −4\d\.\d\\\] % \(8 data sets, 24 tasks, 3 seeds; 24 won, 0 tied, 0 lost\)"
    )
    assert re.search(sentence, text)
    assert "| **yes** |" in text
    assert set(found.floors.values()) == {"linear"}
    assert "by −" not in text


def test_no_in_the_same_words_where_it_is_worse(tmp_path: Path) -> None:
    worse = {**ALL, "recraft": 2.0, "no-align": 1.6, "finetune": 1.4}
    found = gathered(tmp_path, worse)
    said = answers(found)
    for question in BETTER:
        assert said[question] == "No"
    text = page(found)
    sentence = r"No: the error of recraft is higher than that of no-align by \d\d\.\d % on average, 95 % interval"
    assert re.search(sentence, text)
    assert text.count("| **no** |") == 2
    assert "lower error on 0 of 8 tasks (0 %)" in text


def test_not_decided_where_the_interval_has_zero_in_it_or_all_are_tied(tmp_path: Path) -> None:
    found = gathered(tmp_path / "even", dict.fromkeys(ALL, 1.0))
    assert set(answers(found).values()) == {"Not decided"}
    assert "has zero in it" in page(found)
    tied = gathered(tmp_path / "tied", error=lambda *unused: 0.0)
    assert set(answers(tied).values()) == {"Not decided"}
    assert "the error of recraft equals that of scratch on average" in page(tied)
    assert "0 won, 24 tied, 0 lost" in page(tied)


def test_few_data_sets_are_said_to_be_few(tmp_path: Path) -> None:
    three = gathered(tmp_path / "three", data_sets=sweeps.DATA_SETS[:3])
    assert set(answers(three).values()) == {"Not decided"}
    assert "fewer than 4 data sets allow no interval" in page(three)
    five = gathered(tmp_path / "five", data_sets=sweeps.DATA_SETS[:5])
    assert set(answers(five).values()) == {"Not decided"}
    assert "fewer than 6 data sets decide nothing" in page(five)


def test_what_was_not_run_is_not_measured(tmp_path: Path) -> None:
    found = gathered(tmp_path, {"recraft": 0.8, "frozen": 1.0}, shares=(100,))
    said = answers(found)
    assert set(said.values()) == {"Not measured"}
    text = page(found)
    assert "Not measured: no figures of scratch in the records." in text
    assert "Not measured: no figures of best floor in the records." in text
    assert text.count("| **not measured** |") == 2
    assert "Floors: not measured." in text
    half = gathered(tmp_path / "half", shares=(100, 30))
    assert "At 10 % of the training rows: not measured." in page(half)
    assert "At 30 % of the training rows: yes" in page(half)
    whole = gathered(tmp_path / "whole", shares=(100,))
    assert "At 100 % of the training rows: yes" in page(whole)
    assert "| 100 % of the training rows |" not in page(whole)  # it is everything, and stands in the table once
    assert "On series: yes: the error of recraft is lower than that of scratch by" in page(whole)
    assert "On images: not measured." in page(whole)
    assert "On tables: not decided: the error of recraft" in page(whole)
    assert "volumes" not in page(whole)
    low = gathered(tmp_path / "low", shares=(10,))
    assert "At 100 % of the training rows: not measured." in page(low)
    assert "lower error on 8 of 8 tasks" in page(low)


def test_tasks_that_two_do_not_share_leave_the_question_open(tmp_path: Path) -> None:
    entries = [
        e for e in sweeps.lines({"recraft": 0.8, "scratch": 1.5})
        if (e["method"] == "recraft") == (e["task"] < "lab/dogwood")
    ]  # fmt: skip
    found = gather([str(sweeps.write(tmp_path, entries))])
    assert "Not measured: no task and seed that both have." in page(found)


def test_floors_are_chosen_on_validation_not_on_what_is_compared(tmp_path: Path) -> None:
    def error(task: str, method: str, seed: int, split: str) -> float:
        if method in sweeps.FLOORS:  # nearest looks best on validation and is worst on the test
            good = (method == "nearest") == (split == "validation")
            return 0.1 if good else 9.0
        return ALL[method]

    found = gathered(tmp_path, error=error)
    assert set(found.floors.values()) == {"nearest"}
    assert not found.by_hindsight
    assert answers(found)["Does RECRAFT beat the best floor?"] == "Yes"
    entries = [e for e in sweeps.lines(ALL, error=error) if e["split"] == "test"]
    hindsight = gather([str(sweeps.write(tmp_path / "test", [e | {"line": 0, "lines": 1} for e in entries]))])
    assert hindsight.by_hindsight
    assert set(hindsight.floors.values()) == {"linear"}
    assert answers(hindsight)["Does RECRAFT beat the best floor?"] == "No"
    assert "with hindsight" in page(hindsight)


def test_the_lines_set_beforehand(tmp_path: Path) -> None:
    def target(found: Evidence) -> list[str]:
        return [t.answer for t in found.cases[0].targets]

    assert target(gathered(tmp_path / "1")) == ["yes", "yes"]
    # the best rank is not enough, nor is the interval
    assert target(gathered(tmp_path / "2", {"recraft": 1.0, "finetune": 1.0005, "scratch": 2.0})) == ["no", "yes"]
    assert target(gathered(tmp_path / "3", {"recraft": 0.8, "finetune": 1.0, "orca": 0.7})) == ["no", "not measured"]
    # controls are no transfer methods, whatever their rank
    assert target(gathered(tmp_path / "4", {"recraft": 0.8, "finetune": 1.0, "no-align": 0.7})) == [
        "yes",
        "not measured",
    ]
    found = gathered(tmp_path / "5", {"recraft": 0.8, "finetune": 1.0, "rival": 0.7}, weights="random")
    assert target(found)[0] == "not measured"

    def six_of_eight(task: str, method: str, seed: int, split: str) -> float:
        worse = task in ("lab/apple-10", "lab/birch-10")
        return {"recraft": 2.0 if worse else 0.5, "scratch": 1.0}[method]

    assert target(gathered(tmp_path / "6", {"recraft": 1, "scratch": 1}, error=six_of_eight))[1] == "no"
    assert "lower error on 6 of 8 tasks (75 %)" in page(gather([str(tmp_path / "6")]))


def test_every_contestant_stands_against_recraft_and_the_part_that_matters_most_is_named(tmp_path: Path) -> None:
    found = gathered(tmp_path)
    against = found.cases[0].against
    assert [each.found.b.partition(" (")[0] for each in against] == [
        "scratch", "shuffled", "best floor", "finetune", "no-align", "mean-match", "no-distortion",
    ]  # fmt: skip
    assert all(each.found.p <= each.holm <= 1 for each in against)
    assert against[0].holm == pytest.approx(7 * against[0].found.p)
    text = page(found)
    assert "with a part taken out scratch differs most: RECRAFT's error is lower by 4" in text
    assert "Not told apart from RECRAFT: no-distortion; the interval of the difference has zero in it." in text
    assert "finetune" not in text.split("differs most")[1].split("Not told apart")[0]
    few = gathered(tmp_path / "few", {"recraft": 0.5, "scratch": 1.5}, data_sets=sweeps.DATA_SETS[:4])
    assert few.cases[0].against[0].found.high < 0  # type: ignore[operator]
    assert "scratch; the interval of the difference has zero in it or is over fewer than 6 data sets" in page(few)
    only = gathered(tmp_path / "only", {"recraft": 1.0, "finetune": 1.1})
    assert "part taken out" not in page(only)


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    entries = sweeps.lines(ALL)
    one = sweeps.write(tmp_path / "a" / "sweep", entries)
    sweeps.asked(one)
    random.Random(5).shuffle(entries)
    two = sweeps.write(tmp_path / "elsewhere" / "sweep", entries, torn='{"schema": 1, "jo')
    sweeps.asked(two)
    first, second = (render_page(gather([str(place)]), place.parent / "docs" / "help.md") for place in (one, two))
    assert [Path(name).name for name in first] == ["help-differences.svg", "help-ranks.svg", "help.md"]
    assert list(first.values()) == list(second.values())
    assert str(tmp_path) not in "".join(first.values())
    assert "crosstune bench run lab --methods recraft,no-align" in first[str(one.parent / "docs" / "help.md")]
    assert "crosstune bench evidence sweep --docs help.md" in first[str(one.parent / "docs" / "help.md")]


def test_sweeps_together_are_one_and_a_job_in_both_counts_once(tmp_path: Path) -> None:
    entries = sweeps.lines(ALL)
    methods = [e for e in entries if e["role"] == "method"]
    floors = [e for e in entries if e["role"] == "floor"] + [e | {"time": "t0", "value": 99.0} for e in methods[:40]]
    together = gather([str(sweeps.write(tmp_path / "m", methods)), str(sweeps.write(tmp_path / "f", floors))])
    swapped = gather([str(tmp_path / "f"), str(tmp_path / "m")])
    whole = gather([str(sweeps.write(tmp_path / "w", entries))])
    assert page(together) == page(swapped)
    assert together.headline() == whole.headline()
    assert together.analysis.provenance.digest == whole.analysis.provenance.digest


def test_budgets_are_not_mixed(tmp_path: Path) -> None:
    short, long = sweeps.lines(ALL), sweeps.lines({**ALL, "recraft": 3.0}, budget="2m")
    long = [e | {"job": e["job"] + " 2m"} for e in long]
    folder = sweeps.write(tmp_path / "both", short + long)
    with pytest.raises(DataError, match=r"at 20s and at 2m|at 2m and at 20s"):
        gather([str(folder)])
    assert answers(gather([str(folder)], budget="20s"))["Does RECRAFT beat plain fine-tuning?"] == "Yes"
    assert answers(gather([str(folder)], budget="2m"))["Does RECRAFT beat plain fine-tuning?"] == "No"
    with pytest.raises(DataError, match="there are: 20s, 2m"):
        gather([str(folder)], budget="7s")
    mixed = [e for e in short if e["method"] != "recraft"] + [e for e in long if e["method"] == "recraft"]
    with pytest.raises(DataError, match="equal time for all"):
        gather([str(sweeps.write(tmp_path / "mixed", mixed))])
    other = [e | {"job": e["job"] + "x"} for e in short]
    with pytest.raises(DataError, match="folders of their own"):
        gather([str(sweeps.write(tmp_path / "settings", short + other))])


def test_what_was_cut_and_what_failed(tmp_path: Path) -> None:
    def error(task: str, method: str, seed: int, split: str) -> float | None:
        if method == "mean-match" or (method, task, seed) == ("finetune", "lab/fir", 1):
            return None
        return sweeps.by_factor(ALL)(task, method, seed, split)

    found = gathered(tmp_path, error=error)
    text = page(found)
    assert "24 tasks of a suite that is not installed here: lab." in text
    assert "Up to 3 seeds per task and contestant; fewer somewhere: finetune (twin)." in text
    assert "Budget of every job: 20s." in text
    assert "finetune (twin): failed: out of paper (lab/fir, seed 1)" in text
    assert "Not measured: no figures of mean-match in the records." in text
    entries = sweeps.lines({"recraft": 1.0, "finetune": 1.1}, data_sets=["digits"], splits=("validation",))
    entries = [e | {"task": e["task"].replace("lab", "showcase")} for e in entries]
    few = page(gather([str(sweeps.write(tmp_path / "few", entries))]))
    assert re.search(r"3 of \d+ tasks of showcase were run, without acsf1, ", few)
    assert "The test was not opened" in few
    assert "--no-reveal" not in few  # no sweep.json says how it was asked for


def test_backbones_have_answers_of_their_own(tmp_path: Path) -> None:
    good = sweeps.lines({"recraft": 0.5, "scratch": 1.0})
    bad = [e | {"backbone": "Big/Body", "job": e["job"] + " b"} for e in sweeps.lines({"recraft": 2.0, "scratch": 1.0})]
    found = gather([str(sweeps.write(tmp_path, good + bad))])
    assert [case.backbone for case in found.cases] == ["Big/Body", "twin"]
    lines = found.headline().splitlines()
    assert any(line.startswith("twin: Does transfer beat training from scratch? Yes") for line in lines)
    assert any(line.startswith("Big/Body: Does transfer beat training from scratch? No") for line in lines)
    texts = render_page(found, "x.md")
    assert "x-ranks-big-body.svg" in texts
    assert "## On twin" in texts["x.md"]
    for name, text in texts.items():
        if name.endswith(".svg"):
            xml.dom.minidom.parseString(text)
            assert f"]({name})" in texts["x.md"]


def test_with_budgets_in_steps_time_is_not_said_to_be_equal(tmp_path: Path) -> None:
    found = gathered(tmp_path, budget="200steps")
    assert "Does alignment beat no alignment at an equal number of steps?" in answers(found)
    assert "unequal time" in page(found)
    assert "equal time" not in page(found).replace("unequal time", "")


def test_times_are_said_and_are_called_equal_only_where_they_are(tmp_path: Path) -> None:
    entries = sweeps.lines(ALL)
    for entry in entries:
        if entry["method"] == "recraft":
            entry["seconds"] = 30.0 if entry["task"] < "lab/cedar" else 21.0
    found = gather([str(sweeps.write(tmp_path, entries))])
    said = found.headline()
    assert "Does alignment beat no alignment at an equal budget? Yes" in said
    assert "0 lost). Mean time of a job: 23 s against 20 s." in said
    entries = [e | {"seconds": 21.0 if e["method"] == "recraft" else 20.0} for e in entries]
    alike = gather([str(sweeps.write(tmp_path / "alike", entries))]).headline()
    assert "Does alignment beat no alignment at equal time? Yes" in alike
    assert "Mean time of a job: 21 s against 20 s." in alike


def test_floors_alone_measure_nothing(tmp_path: Path) -> None:
    found = gathered(tmp_path, {"nearest": 1.3, "linear": 1.1})
    assert "No transfer method has figures in these records: not measured." in page(found)
    assert found.headline() == "not measured: no transfer method has figures in these records"


def test_one_seed_is_enough_for_a_page(tmp_path: Path) -> None:
    found = gathered(tmp_path, seeds=(3,))
    assert "1 seed per task and contestant." in page(found)
    assert answers(found)["Does transfer beat training from scratch?"] == "Yes"
    json.dumps(found.as_dict(), allow_nan=False)
