"""Reading run folders: strict about foreign ones, lenient about torn ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crosstune import report
from crosstune.errors import RunError


def test_a_missing_folder_is_named_with_the_way_out(tmp_path: Path):
    with pytest.raises(RunError, match=r"no run folder at .*nowhere[\s\S]*crosstune fit \.\.\. --out FOLDER"):
        report.read_run(tmp_path / "nowhere")


def test_a_foreign_folder_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(RunError, match=r"is not a run folder: it has no run\.json"):
        report.summarise(tmp_path)


@pytest.mark.parametrize("schema", [2, "1", None])
def test_another_schema_is_refused_with_its_number(tmp_path: Path, schema):
    (tmp_path / "run.json").write_text(json.dumps({"schema": schema}))
    with pytest.raises(RunError, match=rf"has schema {schema!r}; this version of crosstune reads schema 1"):
        report.write_html(tmp_path)


@pytest.mark.parametrize("text", ["{", "", "[1, 2]"])
def test_a_broken_run_json_is_refused(tmp_path: Path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json"):
        report.model_card(tmp_path)


def test_a_torn_last_event_is_ignored_and_counted(own):
    folder = own("diabetes")
    (folder / "events.jsonl").write_text('{"t": 0.1, "kind": "message", "text": "started"}\n')
    whole = report.read_run(folder)
    assert len(whole.events) == 1
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'{"t": 99.0, "kind": "step", "loss": 0.1, "arm": "re\xc3')
    torn = report.read_run(folder)
    assert torn.events == whole.events
    assert (whole.ignored_lines, torn.ignored_lines) == (0, 1)
    assert "1 unreadable line(s) of events.jsonl were ignored" in report.summarise(folder).notes
    assert report.write_html(folder).is_file()


def test_arms_come_method_first_then_controls_then_floors(made):
    record = report.read_run(made("digits"))
    roles = [arm.role for arm in record.arms.values()]
    assert roles == sorted(roles, key=["method", "control", "floor"].index)
    assert record.method == "recraft"
    assert record.arms["floor:boosting"].status == "timeout"


def test_predictions_are_sorted_by_row_and_keep_their_shape(made):
    fields = report.read_run(made("plate")).predictions("validation")["recraft"][0]
    assert fields.target.shape == fields.prediction.shape == (60, 1, 24, 24)
    classes = report.read_run(made("digits")).predictions("validation")
    assert set(classes) >= {"recraft", "floor:linear"}  # the file name's dash is turned back into the arm's colon
    assert (np.diff(classes["recraft"][0].rows) > 0).all()


def test_unreadable_parts_are_left_out(own):
    folder = own("diabetes")
    (folder / "predictions" / "validation.frozen.s0.parquet").write_bytes(b"PAR1 half of a file")
    (folder / "diagnostics").mkdir()
    (folder / "diagnostics" / "alignment.recraft.s0.npz").write_bytes(b"PK half")
    record = report.read_run(folder)
    assert "frozen" not in record.predictions("validation")
    assert record.diagnostics("alignment") == {}
    assert report.summarise(folder).arm("frozen").value is None
    assert "No alignment diagnostics recorded" in report.write_html(folder).read_text()


def test_the_room_imports_no_model_code():
    import subprocess
    import sys

    code = (
        "import sys, crosstune.report, crosstune.report.figures_kind, crosstune.report.figures\n"
        "rooms = ('methods', 'stages', 'backbones', 'data', 'nn', 'ot', 'floors', 'runs', 'cli')\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers')"
        " or m.startswith(tuple('crosstune.' + r for r in rooms))]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
