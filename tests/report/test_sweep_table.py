"""Tables and comparisons of sweeps, from records written by hand: every figure has a value worked out beside it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from crosstune.errors import DataError, RunError, UsageError
from crosstune.report import compare as comparing
from crosstune.report import sweep as tables
from crosstune.report.analysis import Analysis, analyse
from crosstune.report.sweep_page import render_html
from crosstune.report.sweep_views import render_csv, render_text

ERRORS = {
    ("s/one", "a"): [0.1, 0.2, 0.3], ("s/one", "b"): [0.2, 0.4, 0.6], ("s/one", "c"): [0.4, 0.4, 0.4],
    ("s/two", "a"): [3.0, 1.0, 2.0], ("s/two", "b"): [2.0, 1.0, 3.0], ("s/two", "c"): [0.5, 0.5, 0.5],
}  # fmt: skip


def line(task: str, method: str, seed: int, error: float | None, **more: Any) -> dict[str, Any]:
    return {
        "schema": 1, "job": f"{task}{method}{seed}", "task": task, "method": method, "role": "method",
        "backbone": "twin", "seed": seed, "protocol": "clean", "metric": "accuracy" if task == "s/one" else "rmse",
        "primary": True, "split": "test", "selected_on": "validation",
        "value": None if error is None else 1 - error if task == "s/one" else error, "error": error,
        "seconds": 2.0 + seed, "peak_mib": 100.0, "steps": 5, "status": "ok", "note": None, "time": "t1", "line": 0,
        "lines": 1,
    } | more  # fmt: skip


def write(folder: Path, lines: list[dict[str, Any]], torn: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(entry) + "\n" for entry in lines)
    (folder / "records.jsonl").write_text(text + torn)
    return folder


def analysis(folder: Path, **filters: Any) -> Analysis:
    return analyse(tables.read_records(folder), [folder], **filters)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    lines = [line(task, m, s, e) for (task, m), errors in ERRORS.items() for s, e in enumerate(errors)]
    return write(tmp_path / "sweep", lines)


def test_mean_spread_interval_and_cost(sweep: Path) -> None:
    table = tables.table_of(tables.read_records(sweep))
    cell = table.cell("s/one", "a (twin)")
    assert cell is not None
    assert cell.seeds == (0, 1, 2)
    assert cell.mean == pytest.approx(0.8)  # accuracy; the error is 0.2
    assert cell.error == pytest.approx(0.2)
    assert cell.sd == pytest.approx(0.1)
    assert cell.seconds == pytest.approx(3.0)
    other = bootstrap(([0.9, 0.8, 0.7],), np.mean, method="percentile", n_resamples=20_000, rng=1)
    assert (cell.low, cell.high) == pytest.approx(tuple(other.confidence_interval), abs=0.01)


def test_ranks_are_averages_over_tasks_with_ties_shared(sweep: Path) -> None:
    table = tables.table_of(tables.read_records(sweep))
    # one: a 0.2, b 0.4, c 0.4 -> 1, 2.5, 2.5; two: c 0.5, a 2, b 2 -> 2.5, 2.5, 1
    assert table.ranks == pytest.approx({"a (twin)": 1.75, "b (twin)": 2.5, "c (twin)": 1.75})
    assert [c.contestant for c in table.cells if c.best] == ["a (twin)", "c (twin)"]
    text = render_text(analysis(sweep))
    assert "a (twin)  1.75" in text
    assert "0.800 ± 0.100 [0.700, 0.900]" in text


def test_a_task_that_one_contestant_lacks_is_not_ranked(sweep: Path) -> None:
    lines = [json.loads(text) for text in (sweep / "records.jsonl").read_text().splitlines()]
    lines = [e for e in lines if (e["task"], e["method"]) != ("s/two", "c")]
    lines.append(line("s/two", "c", 0, None, status="failed", note="out of paper", split=None))
    table = tables.table_of(tables.read_records(write(sweep, lines)))
    assert table.ranked == ("s/one",)
    assert table.left_out == {"failed": 1}
    text = render_text(analysis(sweep))
    assert "ranks are over the 1 of 2 tasks" in text
    assert "without a score: 1 failed\n  c (twin): failed: out of paper (s/two, seed 0)" in text


def test_torn_and_repeated_lines_count_once(sweep: Path) -> None:
    lines = [json.loads(text) for text in (sweep / "records.jsonl").read_text().splitlines()]
    again = line("s/one", "a", 0, 0.5, time="t2")
    half = line("s/one", "b", 0, 0.9, time="t2", lines=2)
    write(sweep, [*lines, again, half], torn='{"schema": 1, "job": "s/o')
    table = tables.table_of(tables.read_records(sweep))
    a, b = table.cell("s/one", "a (twin)"), table.cell("s/one", "b (twin)")
    assert a is not None
    assert b is not None
    assert a.error == pytest.approx((0.5 + 0.2 + 0.3) / 3)  # the later record
    assert b.error == pytest.approx(0.4)  # not the one of which a line is missing


def test_filters_and_what_they_leave(sweep: Path) -> None:
    lines = [json.loads(text) for text in (sweep / "records.jsonl").read_text().splitlines()]
    lines += [line("s/one", "a", 0, 0.7, protocol="shipped", selected_on="test", split="validation", job="x")]
    records = tables.read_records(write(sweep, lines))
    assert tables.table_of(records).protocol == "clean"
    shipped = tables.table_of(records, protocol="shipped")
    assert shipped.split == "validation"
    assert "selected on the test rows" in render_text(analysis(sweep, protocol="shipped"))
    with pytest.raises(DataError, match="clean/test/accuracy"):
        tables.table_of(records, metric="mae")
    with pytest.raises(RunError, match=r"records.jsonl is not there"):
        tables.read_records(sweep.parent)


def test_csv_and_html(sweep: Path) -> None:
    table = analysis(sweep)
    rows = list(csv.DictReader(io.StringIO(render_csv(table))))
    assert len(rows) == 6
    assert float(rows[0]["mean"]) == pytest.approx(0.8)
    assert rows[0]["seeds"] == "0 1 2"
    html = render_html(table)
    assert "<b>0.800</b>" in html
    assert "1.75" in html
    target = sweep / "out" / "table.html"
    tables.write_text(target, html)
    assert target.read_text() == html
    json.dumps(table.as_dict(), allow_nan=False)


def test_two_methods_of_one_sweep(sweep: Path) -> None:
    found = comparing.compare("a", "b", str(sweep))
    one, two = found.pairs
    assert one.difference == pytest.approx(0.2)  # 0.1, 0.2, 0.3: sd 0.1, t(2) 4.303
    assert (one.low, one.high) == pytest.approx((0.2 - 4.303 * 0.1 / 3**0.5, 0.2 + 4.303 * 0.1 / 3**0.5), abs=1e-4)
    assert (one.outcome, one.wins, one.losses) == ("tie", 3, 0)  # three seeds agree once in four times by chance
    assert two.difference == pytest.approx(0.0)  # -1, 0, 1
    assert (two.outcome, two.wins, two.losses) == ("tie", 1, 1)
    assert (found.win, found.tie, found.loss) == (0, 2, 0)
    assert found.relative == pytest.approx(np.sqrt(0.5))
    third = comparing.compare("a", "c", str(sweep)).pairs  # 0.3, 0.2, 0.1 and -2.5, -0.5, -1.5
    assert [p.outcome for p in third] == ["tie", "tie"]
    assert "0 won, 2 tied, 0 lost" in comparing.render(found)


def test_a_difference_beyond_the_spread_over_seeds_is_a_win(sweep: Path) -> None:
    lines = [json.loads(text) for text in (sweep / "records.jsonl").read_text().splitlines()]
    lines += [line("s/one", "d", seed, error) for seed, error in enumerate((0.31, 0.42, 0.5))]
    write(sweep, lines)
    found = comparing.compare("a", "d", str(sweep))
    assert (found.pairs[0].outcome, found.win, found.loss) == ("win", 1, 0)
    assert comparing.compare("d", "a", str(sweep)).pairs[0].outcome == "loss"
    assert found.overall is not None
    assert found.overall.value == pytest.approx(-0.21 / 0.41)
    assert "a (twin) against d (twin): 1 won, 0 tied, 0 lost" in comparing.render(found)


def test_two_sweeps_are_paired_by_contestant_and_seed(sweep: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", [line("s/one", "a", s, 0.05) for s in (1, 2)])
    found = comparing.compare(str(other), str(sweep))
    assert [(p.task, p.what, p.seeds) for p in found.pairs] == [("s/one", "a (twin)", (1, 2))]
    assert found.pairs[0].difference == pytest.approx(0.2)
    assert (found.pairs[0].low, found.pairs[0].outcome) == (None, "win")
    assert "no interval on some tasks" in comparing.render(found)


def test_comparisons_that_cannot_be_made(sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--out FOLDER"):
        comparing.compare("a", "b")
    with pytest.raises(UsageError, match="did you mean"):
        comparing.compare("a", "b (twim)", str(sweep))
    lines = [line("s/one", "a", 0, 0.1), line("s/one", "a", 0, 0.2, backbone="other", job="o")]
    with pytest.raises(UsageError, match="several backbones"):
        comparing.compare("a", "a (twin)", str(write(tmp_path / "two", lines)))
    lines = [line("s/one", "a", 0, 0.1), line("s/one", "b", 1, 0.2)]
    with pytest.raises(UsageError, match="no task and seed in common"):
        comparing.compare("a", "b", str(write(tmp_path / "apart", lines)))
