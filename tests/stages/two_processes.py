"""One of the processes of ``test_processes``: fits a twin and writes what it came to. Arguments: out, options."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.stages.problems import Recorder, state

from crosstune.seeding import Streams
from crosstune.stages import fit
from crosstune.stages.fit import FitConfig


def main(out: str, options: str) -> None:
    torch.set_num_threads(1)
    settings = json.loads(options)
    recorder = Recorder()
    made = state(settings.pop("kind"), rows=61, monitor=recorder)
    after, report = fit.run(made, FitConfig(**settings), streams=Streams(0))
    rank = os.environ.get("RANK", "0")
    result = {
        "model": after.model.state_dict(), "losses": [e["loss"] for e in recorder.of("step")],
        "scores": [e["score"] for e in recorder.of("validation")], "processes": report.figures["processes"],
    }  # fmt: skip
    torch.save(result, f"{out}.{rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
