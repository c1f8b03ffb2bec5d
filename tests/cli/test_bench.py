"""Sweeps through the command line: killed at random moments, interrupted, resumed; their tables; their refusals."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crosstune import benchmarks, discovery
from crosstune.report import sweep as tables

from . import support
from .test_kill import FORKS, _work, alive, children, leftovers

SUITES = Path(__file__).parents[1] / "suites"
# 2 tasks x 2 methods x 3 seeds; a floor would cost a process each
TWELVE = (
    "bench", "run", "tiny", "--methods", "recraft,finetune", "--backbones", "twin-bert", "--seeds", "3", "--budget",
    "12steps", "--set", "align.source_points=48", "--set", "align.target_points=24", "--set", "align.steps=4", "--set",
    "align.distortion_steps=3", "--set", "source_head.labels=topics", "--set", "source_head.iterations=2", "--set",
    "fit.head_init=zero", "--set", "fit.body_rate=0.001", "--set", "fit.dropout=true", "--checkpoint-every", "0.01s",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def suites() -> Iterator[None]:
    before = os.environ.get("CROSSTUNE_SUITES")
    os.environ["CROSSTUNE_SUITES"] = str(SUITES)  # for the workers
    benchmarks.__path__.append(str(SUITES))
    discovery.discover.cache_clear()
    yield
    benchmarks.__path__.remove(str(SUITES))
    discovery.discover.cache_clear()
    os.environ.pop("CROSSTUNE_SUITES")
    if before is not None:
        os.environ["CROSSTUNE_SUITES"] = before


def _with_suites(log: str, environment: dict[str, str], arguments: list[str]) -> None:
    """Like the victims of test_kill: a forked process that has everything imported, and the tiny suite too."""
    benchmarks.__path__.append(str(SUITES))
    discovery.discover.cache_clear()
    _work(log, environment, arguments)


class Sweep:
    """A sweep in a process of its own."""

    def __init__(self, out: Path, *arguments: str | Path) -> None:
        self.out, self.log = out, out.parent / "log"
        self.process = FORKS.Process(
            target=_with_suites, args=(str(self.log), support.environment(), [str(a) for a in arguments])
        )
        self.process.start()
        assert self.process.pid is not None
        self.pid: int = self.process.pid

    def wait_until(self, moment: Callable[[], bool]) -> bool:
        while not moment():
            if not self.process.is_alive():
                return False
            time.sleep(0.005)
        return True

    def end(self) -> int:
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()
        self.end()


def recorded(out: Path) -> int:
    path = out / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def events(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in out.glob("jobs/*/events.jsonl"))


def figures(out: Path) -> dict[str, Any]:
    """The table, but for what a clock and a memory gauge say."""
    found = tables.table_of(tables.read_records(out)).as_dict()
    for cell in found["cells"]:
        cell["seconds"] = cell["peak_mib"] = cell["joules"] = None
    return found


def weights(out: Path) -> dict[str, str]:
    return {name: digest for name, digest in support.results(out).items() if name.startswith("jobs")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The twelve jobs without a kill, one after another in this process."""
    from crosstune.cli import main

    out = tmp_path_factory.mktemp("whole") / "sweep"
    assert main([*TWELVE, "--engine", "inline", "--out", str(out)]) == 0
    return out


def test_killed_at_random_moments_the_table_is_that_of_an_uninterrupted_sweep(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    command = (*TWELVE, "--engine", "inline", "--out", out)
    rng = random.Random(0)
    kills, seen = 0, 0
    while kills < 5:
        sweep = Sweep(out, *command)
        more = rng.randrange(5, 60)  # lines in the events of jobs: a moment within a job, mostly
        if not sweep.wait_until(lambda most=seen + more: events(out) >= most):  # type: ignore[misc]
            break
        time.sleep(0.02 * rng.random())
        sweep.kill()
        kills, seen = kills + 1, events(out)
        if rng.random() < 0.5 and recorded(out):  # a record torn in the middle
            text = (out / "records.jsonl").read_bytes()
            (out / "records.jsonl").write_bytes(text[: len(text) - rng.randrange(1, 400)])
    assert kills >= 4
    assert Sweep(out, *command).end() == 0, (tmp_path / "log").read_text()
    assert figures(out) == figures(whole)
    assert weights(out) == weights(whole)
    assert len(weights(out)) > 24
    assert leftovers(out) == []
    # nothing was fitted twice: every job's test was opened once, and its steps were counted once
    for run in (out / "jobs").iterdir():
        record = support.record(run)
        assert record["status"] == "complete"
        assert all(arm["steps"] == 12 for arm in record["arms"].values())


def outcomes(out: Path, seeds: int) -> dict[str, list[dict[str, Any]]]:
    """Job -> what was recorded of it, every time, without costs; of the first seeds."""
    costs = ("seconds", "run_seconds", "peak_mib", "energy_joules", "energy_from", "time", "hardware")
    found: dict[str, list[dict[str, Any]]] = {}
    for text in (out / "records.jsonl").read_text().splitlines():
        entry = json.loads(text)
        if entry["seed"] < seeds:
            found.setdefault(entry["job"], []).append({k: v for k, v in entry.items() if k not in costs})
    return found


EIGHT = ("--seeds", "2")


def test_a_killed_group_of_processes_loses_nothing_and_does_nothing_twice(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    command = (*TWELVE, *EIGHT, "--engine", "local", "--out", out)
    sweep = Sweep(out, *command)
    assert sweep.wait_until(lambda: recorded(out) >= 3), sweep.log.read_text()
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.end()
    before = recorded(out)
    assert before < 8 * 4
    assert Sweep(out, *command).end() == 0, sweep.log.read_text()
    assert outcomes(out, 2) == outcomes(whole, 2)
    assert len(outcomes(out, 2)) == 8
    assert leftovers(out) == []


def proofs() -> Any:
    """bench/sweep_kill.py"""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("sweep_kill", support.ROOT / "bench" / "sweep_kill.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_proof_that_nothing_is_lost_can_fail(whole: Path, tmp_path: Path) -> None:
    proof = proofs()
    lines = (whole / "records.jsonl").read_text().splitlines()
    first = [text for text in lines if json.loads(text)["job"] == json.loads(lines[0])["job"]]
    value = next(json.loads(text)["value"] for text in lines if json.loads(text)["value"])
    later = [text.replace('"time": "2', '"time": "3') for text in first]
    changed = [text.replace(repr(value), repr(value * (1 + 1e-15) + 1e-300)) for text in lines]
    wrong = {
        "lost": lines[len(first) :], "recorded_twice": lines + later, "records_that_differ": changed, "added": lines,
        "files_that_differ": lines, "left_behind": lines,
    }  # fmt: skip
    assert proof.holds(proof.compared(whole, whole))
    for name, text in wrong.items():
        out = tmp_path / name
        shutil.copytree(whole, out)
        (out / "records.jsonl").write_text("\n".join(text) + "\n")
        if name == "added":
            (out / "records.jsonl").write_text("\n".join([*text, *(t.replace('"job": "', '"job": "x') for t in first)]))
        if name == "files_that_differ":
            weights = next((out / "jobs").rglob("model.safetensors"))
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(bytes(content))
        if name == "left_behind":
            (out / "jobs" / ".lock").touch()
        found = proof.compared(whole, out)
        assert found[name], name
        assert not proof.holds(found), name


def ray_workers(pid: int) -> list[int]:
    """Processes of a cluster started by ``pid`` that have a job at the moment."""
    found = [worker for raylet in children(pid) for worker in children(raylet)]
    return [pid for pid in found if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::do")]


def test_a_lost_worker_of_a_cluster_costs_no_figure(whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "sweep"
    sweep = Sweep(out, *TWELVE, *EIGHT, "--engine", "ray", "--workers", "1", "--out", out)
    assert sweep.wait_until(lambda: recorded(out) >= 3 and bool(ray_workers(sweep.pid))), sweep.log.read_text()
    os.kill(ray_workers(sweep.pid)[0], signal.SIGKILL)
    assert sweep.end() == 0, sweep.log.read_text()
    said = sweep.log.read_text()
    assert "WorkerCrashedError" in said
    assert "begun again, 1 of 10" in said
    assert "(raylet)" not in said
    assert outcomes(out, 2) == outcomes(whole, 2)
    assert leftovers(out) == []


@pytest.mark.slow
def test_workers_give_the_same_figures_and_do_not_outlive_a_killed_sweep(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    command = (*TWELVE, "--engine", "local", "--workers", "2", "--out", out)
    sweep = Sweep(out, *command)
    assert sweep.wait_until(lambda: recorded(out) >= 1), sweep.log.read_text()
    workers = children(sweep.pid)
    assert len(workers) == 2
    sweep.kill()
    for _ in range(400):
        if not any(alive(pid) for pid in workers):
            break
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)
    # another engine, and Ctrl-C on the way
    sweep = Sweep(out, *TWELVE, "--engine", "local", "--out", out)
    before = recorded(out)
    assert sweep.wait_until(lambda: recorded(out) > before), sweep.log.read_text()
    os.kill(sweep.pid, signal.SIGINT)
    assert sweep.end() == 130, sweep.log.read_text()
    assert "the same command goes on" in sweep.log.read_text()
    assert "Traceback" not in sweep.log.read_text()
    assert Sweep(out, *TWELVE, "--engine", "inline", "--out", out).end() == 0
    assert figures(out) == figures(whole)
    assert weights(out) == weights(whole)


def test_a_second_call_does_nothing_and_a_wider_one_does_the_rest(whole: Path, tmp_path: Path, capsys: Any) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "sweep"))
    code, said, _ = support.call(capsys, *TWELVE, "--engine", "inline", "--out", out, "--json")
    assert (code, json.loads(said)["done_now"]) == (0, 0)
    code, said, err = support.call(capsys, *TWELVE, "--engine", "inline", "--seeds", "4", "--out", out, "--json")
    assert code == 0
    assert json.loads(said) == {"out": str(out), "jobs": 16, "done_now": 4, "states": {"ok": 16}}
    assert err.count(" of 16 ") == 4
    assert len(json.loads((out / "sweep.json").read_text())["asked"]) == 2


def test_table_and_compare(whole: Path, tmp_path: Path, capsys: Any) -> None:
    code, out, _ = support.call(capsys, "bench", "table", whole)
    assert code == 0
    assert "average rank over 2 tasks" in out
    html, csv = tmp_path / "t.html", tmp_path / "t.csv"
    code, out, _ = support.call(capsys, "bench", "table", whole, "--html", html, "--csv", csv, "--json")
    assert code == 0
    assert json.loads(out)["split"] == "test"
    assert "tiny/shift" in html.read_text()
    assert csv.read_text().count("\n") == 5
    code, out, _ = support.call(capsys, "bench", "table", whole, "--metric", "rollout rmse", "--split", "validation")
    assert code == 0
    assert "tiny/shift  (rollout rmse)" in out
    board = tmp_path / "board.html"
    code, out, _ = support.call(capsys, "bench", "leaderboard", whole, "--html", board, "--csv", tmp_path / "board.csv")
    assert code == 0
    assert "note: no published figure: " in out
    assert "<h1>Leaderboard</h1>" in board.read_text()
    code, out, _ = support.call(capsys, "bench", "compare", "recraft", "finetune", "--out", whole, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["win"] + found["tie"] + found["loss"] == 2
    lines = [text for text in (whole / "records.jsonl").read_text().splitlines() if json.loads(text)["seed"] < 2]
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "records.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "two" / "jobs").symlink_to(whole / "jobs")
    code, out, _ = support.call(capsys, "bench", "compare", "recraft", "finetune", "--out", tmp_path / "two", "--json")
    for pair in json.loads(out)["pairs"]:
        assert pair["over"] == "rows"
        assert pair["low"] <= pair["difference"] <= pair["high"]
    code, out, _ = support.call(capsys, "bench", "compare", whole, whole)
    assert code == 0
    assert "0 won, 4 tied, 0 lost" in out


def test_a_table_in_every_format_and_a_page_of_evidence(whole: Path, tmp_path: Path, capsys: Any) -> None:
    drawing, page, help_ = tmp_path / "d" / "ranks.svg", tmp_path / "table.md", tmp_path / "docs" / "help.md"
    code, out, err = support.call(capsys, "bench", "table", whole, "--diagram", drawing, "--markdown", page)
    assert code == 0, err
    assert drawing.read_text().startswith("<svg xmlns=")
    assert "![Critical-difference diagram](d/ranks.svg)" in page.read_text()
    assert "crosstune bench run tiny --methods recraft,finetune" in page.read_text()
    code, out, err = support.call(capsys, "bench", "evidence", whole, "--docs", help_)
    assert code == 0, err
    assert "Does RECRAFT beat plain fine-tuning? Not decided: " in out
    assert "Does transfer beat training from scratch? Not measured: " in out
    first = help_.read_bytes()
    assert {path.name for path in help_.parent.iterdir()} == {"help.md", "help-ranks.svg", "help-differences.svg"}
    code, out, _ = support.call(capsys, "bench", "evidence", whole, "--docs", help_, "--json")
    assert code == 0
    assert help_.read_bytes() == first
    assert [case["backbone"] for case in json.loads(out)["cases"]] == ["twin-bert"]
    entry = json.loads((whole / "records.jsonl").read_text().splitlines()[0])
    assert (entry["modality"], entry["kind"], entry["weights"]) == ("series", "dense", "pretrained")
    assert entry["settings"]["align.steps"] == 4
    assert entry["hardware"]["cores"] >= 1
    assert (entry["energy_joules"] is None) == (entry["energy_from"] is None)


def test_beside_published_figures(whole: Path, tmp_path: Path, capsys: Any) -> None:
    code, out, _ = support.call(capsys, "bench", "table", "tiny", "--out", whole, "--csv", tmp_path / "board.csv")
    assert code == 0
    assert "PROTOCOL clean" in out
    assert "no published figure: Shift, Waves" in out
    assert (tmp_path / "board.csv").read_text().count("\n") == 5


def test_a_real_suite_s_trivial_answers(tmp_path: Path, capsys: Any) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    make = ("data", "generate", "pdebench/advection", "-o", data / "advection", "--n", "20", "--resolution", "64")
    assert support.call(capsys, *make)[0] == 0
    code, said, err = support.call(
        capsys, "bench", "run", "pdebench", "--degeneracy", "--tasks", "advection", "--data", data, "--protocol",
        "clean", "-o", out, "--json",
    )  # fmt: skip
    assert code == 0, err
    found = {r["answer"]: r["value"] for r in json.loads(said)}
    assert found["zero"] == pytest.approx(1.0)
    assert (out / "degeneracy.md").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("bench", "run", "tinny", "-o", "OUT"), 2, "did you mean 'tiny'"),
        (("bench", "run", "tiny", "-o", "OUT", "--methods", "recrat"), 2, "did you mean 'recraft'"),
        (("bench", "run", "tiny", "-o", "OUT", "--tasks", "wavs"), 2, "did you mean 'tiny/waves'"),
        (("bench", "run", "tiny", "-o", "OUT", "--scale", "big"), 2, "known: one, small"),
        (("bench", "run", "tiny", "-o", "OUT", "--protocol", "official"), 2, "use one of: clean, shipped"),
        (("bench", "run", "tiny", "-o", "OUT", "--budget", "soon"), 2, "--budget 4m"),
        (("bench", "run", "tiny", "-o", "OUT", "--engine", "ray2"), 2, "unknown engine"),
        (("bench", "run", "tiny", "-o", "OUT", "--address", "x:1"), 2, "--address is no option of engine 'local'"),
        (("bench", "run", "tiny", "-o", "OUT", "--retries", "2"), 2, "choose --engine ray"),
        (("bench", "run", "tiny", "-o", "OUT", "--engine", "ray", "--memory", "lots"), 2, "--memory 6g"),
        (("bench", "run", "tiny", "-o", "OUT", "--engine", "ray", "--scratch", "x"), 2, "an absolute path"),
        (("bench", "run", "tiny", "-o", "OUT", "--seeds", "x"), 2, "--seeds 3"),
        (("bench", "run", "tiny", "-o", "OUT", "--device", "abacus"), 2, "abacus"),
        (("bench", "run", "tiny", "-o", "OUT", "--set", "fit.patienc=1"), 2, "did you mean 'patience'"),
        (("bench", "run", "tiny", "-o", "OUT", "--data", "EMPTY"), 3, "does not hold the data of tiny/shift"),
        (("bench", "run", "tiny", "-o", "OUT", "--degeneracy"), 2, "no table of trivial answers"),
        (("bench", "table", "OUT"), 2, "no records at"),
        (("bench", "table", "pdebench", "--out", "WHOLE"), 2, "holds no records of suite 'pdebench'"),
        (("bench", "table", "tiny", "--out", "WHOLE", "--diagram", "OUT"), 2, "draws our own contestants"),
        (("bench", "evidence", "OUT", "--docs", "OUT"), 2, "no records at"),
        (("bench", "evidence", "WHOLE", "--docs", "OUT", "--budget", "9s"), 3, "there are: 12steps"),
        (("bench", "compare", "a", "b"), 2, "--out FOLDER"),
        (("bench", "compare", "recraft", "finetun", "--out", "WHOLE"), 2, "did you mean"),
        (("bench", "table", "WHOLE", "--protocol", "official"), 3, "there are: clean/test"),
        (("bench", "leaderboard", "OUT"), 2, "no records at"),
        (("bench", "leaderboard", "WHOLE", "--protocol", "official"), 3, "there are: clean/test"),
    ],
)  # fmt: skip
def test_refusals(arguments: tuple[str, ...], code: int, words: str, whole: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty").mkdir()
    places = {"OUT": tmp_path / "out", "EMPTY": tmp_path / "empty", "WHOLE": whole}
    got, _, err = support.call(capsys, *(places.get(a, a) for a in arguments))
    assert got == code, err
    assert words in err
    assert not (tmp_path / "out").exists()
