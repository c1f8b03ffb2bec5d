"""What a sweep's table is worth: ranks and tests, alignment, parts, costs, gaps, origins; in every format."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import re
import xml.dom.minidom
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from crosstune.errors import DataError, RunError
from crosstune.report import paired
from crosstune.report.analysis import Analysis, LeftOut, analyse
from crosstune.report.statistics import critical_difference
from crosstune.report.sweep import read_records
from crosstune.report.sweep_page import render_diagram, render_html
from crosstune.report.sweep_views import render_csv, render_markdown, render_text

from . import sweeps

FACTORS = {**sweeps.FACTORS, "nearest": 1.2, "linear": 1.1}


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "RESAMPLES", 1000)


def analysed(folder: Path, entries: list[dict[str, Any]], torn: str = "") -> Analysis:
    sweeps.write(folder, entries, torn)
    return analyse(read_records(folder), [folder])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "sweep"
    sweeps.write(out, sweeps.lines(FACTORS))
    sweeps.asked(out)
    return out


@pytest.fixture(scope="module")
def found(folder: Path) -> Analysis:
    return analyse(read_records(folder), [folder])


def test_ranks_tests_and_cliques_follow_the_factors(found: Analysis) -> None:
    place = found.standing
    assert place is not None
    assert place.order[:2] == ("recraft (twin)", "no-align (twin)")
    assert place.order[-1] == "scratch (twin)"
    assert (place.blocks, len(place.tasks)) == (8, 24)  # variants are no data sets of their own
    assert place.ranks["recraft (twin)"] == pytest.approx(1.0)
    assert place.ranks == pytest.approx(found.table.ranks)
    assert place.cd == critical_difference(7, 8)
    assert place.friedman is not None
    assert place.friedman.p < 1e-4
    apart = {frozenset((t.a, t.b)) for t in place.tests if t.differ}
    assert not any(t.differ for t in place.tests)  # 21 pairs, and eight data sets allow no less than 2 / 2^8
    assert min(t.p for t in place.tests) == pytest.approx(2 / 2**8)
    assert place.cliques == (place.order,)
    assert apart == set()


def test_fewer_pairs_are_told_apart(tmp_path: Path) -> None:
    place = analysed(tmp_path, sweeps.lines({"recraft": 0.8, "no-align": 1.0, "scratch": 1.0})).standing
    assert place is not None
    assert {(t.a, t.b) for t in place.tests if t.differ} >= {(place.order[0], place.order[1])}
    assert place.cliques == ((place.order[1], place.order[2]),)
    assert set(place.cliques[0]) == {"no-align (twin)", "scratch (twin)"}


def test_alignment_is_counted_over_all_and_in_parts(found: Analysis) -> None:
    (whole,) = found.alignment
    assert (whole.a, whole.b, whole.tasks, whole.data_sets) == ("recraft (twin)", "no-align (twin)", 24, 8)
    assert whole.value == pytest.approx(-1 / 9, abs=0.02)
    assert whole.win + whole.tie + whole.loss == 24
    assert whole.win > 15
    parts = {part.name: part for part in found.parts}
    assert set(parts) == {"100 % of the training rows", "30 % of the training rows", "10 % of the training rows",
                          "tables", "series", "fields"}  # fmt: skip
    assert len(parts["fields"].tasks) == 3
    assert all(task.endswith("-10") for task in parts["10 % of the training rows"].tasks)
    assert sum(p.alignment[0].win for name, p in parts.items() if "%" in name) == whole.win
    text = render_text(found)
    assert f"{whole.win} won, {whole.tie} tied, {whole.loss} lost" in text
    assert "  10 % of the training rows: recraft (twin) against no-align (twin): " in text


def test_old_records_without_a_kind_ask_the_suites(tmp_path: Path) -> None:
    entries = sweeps.lines({"recraft": 1.0}, data_sets=["digits"], modality=None, kind=None)
    entries += sweeps.lines({"recraft": 1.0}, data_sets=["darcy"], modality=None, kind=None)
    for entry in entries:
        for key in ("task", "job"):
            entry[key] = entry[key].replace("lab/", "showcase/")
    entries += sweeps.lines({"recraft": 1.0}, data_sets=["apple"], modality=None, kind=None)
    parts = {part.name: part.tasks for part in analysed(tmp_path, entries).parts}
    assert parts["images"] == ("showcase/digits", "showcase/digits-10", "showcase/digits-30")
    assert parts["fields"][0] == "showcase/darcy"
    assert parts["of unknown kind"][0] == "lab/apple"


def test_costs_and_origins(found: Analysis) -> None:
    cost = next(c for c in found.costs if c.contestant == "recraft (twin)")
    assert (cost.seconds, cost.peak_mib, cost.joules) == pytest.approx((20.0, 101.0, 500.0))
    source = found.provenance
    assert (source.jobs, source.budgets, source.seeds) == (8 * 3 * 7 * 3, ("20s",), (0, 1, 2))
    assert source.hardware == ("Abacus, 2 cores, 1 thread a job, cpu",)
    assert source.versions == {"numpy": ("2.1",), "torch": ("2.0",)}
    assert source.commands == (
        "crosstune bench run lab --methods recraft,no-align --tasks apple,birch --backbones twin --seeds 3 "
        "--budget 20s --protocol clean --scale small --set align.space=means --threads 1 --out sweep",
    )
    assert "500 J" in render_text(found)


def test_energy_that_one_job_lacks_is_not_made_up(tmp_path: Path) -> None:
    entries = sweeps.lines({"recraft": 0.8, "finetune": 1.0}, data_sets=["apple", "birch"])
    for entry in entries:
        if entry["method"] == "recraft" and entry["task"] == "lab/apple":
            entry["energy_joules"] = None
    costs = {c.contestant: c for c in analysed(tmp_path, entries).costs}
    assert costs["recraft (twin)"].joules is None
    assert costs["finetune (twin)"].joules == 500.0


def failing(task: str, method: str, seed: int, split: str) -> float | None:
    if (method, task) == ("linear", "lab/apple") or (method, seed) == ("nearest", 2):
        return None
    return sweeps.by_factor(FACTORS)(task, method, seed, split)


def test_what_failed_is_said_with_its_reason(tmp_path: Path) -> None:
    found = analysed(tmp_path, sweeps.lines(FACTORS, error=failing))
    linear, nearest = found.left_out
    assert linear == LeftOut("linear", "failed", "out of paper", (0, 1, 2), ("lab/apple",))
    assert (nearest.contestant, nearest.seeds, len(nearest.tasks)) == ("nearest", (2,), 24)
    assert found.standing is not None
    assert len(found.standing.tasks) == 23
    for text in (render_text(found), render_markdown(found), render_html(found)):
        assert "out of paper" in text
    rows = list(csv.DictReader(io.StringIO(render_csv(found))))
    assert [r["note"] for r in rows if (r["task"], r["contestant"]) == ("lab/apple", "linear")] == [
        "failed: out of paper"
    ]


def test_a_contestant_that_fits_little_is_left_out_of_ranks_and_named(tmp_path: Path) -> None:
    entries = [e for e in sweeps.lines(FACTORS) if e["method"] != "linear" or e["task"] == "lab/apple"]
    found = analysed(tmp_path, entries)
    assert found.standing is not None
    assert "linear" not in found.standing.order
    assert len(found.standing.tasks) == 24
    assert "not ranked, with figures on too few tasks: linear" in render_text(found)
    assert "not ranked" in render_html(found)


def test_single_seeds_ties_and_single_contestants(tmp_path: Path) -> None:
    one = analysed(tmp_path / "one", sweeps.lines(seeds=(4,)))
    cell = one.table.cell("lab/apple", "recraft (twin)")
    assert cell is not None
    assert (cell.sd, cell.low) == (None, None)
    assert one.alignment[0].seeds == (1, 1)
    tied = analysed(tmp_path / "tied", sweeps.lines(dict.fromkeys(("recraft", "no-align", "scratch"), 1.0),
                    error=lambda *unused: 0.25))  # fmt: skip
    assert tied.standing is not None
    assert set(tied.standing.ranks.values()) == {2.0}
    assert tied.standing.friedman is not None
    assert tied.standing.friedman.p == 1.0
    assert tied.standing.cliques == (tied.standing.order,)
    assert (tied.alignment[0].tie, tied.alignment[0].value) == (24, 0.0)
    assert render_markdown(tied).count("**0.250 ± 0 \\[0.250, 0.250\\]**") == 3 * 24
    alone = analysed(tmp_path / "alone", sweeps.lines({"recraft": 1.0}))
    assert (alone.standing, alone.alignment) == (None, ())
    with pytest.raises(DataError, match="nothing to rank"):
        render_diagram(alone)
    assert "Ranks" not in render_html(alone)


def test_the_order_of_the_records_and_torn_lines_change_nothing(folder: Path, tmp_path: Path) -> None:
    first = analyse(read_records(folder))
    entries = [json.loads(text) for text in (folder / "records.jsonl").read_text().splitlines()]
    random.Random(3).shuffle(entries)
    other = sweeps.write(tmp_path / "other", entries, torn='{"schema": 1, "job": "lab/app')
    second = analyse(read_records(other))
    for render in (render_text, render_csv, render_markdown, render_html, render_diagram):
        assert render(first) == render(second)
    assert first.provenance.digest == second.provenance.digest
    entries[0]["value"] = 7.0
    assert analysed(tmp_path / "changed", entries).provenance.digest != first.provenance.digest


def test_packed_records_are_the_same_records(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "records.jsonl.gz"
    packed.write_bytes(gzip.compress((folder / "records.jsonl").read_bytes()))
    assert read_records(packed) == read_records(folder)
    assert read_records(tmp_path) == read_records(folder)
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(RunError, match="cannot be unpacked"):
        read_records(packed)
    packed.write_bytes(b"{}")
    with pytest.raises(RunError, match="cannot be unpacked"):
        read_records(packed)


def test_a_later_job_with_another_budget_counts_and_is_said(tmp_path: Path) -> None:
    entries = sweeps.lines({"recraft": 0.8, "finetune": 1.0}, data_sets=["apple"], shares=(100,))
    again = sweeps.lines({"recraft": 0.5, "finetune": 1.0}, data_sets=["apple"], shares=(100,), budget="2m", time="t2")
    again = [e | {"job": e["job"] + " 2m"} for e in again if e["method"] == "recraft"]
    for order in (entries + again, again + entries):
        found = analysed(tmp_path, order)
        cell = found.table.cell("lab/apple", "recraft (twin)")
        assert cell is not None
        assert cell.error == pytest.approx(0.5 * 10 ** (5 % 4 - 2), rel=0.05)
        assert "3 figures were made again with another budget" in render_text(found)


class Page(HTMLParser):
    """Which elements are open, and what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.headers = 0
        self.captions = 0
        self.tables = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br", "img", "hr"):
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]
        self.headers += tag == "th" and dict(attrs).get("scope") in ("row", "col")
        self.tables += tag == "table"
        self.captions += tag == "caption"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_with_named_tables_and_the_drawing(found: Analysis) -> None:
    html = render_html(found)
    page = Page()
    page.feed(html)
    assert page.open == []
    assert all(address.startswith(("#", "data:")) for address in page.addresses), page.addresses
    assert page.tables == page.captions >= 4
    assert page.headers > 30
    assert "<script" not in html
    assert 'role="img" aria-label="Critical-difference diagram over 8 data sets' in html
    assert "size: landscape" in html
    assert "crosstune bench run lab" in html
    assert "Wilcoxon" in html


def test_the_drawing_is_a_file_of_its_own(found: Analysis) -> None:
    svg = render_diagram(found)
    document = xml.dom.minidom.parseString(svg)
    texts = [node.firstChild.data.strip() for node in document.getElementsByTagName("text") if node.firstChild]
    assert "recraft (twin)  1.00" in texts
    assert any(text.startswith("CD 3.18") for text in texts)
    assert not re.search(r'(href|src)="(?!#)', svg)
    assert "var(--ink)" in svg
    assert "prefers-color-scheme: dark" in svg
    assert document.getElementsByTagName("title")[0].firstChild.data.startswith("Average ranks over 8 data sets")


def test_names_that_are_markup_stay_text(tmp_path: Path) -> None:
    entries = sweeps.lines({"recraft": 0.8, "no-align": 0.9}, data_sets=["apple", "birch"])
    for entry in entries:
        entry["backbone"] = "<b>&|[x](y)"
    found = analysed(tmp_path, entries)
    assert "<b>&|" not in render_html(found).replace("&lt;b&gt;&amp;|", "")
    assert "\\[x\\](y)" in render_markdown(found)
    xml.dom.minidom.parseString(render_diagram(found))
