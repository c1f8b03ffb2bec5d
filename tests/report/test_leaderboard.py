"""Our records beside published figures: what compares, what does not and why, and the ranks."""

import csv
import io
import json
import xml.dom.minidom
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scipy.stats import rankdata

from crosstune.benchmarks import Published, Suite, Task, Terms, get_task, published_results
from crosstune.errors import DataError
from crosstune.report.leaderboard import GENERATED_NOTES, leaderboard, metric_of, stand_ins
from crosstune.report.leaderboard_views import render_csv, render_html, render_markdown, render_text


def task(name, published, metric, terms, title=None):
    return Task(
        name=f"lab/{name}", title=title or name, summary="", kind="classification", modality="series", protocols=terms,
        load=None, generate=None, verify=None, recognise=None, published=published, published_metric=metric,
    )  # fmt: skip


TERMS = {
    "clean": Terms("error", "", also=("1-f1",)),
    "official": Terms("error", "", also=("1-f1",)),
    "shipped": Terms("shipped-error-1008", "", also=("error",), selected_on="test"),
}
TASKS = {
    t.name: t
    for t in (
        task("gestures", "Gestures", "0-1 error %", TERMS),
        task("crops", "Crops", "0-1 error %", TERMS, title="Crops | and <weeds>"),
        task("own", None, None, TERMS),
    )
}
SUITES = {"lab": Suite("lab", "Lab", "", {}, published="LAB")}
ROWS = (
    Published("WRN", "LAB", "Gestures", "0-1 error %", 6.78, 0.26, "official", "authors", "their table"),
    Published("WRN", "LAB", "Crops", "0-1 error %", 15.49, None, "official", "authors", "their table"),
    Published("XGB", "LAB", "Gestures", "0-1 error %", 21.9, 0.7, "official", "authors", "their table"),
    Published("ORCA", "LAB", "Gestures", "0-1 error %", 7.5, None, "shipped", "third party", "a tracker"),
    Published("FNO", "LAB (other protocol)", "Crops", "0-1 error %", 1.0, None, "other", "third party", "quoted"),
    Published("ORCA", "LAB", "all LAB tasks", "average rank", 1.25, None, "shipped", "third party", "a tracker"),
    Published("Elsewhere", "OTHER", "Gestures", "0-1 error %", 0.1, None, "official", "authors", "x"),
)


def record(name, method, value, seed=0, protocol="official", metric="error", split="test", **more):
    return {
        "task": f"lab/{name}", "method": method, "protocol": protocol, "metric": metric, "seed": seed, "split": split,
        "value": value, "low": value - 0.01, "high": value + 0.01, "seconds": 10.0 * (seed + 1), **more,
    }  # fmt: skip


OURS = [
    record("gestures", "recraft", 0.05, 0), record("gestures", "recraft", 0.07, 1),
    record("gestures", "nearest", 0.3), record("crops", "recraft", 0.2), record("crops", "nearest", 0.1),
    record("gestures", "broken", 0.0) | {"value": None},
]  # fmt: skip


def made(records=OURS, **options):
    return leaderboard(records, tasks=TASKS, suites=SUITES, published=ROWS, **options)


def test_the_same_metric_under_the_same_protocol_compares():
    crops, gestures = made().boards
    lines = [(e.contestant, round(e.value, 6), e.comparable, e.best) for e in gestures.entries]
    assert lines == [
        ("recraft", 0.06, True, True), ("WRN", 0.0678, True, False), ("XGB", 0.219, True, False),
        ("nearest", 0.3, True, False), ("ORCA", 0.075, False, False),
    ]  # fmt: skip
    ours = gestures.entries[0]
    assert (ours.seeds, ours.seconds) == (2, 15)
    assert ours.spread == pytest.approx(0.02 / 2**0.5)
    assert (ours.low, ours.high) == (pytest.approx(0.05), pytest.approx(0.07))
    assert gestures.entries[1].spread == pytest.approx(0.0026)
    assert [e.contestant for e in crops.entries] == ["nearest", "WRN", "recraft", "FNO"]


def test_every_reason_is_given():
    orca = made().boards[1].entries[-1]
    assert orca.reasons == (
        "protocol shipped, ours official", "its checkpoint was selected on the test rows",
        "metric 0-1 error % (shipped-error-1008), ours error", "quoted by a third party",
    )  # fmt: skip
    fno = made().boards[0].entries[-1]
    assert fno.reasons == (
        "protocol other, ours official", "metric 0-1 error %, ours error", "quoted by a third party",
    )  # fmt: skip
    few = record("crops", "recraft", 0.2, split="validation", limit={"train": 9})
    wrn = made([few], generated=["lab/crops"])
    assert made([few | {"data": "generated seed=0"}]) == wrn
    assert next(e for e in wrn.boards[0].entries if e.contestant == "WRN").reasons == (
        "figure on the test rows, ours on validation", "our data are generated, not the published files",
        "ours used a part of the rows",
    )  # fmt: skip
    clean = made([record("crops", "recraft", 0.2, protocol="clean")]).boards[0]
    assert next(e for e in clean.entries if e.contestant == "WRN").reasons == ("protocol official, ours clean",)


def test_a_published_figure_in_another_metric_gets_a_board_of_its_own():
    rows = (Published("WRN", "LAB", "Stars", "FNR %", 51.76, 2.09, "official", "authors", "their table"),)
    stars = task("stars", "Stars", "FNR %", {"official": Terms("1-auroc-hard", "", also=("fnr-mask",))})
    assert metric_of(rows[0], stars) == "fnr-mask"
    mine = [record("stars", "recraft", 0.4, metric="1-auroc-hard"), record("stars", "recraft", 0.6, metric="fnr-mask")]
    options = {"tasks": {stars.name: stars}, "suites": SUITES, "published": rows}
    first, second = leaderboard(mine, **options).boards
    assert (first.metric, [e.contestant for e in first.entries]) == ("1-auroc-hard", ["recraft"])
    assert [(e.contestant, round(e.value, 4), e.comparable) for e in second.entries] == [
        ("WRN", 0.5176, True), ("recraft", 0.6, True),
    ]  # fmt: skip
    (only,) = leaderboard(mine[:1], **options).boards
    assert only.entries[-1].reasons == ("metric FNR % (fnr-mask), ours 1-auroc-hard",)


def test_scores_rank_the_other_way():
    mine = [record("own", name, value, metric="accuracy", protocol="x") for name, value in (("a", 0.7), ("b", 0.9))]
    (board,) = made(mine).boards
    assert (board.direction, [e.contestant for e in board.entries]) == ("higher", ["b", "a"])
    assert made(mine).ranks == {"x": {"b": 1.0, "a": 2.0}}


def test_ranks_are_those_of_scipy_over_tasks_that_all_of_ours_have():
    found = made([*OURS, record("own", "recraft", 0.5)])
    figures = {"lab/gestures": [0.06, 0.3, 0.0678], "lab/crops": [0.2, 0.1, 0.1549]}
    expected = sum(rankdata(row) for row in figures.values()) / 2
    assert found.ranks == {"official": dict(zip(("recraft", "WRN", "nearest"), expected[[0, 2, 1]]))}
    assert set(found.ranked["official"]) == set(figures)
    assert "XGB" not in found.ranks["official"]  # which has no figure on crops


def test_equal_means_share_a_rank():
    mine = [record("own", "a", 0.1, 0), record("own", "a", 0.5, 1), record("own", "b", 0.3)]
    assert made(mine).ranks["official"] == {"a": 1.5, "b": 1.5}


def test_the_last_record_of_a_seed_counts_and_backbones_are_told_apart():
    mine = [record("own", "a", 0.9), record("own", "a", 0.1)]
    assert [e.value for e in made(mine).boards[0].entries] == [0.1]
    mine = [record("own", "a", 0.9, backbone="x"), record("own", "a", 0.1, backbone="y"), record("own", "floor", 0.5)]
    assert [e.contestant for e in made(mine).boards[0].entries] == ["a (y)", "floor", "a (x)"]


def test_notes():
    notes = made([*OURS, record("own", "recraft", 0.1, protocol="shipped", selected_on="test")]).notes
    assert notes[0].startswith("under shipped our checkpoints were selected on the test rows")
    assert "no published figure: own" in notes
    assert "ORCA is said to have an average rank of 1.25 on LAB: over other contestants" in notes[2]


def test_stand_ins_are_known_from_what_the_jobs_of_a_sweep_noted(tmp_path):
    notes = {
        "a": ["synthetic stand-in made by crosstune"],
        "b": ["rows 1 to 3"],
        "c": ["generated data (n 5)"],
        "d": None,
    }
    for job, said in notes.items():
        (tmp_path / "jobs" / job).mkdir(parents=True)
        (tmp_path / "jobs" / job / "run.json").write_text(json.dumps({"task": {"notes": said}}))
    jobs = [{"job": job, "task": f"lab/{job}"} for job in "abcde"]
    assert stand_ins(tmp_path, jobs) == {"lab/a", "lab/c"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("openml/credit-g", {"n": 60}), ("drug_response/ctrp", {"n": 16}), ("nas_bench_360/satellite", {"n": 96}),
        ("nas_bench_360/darcy_flow", {"n": 12}),
        ("pdebench/advection", {"n": 10, "resolution": 64}),
    ],
)  # fmt: skip
def test_loaders_of_generated_data_say_so_in_words_that_are_understood(name, options, tmp_path):
    found = get_task(name)
    found.generate(tmp_path, **options)
    assert any(note.startswith(GENERATED_NOTES) for note in found.load(tmp_path, "clean").notes)


def test_filters_and_what_they_leave():
    both = [*OURS, record("own", "recraft", 0.1, protocol="clean", split="validation")]
    assert {b.protocol for b in made(both, protocol="clean").boards} == {"clean"}
    assert {b.task for b in made(both, split="validation").boards} == {"lab/own"}
    with pytest.raises(
        DataError, match=r"no record with a score for protocol 'official' and split 'validation'\n.*clean/"
    ):
        made(both, protocol="official", split="validation")


# -- views -----------------------------------------------------------------------------------------------------------


def test_text():
    text = render_text(made())
    assert "PROTOCOL official" in text
    assert "* recraft  0.060 ± 0.014" in text
    assert "- ORCA" in text
    assert "not comparable: protocol shipped, ours official; " in text
    assert "average rank, protocol official, over 2 tasks" in text


def test_what_speaks_against_every_published_figure_is_said_once():
    text = render_text(made([record("gestures", "recraft", 0.2, data="generated seed=0")]))
    assert "  no published figure compares: our data are generated, not the published files\n" in text
    assert text.count("our data are generated") == 1
    assert "- WRN      0.068 ± 0.0026  published, official" in text
    assert "not comparable: protocol shipped, ours official; its checkpoint" in text
    assert "no published figure compares" not in render_text(made())


def test_markdown_cells_hold_whatever_the_names_are():
    lines = render_markdown(made()).splitlines()
    rows = [line for line in lines if line.startswith("| ") and "task" not in line]
    cells = {len(line.replace("\\|", "").split("|")) for line in rows if "±" in line or "Crops" in line}
    assert cells == {9}
    assert any(r"Crops \| and &lt;weeds&gt;" in line for line in rows)


def test_csv_holds_everything_in_full():
    rows = list(csv.DictReader(io.StringIO(render_csv(made()))))
    assert len(rows) == 9
    ours = next(row for row in rows if (row["contestant"], row["task"]) == ("recraft", "lab/gestures"))
    assert (float(ours["value"]), ours["comparable"], ours["seeds"]) == (pytest.approx(0.06), "True", "2")
    orca = next(row for row in rows if row["contestant"] == "ORCA")
    assert (orca["comparable"], orca["rank"], orca["source"]) == ("False", "", "a tracker")


def test_html_is_one_page_whose_names_are_text():
    html = render_html(made())
    assert "<script" not in html
    assert "http-equiv" in html
    assert "Crops | and &lt;weeds&gt;" in html

    class Balanced(HTMLParser):
        stack: list[str] = []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "link"):
                self.stack.append(tag)

        def handle_endtag(self, tag):
            assert self.stack.pop() == tag

    parser = Balanced()
    parser.feed(html)
    assert parser.stack == []
    tables = html[html.index("<main>") : html.index("</main>") + len("</main>")]
    xml.dom.minidom.parseString(tables.replace("&ndash;", "-"))


# -- the published table ---------------------------------------------------------------------------------------------


def test_every_published_row_has_a_protocol_and_an_origin():
    rows = published_results()
    assert {row.protocol for row in rows} == {"shipped", "official", "codepde"}
    assert {row.origin for row in rows} == {"authors", "third party"}
    assert all((row.origin == "authors") == ("NAS-Bench-360 images" in row.source) for row in rows)


def test_the_leaderboard_loads_no_torch():
    import subprocess
    import sys

    code = "import sys, crosstune.report.leaderboard_views as v; print('torch' in sys.modules, v.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False")
    assert Path(done.stdout.split()[1]).exists()
