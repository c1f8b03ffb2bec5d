"""The child process: results as they come, a limit that holds, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from crosstune.errors import UsageError
from crosstune.floors import FloorRun, get_floors, run_floors
from crosstune.floors.execute import STARTUP, shares
from crosstune.floors.worker import write_atomically

from .cases import data, halves

PLUGIN = str(Path(__file__).with_name("plugins.py"))
LONG = 60.0  # an upper bound for waiting on a busy machine, never reached when things work


@pytest.fixture
def parts():
    train, validation = halves(data("classification", "table"))
    return train, {"validation": validation, "a name/with: signs": validation.take(np.arange(4))}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def until(condition):
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_child_and_this_process_agree(parts, tmp_path):
    names = ("majority", "nearest", "linear", "boosting")
    seen = []
    child = run_floors(*parts, names, seed=3, workdir=tmp_path, on_result=seen.append)
    here = run_floors(*parts, names, seed=3, in_process=True)
    assert [result.name for result in seen] == list(names)
    assert tuple(child) == tuple(here) == names
    for name in names:
        assert child[name].status == here[name].status == "ok"
        assert (child[name].label, child[name].note) == (here[name].label, here[name].note)
        assert child[name].seconds > 0
        assert set(child[name].predictions) == set(parts[1])
        for query in parts[1]:
            np.testing.assert_array_equal(child[name].predictions[query], here[name].predictions[query])
    assert child["linear"].label == "logistic regression"
    assert json.loads((tmp_path / "linear.json").read_text())["status"] == "ok"


def test_one_bad_floor_does_not_stop_the_others(parts):
    names = ("majority", "raises", "dies", "wrong-shape", "reads-target", "not-a-number", "loads-torch", "nearest")
    results = run_floors(*parts, names, seed=0, seconds=LONG, plugins=[PLUGIN])
    notes = {name: result.note for name, result in results.items() if result.status == "failed"}
    assert results["majority"].status == results["nearest"].status == "ok"
    assert set(notes) == set(names) - {"majority", "nearest"}
    assert notes["raises"] == "ZeroDivisionError: no luck"
    assert notes["dies"].startswith("process ended by SIGABRT")
    assert "prediction of 'validation' has shape (0,), expected (45, 3)" in notes["wrong-shape"]
    assert "unsupported operand" in notes["reads-target"]
    assert "prediction of 'validation' is NaN or infinite" in notes["not-a-number"]
    assert notes["loads-torch"] == "ModuleNotFoundError: No module named 'torch'"


def test_exceptions_in_this_process_are_results_too(parts):
    results = run_floors(*parts, ("raises", "majority"), seed=0, plugins=[PLUGIN], in_process=True)
    assert results["raises"].note == "ZeroDivisionError: no luck"
    assert results["majority"].status == "ok"


def test_the_limit_kills_the_child_though_nobody_polls_and_it_holds_the_interpreter(parts):
    run = FloorRun.start(*parts, ("majority", "holds"), seed=0, seconds=4.0, plugins=[PLUGIN])
    pid = run._child.pid
    assert until(lambda: run.current() == ("holds", ""))
    assert alive(pid)
    run._child.wait(LONG)
    assert not alive(pid)
    results = run.wait()
    assert results["majority"].status == "ok"
    assert results["holds"].status == "timeout"
    assert results["holds"].predictions == {}
    assert results["holds"].note == "time limit of 4 s"
    run.stop()
    assert not run.folder.exists()


def test_results_come_while_others_run(parts):
    with FloorRun.start(*parts, ("majority", "sleeps"), seed=0, plugins=[PLUGIN]) as run:
        assert run.poll() == []
        fresh = []
        assert until(lambda: fresh.extend(run.poll()) or fresh)
        assert [result.name for result in fresh] == ["majority"]
        assert run.poll() == []
        assert run.pending == ("sleeps",)
        assert until(lambda: run.current() == ("sleeps", "sleeping"))
        assert set(run.wait(timeout=0.1)) == {"majority"}
        assert not run.done
        pid = run._child.pid
    assert not alive(pid)
    assert run.results["sleeps"].status == "timeout"
    assert run.results["sleeps"].note == "stopped early while sleeping"
    assert [result.name for result in run.poll()] == ["sleeps"]
    assert run.done


def test_floors_behind_the_limit_are_told_from_the_one_at_work(parts):
    with FloorRun.start(*parts, ("holds", "sleeps"), seed=0, plugins=[PLUGIN]) as run:
        assert until(lambda: run.current() == ("holds", ""))
    assert run.results["holds"].note == "stopped early"
    assert run.results["sleeps"].note == "stopped early before it began"
    assert run.results["sleeps"].seconds == 0


PARENT = """
import sys, time
sys.path.insert(0, {tests!r})
from floors.cases import data, halves
from crosstune.floors import FloorRun
train, validation = halves(data("classification", "table"))
run = FloorRun.start(train, {{"validation": validation}}, ("majority", "sleeps"), seed=0, plugins=[{plugin!r}])
while run.current() is None:
    time.sleep(0.02)
print(run._child.pid, run.folder, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("way", ["killed", "interrupted"])
def test_the_child_does_not_outlive_its_parent(way):
    code = PARENT.format(tests=str(Path(__file__).parents[1]), plugin=PLUGIN)
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    child, folder = parent.stdout.readline().decode().split()
    child, folder = int(child), Path(folder)
    assert folder.exists()
    assert alive(child)
    if way == "killed":
        parent.kill()
    else:
        os.killpg(parent.pid, signal.SIGINT)  # what Ctrl-C in a terminal does
    parent.wait(LONG)
    parent.stdout.close()
    assert until(lambda: not alive(child) and not folder.exists())


def test_threads_are_limited_and_torch_is_not_imported(parts, tmp_path):
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import os, sys\n"
        "from crosstune.floors.base import ALL_KINDS, ALL_MODALITIES, FloorSpec\n"
        "from crosstune.floors.majority import Majority\n"
        "class Spy(Majority):\n"
        "    def fit(self, train, seed):\n"
        "        super().fit(train, seed)\n"
        "        heavy = [m for m in ('torch', 'transformers') if m in sys.modules]\n"
        "        self.note = f\"{heavy} {os.environ['OMP_NUM_THREADS']}\"\n"
        "FLOOR = FloorSpec('spy', 'spy', 'spy', ALL_KINDS, ALL_MODALITIES, Spy, 99.0)\n"
    )
    names = ("majority", "nearest", "linear", "boosting", "spy")
    results = run_floors(*parts, names, seed=0, threads=2, plugins=[str(spy)])
    assert results["spy"].note == "[] 2"


def test_importing_the_floors_and_metrics_imports_no_torch():
    code = (
        "import sys; from crosstune.floors import all_floors, run_floors; from crosstune.metrics import all_metrics, "
        "bootstrap; all_floors(); all_metrics(); print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False False"


def test_what_does_not_fit_is_skipped_with_the_reason(parts):
    results = run_floors(*parts, ("copy-input", "minirocket"), seed=0)  # no child is started
    assert {result.status for result in results.values()} == {"skipped"}
    assert results["copy-input"].note == "not offered for classification targets"
    assert run_floors(*parts, ("copy-input",), seed=0, in_process=True)["copy-input"].status == "skipped"


def test_usage_errors(parts):
    with pytest.raises(UsageError, match=r"unknown floor 'nearst'\n.*did you mean 'nearest'"):
        run_floors(*parts, ("nearst",), seed=0)
    with pytest.raises(UsageError, match="cannot be stopped at a time limit"):
        run_floors(*parts, ("majority",), seed=0, seconds=3, in_process=True)
    with pytest.raises(UsageError, match=r"plug-in 'no\.such\.module' cannot be loaded \(ModuleNotFoundError"):
        get_floors(("majority",), ["no.such.module"])


def test_old_results_in_a_folder_are_not_taken_for_new_ones(parts, tmp_path):
    run_floors(*parts, ("majority",), seed=0, workdir=tmp_path)
    with FloorRun.start(*parts, ("majority",), seed=0, workdir=tmp_path) as run:
        assert run.poll() == []
        assert run.wait(LONG)["majority"].status == "ok"
    assert tmp_path.exists()


def test_time_is_split_by_effort():
    specs = get_floors(("majority", "linear", "boosting"))
    split = shares(specs, 12.0)
    assert sum(split.values()) == pytest.approx(12.0 - STARTUP)
    assert split["boosting"] / split["linear"] == pytest.approx(1.5)


def test_the_same_plan_gives_the_same_models_again():
    """A short plan cuts rows; other floors and another limit beside it must not change what one floor becomes."""
    train, validation = halves(data("classification", "table", rows=6000))
    queries = {"validation": validation}
    short = dict.fromkeys(("nearest", "linear"), 0.02)
    first = run_floors(train, queries, ("majority", "nearest", "linear"), seed=0, seconds=LONG, planned=short)
    again = run_floors(
        train, queries, ("linear",), seed=0, planned={"linear": first["linear"].planned}, in_process=True
    )
    free = run_floors(train, queries, ("linear",), seed=0, in_process=True)
    assert "of 3,000 rows" in first["linear"].note
    assert first["linear"].planned == 0.02
    assert first["linear"].note == again["linear"].note != free["linear"].note
    one, two = (result["linear"].predictions["validation"] for result in (first, again))
    np.testing.assert_array_equal(one, two)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "result"
    write_atomically(path, lambda file: file.write(b"good"))

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]
