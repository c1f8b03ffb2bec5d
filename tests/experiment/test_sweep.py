"""Sweeps: what a job is, what is recorded, what is skipped, what fails; in one process and in workers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crosstune import benchmarks, discovery
from crosstune.benchmarks import get_suite, get_task
from crosstune.errors import ConfigError, DataError, Interrupted, RunError, UsageError
from crosstune.experiment.sweep import places, work
from crosstune.experiment.sweep.conduct import conduct, get_engine
from crosstune.experiment.sweep.engines.outcome import attempt
from crosstune.experiment.sweep.jobs import Job, chosen_tasks, contestants, expand, scale_of
from crosstune.experiment.sweep.records import Records
from crosstune.runs import RunFolder

SUITES = Path(__file__).parents[1] / "suites"
QUICK = {
    "align.steps": 2, "align.distortion_steps": 2, "align.source_points": 48, "align.target_points": 24,
    "source_head.labels": "topics", "source_head.iterations": 2,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def suites() -> Iterator[None]:
    benchmarks.__path__.append(str(SUITES))
    discovery.discover.cache_clear()
    yield
    benchmarks.__path__.remove(str(SUITES))
    discovery.discover.cache_clear()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("waves", "shift"):
        get_task(f"tiny/{name}").generate(folder / name, n=40)
    return folder


def job(where: Path, **changes: Any) -> Job:
    plain: dict[str, Any] = {
        "task": "tiny/shift", "data": str(where / "shift"), "origin": "generated n=40", "protocol": "clean",
        "contestant": "finetune", "role": "method", "backbone": "twin-bert", "seed": 0, "budget": "4steps",
    }  # fmt: skip
    return Job(**plain | changes)


FLOOR = {"contestant": "nearest", "role": "floor", "backbone": None}


# -- jobs ------------------------------------------------------------------------------------------------------------


def test_the_hash_follows_all_that_decides_a_job_and_nothing_else(data: Path, tmp_path: Path) -> None:
    base = job(data)
    changed = [
        job(data, task="tiny/waves"), job(data, origin="generated n=41"), job(data, protocol="shipped"),
        job(data, limit={"train": 9}), job(data, contestant="frozen"), job(data, **FLOOR),
        job(data, contestant="copy-input", role="floor", backbone=None), job(data, backbone="minilm"),
        job(data, seed=1), job(data, budget="5steps"), job(data, settings={"fit.patience": 3}), job(data, threads=2),
    ]  # fmt: skip
    assert len({base.key, *(each.key for each in changed)}) == 13
    assert job(data, data=str(tmp_path)).key == base.key
    assert job(data, checkpoint_seconds=1.0, device="cpu").key == base.key
    assert job(data, settings={"fit.patience": 10}).key == base.key  # what the method says anyway


def test_the_hash_is_the_same_in_every_process(data: Path) -> None:
    one = job(data, settings={"fit.patience": 3, "fit.clip": 2.0}, limit={"train": 9, "test": 4})
    two = job(data, settings={"fit.clip": 2.0, "fit.patience": 3}, limit={"test": 4, "train": 9})
    assert one.key == two.key
    code = (
        "import json, sys; from crosstune.experiment.sweep.jobs import Job\n"
        "print(Job.model_validate(json.loads(sys.argv[1])).key)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(two.model_dump(mode="json"))], capture_output=True, text=True,
        env=environment() | {"PYTHONHASHSEED": "7"}, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == one.key


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "CROSSTUNE_SUITES": str(SUITES), "OMP_NUM_THREADS": "1"}


def test_expanding_gives_every_job_once_seed_by_seed(data: Path) -> None:
    tiny = get_suite("tiny")
    chosen = chosen_tasks(tiny, scale_of(tiny, "small"), None, "clean")
    jobs = expand(
        chosen, contestants(["finetune", "recraft", "nearest"]),
        places={t.name: (str(data), "x") for t in chosen}, protocol="clean", limit={}, backbones=["a", "b"],
        seeds=(0, 4), budget="4steps", settings={"align.steps": 5, "fit.patience": 2}, threads=1,
    )  # fmt: skip
    assert len(jobs) == 2 * 2 * (2 + 2 + 1) == len({j.key for j in jobs})
    assert [j.seed for j in jobs] == [0] * 10 + [4] * 10
    assert {j.backbone for j in jobs if j.role == "floor"} == {None}
    by_name = {j.contestant: j for j in jobs}
    assert by_name["recraft"].settings == {"align.steps": 5, "fit.patience": 2}
    assert by_name["finetune"].settings == {"fit.patience": 2}  # no stage 1 to set anything of


def test_mistakes_are_found_before_anything_runs(data: Path) -> None:
    tiny = get_suite("tiny")
    with pytest.raises(UsageError, match="did you mean 'nearest'"):
        contestants(["recraft", "neares"])
    with pytest.raises(UsageError, match="did you mean 'small'"):
        scale_of(tiny, "smal")
    with pytest.raises(UsageError, match="did you mean 'tiny/waves'"):
        chosen_tasks(tiny, scale_of(tiny, "small"), ["wave"], "clean")
    with pytest.raises(UsageError, match="no protocol 'official'"):
        chosen_tasks(tiny, scale_of(tiny, "small"), None, "official")
    with pytest.raises(ConfigError, match=r"align\.stepz"):
        assert job(data, contestant="recraft", settings={"align.stepz": 1}).key
    with pytest.raises(UsageError, match="did you mean 'local'"):
        get_engine("locl")
    assert [t.name for t in chosen_tasks(tiny, scale_of(tiny, "one"), None, "clean")] == ["tiny/waves"]


# -- places ----------------------------------------------------------------------------------------------------------


def test_data_are_found_by_name_by_suite_or_at_the_root(data: Path, tmp_path: Path) -> None:
    waves, shift = get_task("tiny/waves"), get_task("tiny/shift")
    found = places.found_in(data, [waves, shift])
    assert found["tiny/waves"][0] == str((data / "waves").resolve())
    moved = tmp_path / "tiny" / "waves"
    moved.mkdir(parents=True)
    (moved / "waves.npz").write_bytes((data / "waves" / "waves.npz").read_bytes())
    assert places.found_in(tmp_path, [waves])["tiny/waves"][1] == found["tiny/waves"][1]
    assert places.found_in(moved, [waves])["tiny/waves"][1] == found["tiny/waves"][1]
    with pytest.raises(DataError, match=r"does not hold the data of tiny/shift"):
        places.found_in(tmp_path, [waves, shift])
    content = bytearray((moved / "waves.npz").read_bytes())
    content[100] ^= 1
    (moved / "waves.npz").write_bytes(bytes(content))
    assert places.fingerprint(moved) != found["tiny/waves"][1]


def test_data_are_generated_once_and_for_one_scale(tmp_path: Path) -> None:
    tiny = get_suite("tiny")
    said: list[tuple[str, bool]] = []

    def make(name: str) -> dict[str, tuple[str, str]]:
        return places.generated(
            tmp_path, scale_of(tiny, name), [get_task("tiny/waves")], workers=1,
            on_task=lambda task, there: said.append((task.name, there)), on_share=lambda share: None,
        )  # fmt: skip

    assert make("small")["tiny/waves"][1] == "generated n=60, seed=0"
    first = (tmp_path / "data" / "waves" / "waves.npz").stat().st_mtime_ns
    make("small")
    assert (tmp_path / "data" / "waves" / "waves.npz").stat().st_mtime_ns == first
    assert said == [("tiny/waves", False), ("tiny/waves", True)]
    with pytest.raises(UsageError, match="choose another --out"):
        make("one")


# -- records ---------------------------------------------------------------------------------------------------------


def test_a_job_counts_when_all_its_lines_are_there(tmp_path: Path) -> None:
    records = Records(tmp_path)
    assert records.states() == {}
    records.append([{"job": "a", "status": "ok"}, {"job": "a", "status": "ok"}], time="1")
    records.append([{"job": "b", "status": "failed"}], time="2")
    assert records.states() == {"a": "ok", "b": "failed"}
    text = records.path.read_bytes()
    for cut in range(len(text)):  # torn anywhere
        records.path.write_bytes(text[:cut])
        lines = text[:cut].count(b"\n") + (text[cut : cut + 1] == b"\n")
        assert records.states() == {0: {}, 1: {}, 2: {"a": "ok"}, 3: {"a": "ok", "b": "failed"}}[lines]
    records.path.write_bytes(text[:-10])
    records.append([{"job": "b", "status": "ok"}], time="3")
    assert records.states() == {"a": "ok", "b": "ok"}
    assert len(records.lines()) == 3


def test_a_batch_that_was_torn_is_not_completed_by_its_own_repetition(tmp_path: Path) -> None:
    records = Records(tmp_path)
    both = [{"job": "a", "status": "ok"}, {"job": "a", "status": "ok"}]
    records.append(both, time="1")
    first = records.path.read_bytes().splitlines(keepends=True)[0]
    records.path.write_bytes(first)
    assert records.states() == {}
    records.path.write_bytes(first + first)
    assert records.states() == {}
    records.append(both, time="2")
    assert records.states() == {"a": "ok"}


# -- doing -----------------------------------------------------------------------------------------------------------


def test_a_method_s_job_is_a_run_with_one_arm_and_an_opened_test(data: Path, tmp_path: Path) -> None:
    mine = job(data)
    entries = work.run_job(mine, tmp_path)
    record = RunFolder.open(tmp_path / "jobs" / mine.key).record()
    assert list(record["arms"]) == ["finetune"]
    assert len(record["reveals"]) == 1
    got = {(e["metric"], e["split"]): e for e in entries}
    assert set(got) == {(m, s) for m in ("nrmse-field", "rollout rmse") for s in ("validation", "test")}
    main = got["nrmse-field", "test"]
    assert (main["primary"], main["selected_on"], main["status"], main["steps"]) == (True, "validation", "ok", 4)
    assert main["low"] <= main["value"] <= main["high"]
    assert main["error"] == main["value"]
    assert main["peak_mib"] > 50
    assert not got["rollout rmse", "test"]["primary"]
    from crosstune.report import read_run
    from crosstune.report.scores import score_arms

    scored = score_arms(read_run(tmp_path / "jobs" / mine.key), "test")[0]
    assert scored.value == pytest.approx(main["value"], rel=1e-2)  # float32 in the file


def test_without_opening_the_test_it_stays_sealed_until_asked(data: Path, tmp_path: Path) -> None:
    mine = job(data)
    entries = work.run_job(mine, tmp_path, opens_test=False)
    assert {e["split"] for e in entries} == {"validation"}
    folder = RunFolder.open(tmp_path / "jobs" / mine.key)
    assert folder.record()["reveals"] == []
    assert {e["split"] for e in work.run_job(mine, tmp_path)} == {"validation", "test"}


def test_a_floor_s_job_needs_no_backbone_and_trains_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crosstune.experiment import sealed

    monkeypatch.setattr(work, "kept_backbone", None)
    monkeypatch.setattr(sealed, "run_floors", None)  # what lies under the seal is scored
    mine = job(data, **FLOOR)
    entries = work.run_job(mine, tmp_path)
    folder = RunFolder.open(tmp_path / "jobs" / mine.key)
    assert list(folder.record()["arms"]) == ["floor:nearest"]
    assert not (folder.path / "model").exists()
    got = {e["split"]: e for e in entries}
    assert got["test"]["selected_on"] == "train"
    assert got["test"]["backbone"] is None
    from crosstune.floors import run_floors

    result = run_floors(folder.part("train"), {"test": folder.part("test")}, ["nearest"], seed=0)["nearest"]
    from crosstune.metrics import get_metric

    again = get_metric("nrmse-field").score(result.predictions["test"], folder.part("test").y)
    assert got["test"]["value"] == pytest.approx(again, rel=1e-9)
    from crosstune.report import render_text, summarise

    assert "nearest" in render_text(summarise(folder.path, split="test"))


def test_a_floor_that_does_not_fit_is_skipped_with_its_reason(data: Path, tmp_path: Path) -> None:
    entries = work.run_job(job(data, contestant="minirocket", role="floor", backbone=None), tmp_path)
    assert [(e["status"], e["value"]) for e in entries] == [("skipped", None)]
    assert entries[0]["note"]


def test_failures_are_recorded_and_repeated_only_on_demand(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "shift"
    broken.mkdir(parents=True)
    jobs = [job(broken.parent, origin="broken"), job(data, contestant="frozen")]
    done: list[str] = []

    def go(retry: bool = False) -> dict[str, int]:
        tally = conduct(
            jobs, tmp_path / "out", engine="inline", retry=retry,
            on_job=lambda outcome, entries, n, of: done.append(outcome.job.contestant),
        )  # fmt: skip
        return tally.counts()

    assert go() == {"failed": 1, "ok": 1}
    assert done == ["finetune", "frozen"]
    entry = next(e for e in Records(tmp_path / "out").lines() if e["status"] == "failed")
    assert "DataError" in entry["note"]
    assert "holds no shift.npz" in entry["note"]
    assert go() == {"failed": 1, "ok": 1}
    assert len(done) == 2
    (broken / "shift.npz").write_bytes((data / "shift" / "shift.npz").read_bytes())
    assert go(retry=True) == {"ok": 2}
    assert done[2:] == ["finetune"]


def test_an_error_that_is_not_ours_says_where(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*unused: Any, **also: Any) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(work, "execute", broken)
    outcome = attempt(job(data), tmp_path, opens_test=True)
    assert outcome.state == "failed"
    assert outcome.reason.startswith("ZeroDivisionError at test_sweep.py:")


def test_one_sweep_at_a_time_in_a_folder(data: Path, tmp_path: Path) -> None:
    from crosstune.runs.folder import claim

    tmp_path.mkdir(exist_ok=True)
    held = claim(tmp_path / ".lock")
    try:
        with pytest.raises(RunError, match="is being written by process"):
            conduct([job(data)], tmp_path, engine="inline")
    finally:
        import os

        os.close(held)


def test_a_stop_keeps_what_is_done_and_records_nothing_half(data: Path, tmp_path: Path) -> None:
    jobs = [job(data, seed=s) for s in range(3)]
    with pytest.raises(Interrupted, match="the same command goes on"):
        conduct(jobs, tmp_path, engine="inline", on_job=lambda outcome, entries, n, of: stop())
    assert len(Records(tmp_path).states()) == 1
    assert conduct(jobs, tmp_path, engine="inline").fresh == 2


def stop() -> None:
    import os
    import signal

    assert threading.current_thread() is threading.main_thread()
    os.kill(os.getpid(), signal.SIGINT)
