"""Runs whose fitting several processes share: what they find is what one finds, and what a kill leaves goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crosstune.errors import RunError, UsageError
from crosstune.experiment import helper
from crosstune.experiment.request import Request
from crosstune.experiment.sweep.jobs import Job
from crosstune.experiment.team import Team
from crosstune.nn import devices
from crosstune.runs.folder import RunFolder
from crosstune.stages.machine import Machine

CPU = torch.device("cpu")
# batches of 15 rows do not halve evenly; rates at which training matters; dropout of each process's own is left out
FIT = (
    "--backbone", "twin-bert", "--floors", "none", "--controls", "frozen", "--threads", "1", "--budget", "30steps",
    "--set", "align.source_points=64", "--set", "align.target_points=32", "--set", "align.steps=3", "--set",
    "align.distortion_steps=2", "--set", "source_head.labels=topics", "--set", "source_head.iterations=3", "--set",
    "fit.head_init=zero", "--set", "fit.body_rate=0.001", "--set", "fit.batch_size=15", "--checkpoint-every", "0.01s",
)  # fmt: skip


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, X=X[:240].reshape(-1, 1, 8, 8).astype("float32"), y=y[:240])
    return path


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "import sys; from crosstune.cli import main; sys.exit(main())"]
    return subprocess.Popen(
        [*command, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=400)
    assert process.returncode == 0, said


def events(run: Path, **wanted: Any) -> list[dict[str, Any]]:
    path = run / "events.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            event = json.loads(line)
        except ValueError:  # at work on it
            continue
        if all(event.get(k) == v for k, v in wanted.items()):
            found.append(event)
    return found


def helpers(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_two_processes_find_what_one_finds_and_survive_a_kill(digits: Path, tmp_path: Path) -> None:
    one, two, killed = tmp_path / "one", tmp_path / "two", tmp_path / "killed"
    end(started("fit", digits, *FIT, "--out", one))
    end(started("fit", digits, *FIT, "--processes", "2", "--out", two))
    for arm in ("recraft", "frozen"):
        losses = [[e["loss"] for e in events(run, kind="step", stage="fit", arm=arm)] for run in (one, two)]
        assert len(losses[0]) == 30
        assert losses[1] == pytest.approx(losses[0], rel=2e-3)
        assert losses[1] != losses[0]  # sums in another order: it was another computation
        figures = json.loads((two / "run.json").read_text())["arms"][arm]["stages"][-1]["figures"]
        assert figures["processes"] == 2

    leader = started("fit", digits, *FIT, "--processes", "2", "--out", killed)
    while not events(killed, kind="step", stage="fit", arm="recraft", step=12):
        assert leader.poll() is None
        time.sleep(0.01)
    others = helpers(leader.pid)
    assert others
    leader.send_signal(signal.SIGKILL)
    leader.communicate()
    until = time.monotonic() + 60
    while any(alive(pid) for pid in others):
        assert time.monotonic() < until
        time.sleep(0.05)
    before = len(events(killed))
    end(started("resume", killed))
    steps = [e["step"] for e in events(killed)[before:] if e["kind"] == "step" and e["arm"] == "recraft"]
    assert 1 < steps[0] <= 13  # it went on, and did not begin anew
    for name in ("recraft.s0", "frozen.s0"):
        weights = [(run / "arms" / name / "model.safetensors").read_bytes() for run in (two, killed)]
        assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_lost_helper_ends_the_run_with_a_way_on(digits: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    leader = started("fit", digits, *FIT, "--processes", "2", "--budget", "2000steps", "--out", run)
    while not events(run, kind="step", stage="fit", arm="recraft", step=5):
        assert leader.poll() is None
        time.sleep(0.01)
    for pid in helpers(leader.pid):
        os.kill(pid, signal.SIGKILL)
    _, said = leader.communicate(timeout=200)
    assert leader.returncode == 2, said
    assert "process 2 of 2 for fitting ended with code -9" in said
    assert "goes on from the last checkpoint" in said
    assert json.loads((run / "run.json").read_text())["status"] == "failed"


def test_a_helper_that_cannot_start_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    before = dict(os.environ)
    team = Team(2, RunFolder(tmp_path), np.arange(3), CPU, 1)
    place = team._place
    assert place.stat().st_mode & 0o077 == 0  # helpers unpickle what lies there
    with team, pytest.raises(RunError, match="process 2 of 2 for fitting ended with code 1"):
        team.join()
    assert not place.exists()
    assert dict(os.environ) == before
    assert Machine(CPU).alone


def test_a_device_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 2)
    cuda = torch.device("cuda", 0)
    devices.check_processes(2, cuda, "cuda")
    devices.check_processes(1, cuda, "cuda:1")
    devices.check_processes(64, CPU, "cpu")
    with pytest.raises(UsageError, match="--processes 3 need as many devices, and --device auto gives 2"):
        devices.check_processes(3, cuda, "auto")
    with pytest.raises(UsageError, match="--device cuda:1 gives 1"):
        devices.check_processes(2, torch.device("cuda", 1), "cuda:1")
    with pytest.raises(UsageError, match="--device mps gives 1"):
        devices.check_processes(2, torch.device("mps"), "mps")


def test_how_many_decides_the_run_and_the_job() -> None:
    assert Request(processes=2).digest("d") != Request().digest("d")
    job = Job(
        task="pdebench/advection", data="x", origin="x", protocol="clean", contestant="finetune", role="method",
        backbone="twin-bert", seed=0, budget="4steps",
    )  # fmt: skip
    two = job.model_copy(update={"processes": 2})
    assert Job(**two.model_dump()).key != job.key
    assert two.request().processes == 2


def test_what_the_follower_s_monitor_does() -> None:
    from crosstune.stages.monitor import Limit

    monitor = helper._follower({"limits": {"fit": Limit(steps=7)}, "saved": {"elapsed": 3.0}})
    assert monitor.begin("fit") == {"elapsed": 3.0}
    assert monitor.progress(7) == 1.0
    assert monitor.remaining() is None
