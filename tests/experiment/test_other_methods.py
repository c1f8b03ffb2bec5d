"""PaRe and MoNA as runs: steps shared out, source rows kept whole, interruptions, and no labelled source."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from crosstune import report
from crosstune.errors import Interrupted
from crosstune.experiment import Request, bodies, execute, prepare
from crosstune.experiment.arms import Arm, RunMonitor, _limit
from crosstune.experiment.source import source_bank_and_origin
from crosstune.methods import get_method
from crosstune.records import Dataset
from crosstune.runs import RunFolder
from crosstune.stages.mix import MixConfig
from crosstune.stages.monitor import Limit

from .test_resume import digests, stop_at

SETTINGS = {
    "pare": {"mix.batch_size": 8, "mix.levels": 3, "fit.batch_size": 8, "fit.body_rate": 1e-3},
    "mona": {"meta.steps": 4, "meta.batch_size": 8, "meta.source_batch": 12, "fit.batch_size": 8},
}


def request(method: str, **options: Any) -> Request:
    base = {"backbone": "twin-bert", "budget": "12steps", "floors": (), "controls": (), "threads": 1}
    return Request(**{**base, "method": method, "settings": SETTINGS[method], **options})


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step, and a small source."""

    def checkpoint(self: RunMonitor, stage: str, step: int, state: Callable[[], dict[str, Any]]) -> None:
        self.folder.save_checkpoint(f"{self.prefix}.{stage}", state())
        self.flag.check()

    monkeypatch.setattr(RunMonitor, "checkpoint", checkpoint)
    monkeypatch.setattr(bodies, "source_bank_and_origin", partial(source_bank_and_origin, rows=120, tokens=8))


def run(waves: Dataset, path: Path, method: str, **options: Any) -> RunFolder:
    folder, _ = prepare(waves, request(method, **options), path)
    execute(folder)
    return folder


@pytest.mark.parametrize(("method", "stage", "steps"), [("pare", "mix", (6, 6)), ("mona", "meta", (4, 12))])
def test_interrupted_anywhere(method: str, stage: str, steps: tuple[int, int], waves: Dataset, tmp_path: Path) -> None:
    """Mixing trains what fitting trains, and shares its steps; meta-learning trains the embedder and has its own."""
    whole = run(waves, tmp_path / "whole", method)
    record = whole.record()
    found = record["arms"][method]["stages"]
    assert [(s["stage"], s["steps"]) for s in found] == list(zip((stage, "fit"), steps))
    assert any("samples are whole: " in note for note in record["proxy"]["notes"])
    events = [json.loads(line) for line in (whole.path / "events.jsonl").read_text().splitlines()]
    assert [e["step"] for e in events if e["kind"] == "step" and e["stage"] == stage] == list(range(1, steps[0] + 1))
    folder, _ = prepare(waves, request(method), tmp_path / "cut")
    with pytest.raises(Interrupted):
        execute(folder, notify=stop_at(method, stage, 2))
    torch.rand(3)  # the generator of the process that resumes is anywhere
    execute(RunFolder.open(folder.path))
    assert digests(folder) == digests(whole)
    page = Path(report.write_html(whole.path)).read_text()
    assert {"mix": "mixing", "meta": "meta-learning"}[stage] in page


@pytest.mark.parametrize("method", ["pare", "mona"])
def test_without_a_proxy_the_report_says_what_was_left(method: str, waves: Dataset, tmp_path: Path) -> None:
    folder = run(waves, tmp_path / "none", method, proxy="none", budget="4steps")
    note = folder.record()["arms"][method]["note"]
    assert "no labelled source data" in note
    assert folder.record()["status"] == "complete"


def test_the_limits_of_a_mixing_arm() -> None:
    """Its share of the arm's time or steps, and fitting has what is left of either."""
    method = get_method("pare")
    mixing, fitting = method.stages
    assert isinstance(mixing, MixConfig)
    in_time = Arm("pare", method, "method", "pare", seconds=40.0, after_seconds=1.0)
    assert _limit(in_time, mixing, 0.0, 0).seconds == pytest.approx(40 * mixing.share)
    assert _limit(in_time, fitting, 22.0, 500).seconds == pytest.approx(17.0)
    assert _limit(in_time, fitting, 22.0, 500).steps is None
    in_steps = Arm("pare", method, "method", "pare", steps=200)
    assert _limit(in_steps, mixing, 0.0, 0) == Limit(steps=int(200 * mixing.share))
    assert _limit(in_steps, fitting, 9.0, 90) == Limit(steps=110)
    # aligning and meta-learning train the embedder only: their steps are their own
    meta = get_method("mona").stages[0]
    assert _limit(in_steps, meta, 0.0, 0) == Limit()
