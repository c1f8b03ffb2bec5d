"""The proofs of bench/sweep_kill.py, whole. Smaller ones are in test_bench."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from . import support


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_forty_jobs_and_five_kills(engine: str, tmp_path: Path) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
    done = subprocess.run(
        [sys.executable, str(support.ROOT / "bench" / "sweep_kill.py"), "--only", engine, "--out", str(tmp_path)],
        capture_output=True, text=True, timeout=1800, check=False, env=support.environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "sweep_kill.json").read_text())[engine]
    assert found["jobs"] == 40
    assert len(found["kills"]) == {"local": 5, "ray": 3}[engine]
