"""Runs that are killed, interrupted and started twice: nothing is lost but the steps since the last checkpoint."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crosstune.cli import main
from crosstune.errors import RunError
from crosstune.runs import RunFolder

from . import support

LONG = (
    *support.SMALL, "--set", "align.steps=40", "--set", "align.distortion_steps=20", "--set", "align.source_points=128",
    # rates at which training matters: a model selected before its first step would hide a wrong resume
    "--set", "fit.dropout=true", "--set", "fit.body_rate=0.001", "--set", "fit.head_init=zero",
    "--budget", "120steps", "--controls", "no-align", "--seeds", "1", "--checkpoint-every", "0.02s",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing interrupts."""
    run = tmp_path_factory.mktemp("whole") / "run"
    done = support.process("fit", files / "digits.npz", *LONG, "--out", run, "--json")
    assert done.returncode == 0, done.stderr
    return run


# processes that begin with everything imported: torch alone would take most of the time of these tests
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["crosstune.cli.app", "crosstune.cli.running", "crosstune.experiment", "crosstune.report", "crosstune.methods",
     "crosstune.experiment.sweep.engines.inline",
     "crosstune.experiment.sweep.engines.local", "crosstune.cli.sweeping",
     "crosstune.backbones.bert", "transformers.models.bert.modeling_bert", "sklearn.cluster"]
)  # fmt: skip


def _work(log: str, environment: dict[str, str], arguments: list[str]) -> None:
    os.setsid()
    os.environ |= environment
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(arguments))


class Victim:
    """A crosstune process of its own that can be stopped at a given moment of its run."""

    def __init__(self, run: Path, *arguments: str | Path) -> None:
        self.run = run
        self.log = run.parent / "log"
        self.process = FORKS.Process(
            target=_work, args=(str(self.log), support.environment(), [str(a) for a in arguments])
        )  # fmt: skip
        self.process.start()
        assert self.process.pid is not None
        self.pid: int = self.process.pid
        self._at = 0
        self._line = b""

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def wait_until(self, moment: Callable[[Path], bool]) -> None:
        while not moment(self.run):
            assert self.process.is_alive(), f"ended before its moment: {self.text()}"
            time.sleep(0.005)

    def wait_for(self, **wanted: object) -> None:
        """Until an event with these values has been written, by this process or an earlier one."""
        self.wait_until(lambda run: self._seen(run / "events.jsonl", wanted))

    def _seen(self, path: Path, wanted: dict[str, object]) -> bool:
        if not path.exists():
            return False
        with open(path, "rb") as handle:
            handle.seek(self._at)
            new = handle.read()
        self._at += len(new)
        *lines, self._line = (self._line + new).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):  # torn by an earlier kill
                event = json.loads(line)
                if all(event.get(k) == v for k, v in wanted.items()):
                    return True
        return False

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()  # SIGKILL to this process alone: its children are left to themselves
        self.end()


def begun(run: Path) -> bool:
    return (run / "run.json").exists()


# in the order of a run, so that a run killed at each of them is killed in ever later parts; None: the folder is there
MOMENTS: dict[str, dict[str, object] | None] = {
    "while the folder is written": None,
    "early in the floors": {"kind": "message"},
    "in alignment": {"kind": "step", "stage": "align", "arm": "recraft", "step": 9},
    "in fitting": {"kind": "step", "stage": "fit", "arm": "recraft", "step": 50},
    "between arms": {"kind": "arm", "arm": "recraft"},
    "in a control": {"kind": "step", "stage": "fit", "arm": "no-align", "step": 30},
}


def check_whole(run: Path) -> None:
    """What a reader sees after a kill at any moment: whole files only."""
    if (run / "run.json").exists():
        assert json.loads((run / "run.json").read_text())["schema"] == 1
    for path in run.rglob("*.parquet"):
        assert pq.read_table(path).num_rows > 0
    if (run / "events.jsonl").exists():
        lines = (run / "events.jsonl").read_bytes().split(b"\n")
        assert all(json.loads(line) for line in lines[:-1] if line.strip())


def leftovers(run: Path) -> list[str]:
    hidden = [str(p.relative_to(run)) for p in run.rglob(".*")]
    return hidden + [str(p.relative_to(run)) for p in run.rglob("*.pt")]


def test_killed_at_every_part_the_run_ends_with_the_same_bytes(files: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit = ("fit", files / "digits.npz", *LONG, "--out", run)
    sittings: dict[str, int] = {}
    for name, moment in MOMENTS.items():
        # after the first kill there may be no run yet: the same command begins it again
        victim = Victim(run, *(("resume", run) if begun(run) else fit))
        if moment is None:
            victim.wait_until(Path.exists)
        else:
            victim.wait_for(**moment)
        victim.kill()
        check_whole(run)
        assert not begun(run) or support.record(run)["status"] in ("running", "complete"), name
        sittings[name] = len(support.events(run)) if (run / "events.jsonl").exists() else 0
    last = support.process("resume", run, "--json")
    assert last.returncode == 0, last.stderr
    assert json.loads(last.stdout)["status"] == "complete"
    assert support.results(run) == support.results(whole)
    assert {p for p in support.contents(run) if not p.startswith("events")} == {
        p for p in support.contents(whole) if not p.startswith("events")
    }
    assert leftovers(run) == []
    check_continued(support.events(run)[sittings["in fitting"] : sittings["between arms"]])
    assert list(support.record(run)["arms"]) == list(support.record(whole)["arms"])
    for name, entry in support.record(whole)["arms"].items():
        if entry["role"] != "floor":
            again = support.record(run)["arms"][name]
            assert [s["steps"] for s in again["stages"]] == [s["steps"] for s in entry["stages"]]
    stages = [e["stage"] for e in support.events(run) if e["kind"] == "bound"]
    assert sorted(set(stages)) == ["after-align", "after-fit", "before"]


def check_continued(sitting: list[dict[str, Any]]) -> None:
    """Equal bytes prove little if every resume simply begins anew: the one after the kill in fitting must not."""
    assert not any(e["kind"] == "floor" for e in sitting)
    steps = [e for e in sitting if e["kind"] == "step" and e["arm"] == "recraft"]
    assert {e["stage"] for e in steps} == {"fit"}
    assert 1 < steps[0]["step"] <= 51
    assert [e["step"] for e in steps] == list(range(steps[0]["step"], 121))


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def in_floors(files: Path, tmp_path: Path) -> Iterator[tuple[Victim, list[int]]]:
    """A run in the middle of its floors, and the processes it started for them."""
    run = tmp_path / "run"
    victim = Victim(run, "fit", files / "digits.npz", *LONG, "--out", run)
    victim.wait_until(lambda run: begun(run) and bool(children(victim.pid)))
    yield victim, children(victim.pid)
    victim.kill()


def test_the_floors_die_with_their_parent(in_floors: tuple[Victim, list[int]]) -> None:
    victim, floors = in_floors
    assert floors
    victim.kill()
    for _ in range(600):
        if not any(alive(pid) for pid in floors):
            break
        time.sleep(0.05)
    assert not any(alive(pid) for pid in floors)


def test_ctrl_c_in_the_floors_is_not_their_failure(
    in_floors: tuple[Victim, list[int]], whole: Path, tmp_path: Path
) -> None:
    victim, floors = in_floors
    os.killpg(victim.pid, signal.SIGINT)  # as a terminal does it: to parent and child
    assert victim.end() == 130, victim.text()
    assert support.record(victim.run)["status"] == "interrupted"
    assert not any(e.get("status") == "failed" for e in support.record(victim.run)["arms"].values())
    assert not any(alive(pid) for pid in floors)


def test_ctrl_c_keeps_a_checkpoint_and_names_the_way_on(files: Path, whole: Path, tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    # an interval that never comes: the checkpoint is the one that Ctrl-C asks for
    fit = ("fit", files / "digits.npz", *LONG[:-1], "1h", "--out", run)
    victim = Victim(run, *fit)
    victim.wait_for(kind="step", stage="fit", arm="recraft", step=15)

    # while it lives, asleep or not, the folder belongs to it alone
    victim.signal(signal.SIGSTOP)
    code, out, _ = support.call(capsys, *fit, "--json")
    assert code == 2
    problem = json.loads(out)
    assert problem["error"] == "RunError"
    assert f"process {victim.pid}" in problem["problem"]
    victim.signal(signal.SIGCONT)
    victim.signal(signal.SIGINT)
    assert victim.end() == 130, victim.text()
    assert "Traceback" not in victim.text()
    assert f"crosstune resume {run}" in victim.text()
    assert support.record(run)["status"] == "interrupted"
    assert list((run / "checkpoints").glob("*.pt"))
    before = len(support.events(run))
    assert support.call(capsys, "resume", run)[0] == 0
    first = next(e for e in support.events(run)[before:] if e["kind"] == "step")
    assert first["step"] > 1
    assert support.results(run) == support.results(whole)
    assert leftovers(run) == []


def test_a_dead_owner_loses_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")
    owner = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, time\n"
         f"handle = open({str(tmp_path / 'run' / '.lock')!r}, 'w')\n"
         "fcntl.flock(handle, fcntl.LOCK_EX); handle.write('process 1 on here'); handle.flush()\n"
         "print('held', flush=True); time.sleep(600)"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(RunError, match="process 1 on here"):
        folder.lock()
    owner.kill()
    owner.communicate()
    folder.lock()
    assert str(os.getpid()) in (tmp_path / "run" / ".lock").read_text()
    folder.unlock()
    assert not (tmp_path / "run" / ".lock").exists()
