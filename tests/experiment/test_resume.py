"""A run interrupted at any step and resumed is the run that was not: weights, predictions, order of rows, dropout.

In one process, with a checkpoint after every step, so that every state a run can be resumed from is tried, and so
that it can be shown that a resume which forgets one part of the state is found out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from crosstune.errors import Interrupted
from crosstune.experiment import Request, bodies, execute, prepare
from crosstune.experiment.arms import RunMonitor
from crosstune.experiment.source import source_bank_and_origin
from crosstune.records import Dataset
from crosstune.runs import RunFolder
from crosstune.seeding import Streams
from crosstune.stages import align, fit

SETTINGS = {
    "align.steps": 4, "align.distortion_steps": 3, "align.source_points": 48, "align.target_points": 24,
    "source_head.labels": "topics", "source_head.iterations": 2, "fit.batch_size": 8,
    # rates at which the last steps are the best: a model selected before training would hide a wrong resume
    "fit.dropout": True, "fit.body_rate": 1e-3, "fit.embedder_rate": 3e-3, "fit.head_init": "zero",
}  # fmt: skip
REQUEST = Request(
    backbone="twin-bert",
    budget="14steps",
    floors=(),
    controls=("scratch",),
    threads=1,
    settings=SETTINGS | {"align.keep": "last"},  # whether it is any good or not: every step must count
)
MOMENTS = [
    ("recraft", "align", 0), ("recraft", "align", 2), ("recraft", "align", 5), ("recraft", "align", 6),
    ("recraft", "fit", 1), ("recraft", "fit", 9), ("recraft", "fit", 14), ("scratch", "fit", 6),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def eager() -> Iterator[None]:
    """A checkpoint after every step, and a small source."""

    def checkpoint(self: RunMonitor, stage: str, step: int, state: Callable[[], dict[str, Any]]) -> None:
        self.folder.save_checkpoint(f"{self.prefix}.{stage}", state())
        self.flag.check()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunMonitor, "checkpoint", checkpoint)
        patch.setattr(bodies, "source_bank_and_origin", partial(source_bank_and_origin, rows=200, tokens=8))
        yield


def stop_at(arm: str, stage: str, step: int) -> Callable[..., None]:
    def notify(*, kind: str, **values: Any) -> None:
        if kind == "step" and (values["arm"], values["stage"], values["step"]) == (arm, stage, step):
            raise KeyboardInterrupt

    return notify


def digests(folder: RunFolder) -> dict[str, str]:
    return {
        str(p.relative_to(folder.path)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.path.rglob("*"))
        if p.suffix in (".safetensors", ".parquet") or p.parent.name == "diagnostics"
    }


@pytest.fixture(scope="module")
def whole(waves: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder, _ = prepare(waves, REQUEST, tmp_path_factory.mktemp("whole") / "run")
    execute(folder)
    found = digests(folder)
    assert len(found) == 6  # two arms, the exported model, two predictions, one diagnostic
    return found


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: "-".join(map(str, m)))
def test_interrupted_anywhere(moment: tuple[str, str, int], waves: Dataset, whole: Any, tmp_path: Path) -> None:
    folder, _ = prepare(waves, REQUEST, tmp_path / "run")
    with pytest.raises(Interrupted, match=f"crosstune resume {tmp_path / 'run'}"):
        execute(folder, notify=stop_at(*moment))
    assert folder.record()["status"] == "interrupted"
    torch.rand(3)  # the generator of the process that resumes is anywhere
    execute(RunFolder.open(folder.path))
    assert digests(folder) == whole
    assert folder.record()["status"] == "complete"


def forget_rows(self: Streams, state: dict[str, Any]) -> None:
    """A wrong restore: the streams start again."""


def forget_dropout(saved: dict[str, Any], streams: Streams) -> tuple[int, dict[str, Any]]:
    streams.load_state_dict(saved["streams"])
    return int(saved["step"]), saved["parts"]


class Amnesia(torch.optim.AdamW):
    def load_state_dict(self, state_dict: Any) -> None:
        """A wrong restore: the moments of the optimiser start at zero."""


@pytest.mark.parametrize("broken", ["streams", "dropout", "optimiser in fit", "optimiser in align"])
def test_a_resume_that_forgets_is_found_out(
    broken: str, waves: Dataset, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = prepare(waves, REQUEST, tmp_path / "run")
    stage, step = ("align", 2) if "align" in broken else ("fit", 9)
    with pytest.raises(Interrupted):
        execute(folder, notify=stop_at("recraft", stage, step))
    if broken == "streams":
        monkeypatch.setattr(Streams, "load_state_dict", forget_rows)
    elif broken == "dropout":
        monkeypatch.setattr(fit, "unpack", forget_dropout)
    else:
        module = align if "align" in broken else fit
        monkeypatch.setattr(module.torch.optim, "AdamW", Amnesia)
    execute(folder)
    name = "arms/recraft.s0/model.safetensors"
    assert digests(folder)[name] != whole[name]
