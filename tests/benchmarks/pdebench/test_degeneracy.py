"""Trivial answers: exact where the physics says so, refused where they do not apply, and printed without loss."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from crosstune.benchmarks.contract import get_task, published_results
from crosstune.benchmarks.pdebench import degeneracy_tables as tables
from crosstune.benchmarks.pdebench.degeneracy import FLOORS, ONE_FRAME, degeneracy
from crosstune.benchmarks.pdebench.irreducible import darcy_answers
from crosstune.benchmarks.pdebench.solvers import darcy
from crosstune.errors import DataError, UsageError

SIZES = {"burgers": (12, 32), "shallow_water": (60, 16), "darcy": (20, 16), "advection": (160, 64)}
NAMES = {f"pdebench/{name}" for name in SIZES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("degeneracy")
    for name, (n, resolution) in SIZES.items():
        # all in one folder but one, which has its own
        place = root / name if name == "darcy" else root
        get_task(f"pdebench/{name}").generate(place, n=n, resolution=resolution)
    return root


@pytest.fixture(scope="module")
def records(folder):
    return degeneracy(folder, protocols=("clean", "shipped"))


@pytest.fixture(scope="module")
def rolled(folder):
    return degeneracy(folder, ["pdebench/burgers"], ("official",), {"test": 2, "train": 100})


def value(records, task, protocol, answer, variant="standard"):
    (found,) = [
        r for r in records
        if (r["task"], r["protocol"], r["answer"], r["variant"]) == (f"pdebench/{task}", protocol, answer, variant)
    ]  # fmt: skip
    return found


def test_every_task_whose_data_are_there_is_judged_under_every_protocol(records):
    cases = {(r["task"], r["variant"], r["protocol"]) for r in records}
    assert {task for task, _, _ in cases} == NAMES
    assert {p for task, v, p in cases if task == "pdebench/shallow_water"} == {"clean", "shipped", ONE_FRAME}
    assert ("pdebench/burgers", "small-viscosity", "clean") in cases
    assert not any(v != "standard" and p != "clean" for _, v, p in cases)
    for case in cases:
        answers = [r["answer"] for r in records if (r["task"], r["variant"], r["protocol"]) == case]
        assert answers[:6] == ["zero", *FLOORS.values()]


def test_zero_scores_one_and_its_records_say_what_was_scored(records):
    for record in records:
        if record["answer"] == "zero":
            assert record["value"] == pytest.approx(1, abs=1e-12)
    one = value(records, "advection", "shipped", "zero")
    assert (one["test_rows"], one["train_rows"], one["twins"]) == (16, 144, 0)
    assert one["input"] == one["target"] == [1, 64]
    assert one["generated"]
    assert one["rolled_out"] is None
    assert one["standard_error"] == pytest.approx(0, abs=1e-12)


def test_a_field_that_has_spread_evenly_is_the_mean_of_its_start(records):
    """Burgers at Nu = 1: the target is a constant, the mean of the input (on a grid up to the hidden shortest wave)."""
    mean = value(records, "burgers", "shipped", "spatial mean of the input")["value"]
    assert mean < 0.1 * value(records, "burgers", "shipped", "nearest neighbour")["value"]
    assert value(records, "burgers", "clean", "spatial mean of the input", "small-viscosity")["value"] > 0.3


def test_a_linear_equation_is_solved_by_a_linear_operator(records):
    ridge = value(records, "advection", "shipped", "linear operator (ridge)")["value"]
    assert ridge < 0.02
    assert value(records, "advection", "shipped", "copy of the input")["value"] > 0.5


def test_a_look_up_is_exact_in_shallow_water(records):
    """Few different samples on so coarse a grid: each test row has an equal twin, unless groups are kept whole."""
    one = value(records, "shallow_water", ONE_FRAME, "nearest neighbour")
    assert one["value"] == 0
    assert one["twins"] == one["test_rows"] == 6
    shipped = value(records, "shallow_water", "shipped", "nearest neighbour")["value"]
    assert 0 < shipped < 0.02  # what half a hundredth of a second changes
    clean = value(records, "shallow_water", "clean", "nearest neighbour")
    assert clean["twins"] == 0
    assert clean["value"] > 0
    assert value(records, "shallow_water", "clean", "nearest neighbour", "varied")["twins"] == 0


def test_published_scores_stand_beside_the_protocol_and_file_they_belong_to(records):
    for record in records:
        belongs = record["protocol"] == "shipped" and record["variant"] == "standard"
        assert bool(record["published"]) == belongs, record
    theirs = {p.method: p.value for p in published_results() if p.task == "Darcy 2D" and p.benchmark == "PDEBench"}
    assert value(records, "darcy", "shipped", "zero")["published"] == theirs


def test_what_the_equation_alone_says_of_darcy(records):
    steady, mean, best = (
        value(records, "darcy", "shipped", name)["value"]
        for name in ("exact steady state", "mean over initial fields", "best without the initial field")
    )
    assert best < steady
    assert value(records, "darcy", "shipped", "nearest neighbour")["value"] > mean
    assert not [r for r in records if r["variant"] == "steady" and r["answer"] == "exact steady state"]


def test_nothing_beats_the_best_answer_without_the_initial_field():
    """Against every other level, in the mean over many initial fields of the generator's law; and the conditional mean
    is the mean of solutions."""
    nu = np.stack([darcy.coefficient(sample, 12, 0) for sample in range(3)])[:, None]
    answers = darcy_answers(nu.astype(np.float32), 0.1)
    starts = [darcy.initial_state(sample, 12, 5) for sample in range(150)]
    for i in range(3):
        still = darcy.steady(nu[i, 0], np.full((12, 12), 0.1))
        np.testing.assert_allclose(answers["exact steady state"][i, 0], still, rtol=1e-5)
        solutions = np.stack([darcy.transient(nu[i, 0], 0.1, start, darcy.STORED_AT, 32) for start in starts])
        mean = answers["mean over initial fields"][i, 0]
        spread = np.linalg.norm(solutions.std(axis=0)) / np.sqrt(len(starts))
        assert np.linalg.norm(solutions.mean(axis=0) - mean) < 4 * spread

        def error(field, solutions=solutions):
            axes = (1, 2)
            return np.mean(np.linalg.norm(solutions - field, axis=axes) / np.linalg.norm(solutions, axis=axes))

        best = error(answers["best without the initial field"][i, 0])
        assert best <= 1.02 * min(error(still + share * (mean - still)) for share in np.linspace(0, 2, 41))
        assert best < error(still)


def test_rollouts_are_scored_with_the_official_figure(rolled):
    by_answer = {r["answer"]: r for r in rolled}
    assert by_answer["zero"]["rolled_out"] == pytest.approx(1, abs=1e-9)
    copy = by_answer["copy of the input"]
    assert copy["rolled_out"] > 2 * copy["value"]  # the last given frame, held for the whole trajectory
    assert all(r["test_rows"] == 2 for r in rolled)


def test_a_rollout_that_leaves_the_range_of_numbers_is_said(folder, monkeypatch):
    from crosstune.benchmarks.pdebench import degeneracy as module

    monkeypatch.setattr(
        module, "_answers", lambda *rest: iter([("doubling", lambda x: 1e30 * x[:, -1:].astype(float), "")])
    )
    (record,) = degeneracy(folder, ["pdebench/burgers"], ("official",), {"test": 2, "train": 20})
    assert record["rolled_out"] is None
    assert "prediction is NaN or infinite" in record["note"]


def test_the_same_arguments_give_the_same_records(folder, records):
    assert degeneracy(folder, ["pdebench/burgers"], ("shipped",)) == [
        r for r in records if r["task"] == "pdebench/burgers" and r["protocol"] == "shipped"
    ]


def test_tables_hold_every_record(records, rolled, tmp_path):
    every = records + rolled
    rows = list(csv.DictReader(io.StringIO(tables.render_csv(every))))
    assert len(rows) == len(every)
    for row, record in zip(rows, every):
        assert (row["task"], row["answer"]) == (record["task"], record["answer"])
        assert (float(row["value"]) if row["value"] else None) == record["value"]
    header, lines = tables.table(every)
    cases = {(r["task"], r["variant"], r["protocol"]) for r in every}
    assert len(lines) == len(cases)
    assert all(len(line) == len(header) for line in lines)
    text = tables.render_text(every)
    assert text.count("(published)") == sum(len(r["published"]) for r in every if r["answer"] == "zero")
    markdown = tables.render_markdown(every)
    assert markdown.count("\n") == len(cases) + 2
    assert "**0**" in markdown  # the look-up in shallow water
    results = tables.as_results(every, command="make it", generated={"pdebench/burgers": {"n": 40}})
    paths = tables.write(tmp_path / "new" / "folder", results)
    assert [p.name for p in paths] == ["degeneracy.json", "degeneracy.csv", "degeneracy.md"]
    assert json.loads(paths[0].read_text())["records"] == every
    assert sorted(p.name for p in paths[0].parent.iterdir()) == sorted(p.name for p in paths)
    assert "`make it`" in paths[2].read_text()


def test_findings_follow_from_the_records(records):
    found = tables.findings(records)
    assert any("pdebench/shallow_water, shipped, one frame: the nearest neighbour is exact, 6 of 6" in f for f in found)
    assert any(f.startswith("pdebench/darcy, shipped: exact steady state reaches") for f in found)
    published = [r for r in records if r["published"]]
    worse = [{**r, "published": {"ours": 1e-9}} for r in published]
    assert any("times the best published figure (ours, 1e-09)" in f for f in tables.findings(worse))
    better = [{**r, "published": {"theirs": 1e9}} for r in published]
    assert any("below the best published figure (theirs, 1e+09)" in f for f in tables.findings(better))


def test_answers_that_do_not_apply_say_why(records):
    one = value(records, "darcy", "shipped", "copy of the input")
    changed = [{**one, "value": None, "note": "input grid (4,) and target grid (8,) are different"}]
    text = tables.render_text([*changed, value(records, "darcy", "shipped", "zero")])
    assert "copy of the input: input grid (4,) and target grid (8,) are different" in text


def test_absent_data_are_asked_for(folder, tmp_path):
    with pytest.raises(DataError, match=r"holds no file of pdebench/cfd_1d[\s\S]*data generate pdebench/cfd_1d"):
        degeneracy(folder, ["pdebench/cfd_1d"])
    with pytest.raises(DataError, match="holds no data of PDEBench"):
        degeneracy(tmp_path)
    with pytest.raises(UsageError, match=r"unknown task[\s\S]*pdebench/burgers"):
        degeneracy(folder, ["pdebench/burger"])


def test_the_published_frames_are_left_as_they_are(folder):
    """The aligned reading is a changed copy of the problem, not the problem."""
    problem = get_task("pdebench/shallow_water").load.args[0]
    before = replace(problem.shipped)
    degeneracy(folder, ["pdebench/shallow_water"], ("shipped",), {"test": 2})
    assert problem.shipped == before
    assert before.test_frame == 99
