"""Sweeps on a cluster, but for the cluster: what is asked, counted, recorded and refused, with a stand-in for Ray."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crosstune import benchmarks, discovery
from crosstune.benchmarks import get_task
from crosstune.errors import ConfigError, RunError, UsageError
from crosstune.experiment.sweep import afar, work
from crosstune.experiment.sweep.conduct import conduct, engines, get_engine
from crosstune.experiment.sweep.engines import ray as engine
from crosstune.experiment.sweep.engines.contract import Outcome, Place
from crosstune.experiment.sweep.engines.outcome import read, written
from crosstune.experiment.sweep.jobs import Job
from crosstune.experiment.sweep.parcels import pack, unpack
from crosstune.experiment.sweep.places import fingerprint

SUITES = Path(__file__).parents[1] / "suites"


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
    get_task("tiny/shift").generate(folder / "shift", n=40)
    return folder / "shift"


def job(data: Path, **changes: Any) -> Job:
    plain: dict[str, Any] = {
        "task": "tiny/shift", "data": str(data), "origin": "generated n=40", "protocol": "clean",
        "contestant": "finetune", "role": "method", "backbone": "twin-bert", "seed": 0, "budget": "4steps",
    }  # fmt: skip
    return Job(**plain | changes)


# -- a stand-in: tasks are answers or errors, given in the order in which they are asked for ---------------------------


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class TaskCancelledError(RayError):
    pass


class RuntimeEnvSetupError(RayError):
    pass


class NodeDiedError(RayError):
    pass


class Reference:
    def __init__(self, result: Callable[[], Any]) -> None:
        self.result = result


class StandIn:
    """What the engine uses of Ray. answer: (function, arguments, how it was asked for) -> a result, or an error."""

    exceptions = SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, TaskCancelledError=TaskCancelledError,
        RuntimeEnvSetupError=RuntimeEnvSetupError,
    )  # fmt: skip

    def __init__(self, answer: Callable[..., Any], nodes: list[dict[str, Any]] | None = None) -> None:
        self.answer, self.asked = answer, list[dict[str, Any]]()
        self.cancelled: list[bool] = []
        self._nodes = nodes or [{"Alive": True, "Resources": {"CPU": 2.0}, "NodeID": "n", "NodeManagerHostname": "one"}]

    def nodes(self) -> list[dict[str, Any]]:
        return self._nodes

    def remote(self, function: Callable[..., Any]) -> Any:
        def options(**how: Any) -> Any:
            def ask(*arguments: Any) -> Any:
                self.asked.append(how)
                return Reference(lambda: self.answer(function, arguments, how))

            return SimpleNamespace(remote=ask)

        return SimpleNamespace(options=options)

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Any) -> Any:
        found = reference.result()
        if isinstance(found, Exception):
            raise found
        return found

    def cancel(self, reference: Any, force: bool) -> None:
        self.cancelled.append(force)


def options(**given: str) -> engine.Options:
    return engine.Options.read(given)


def done(arguments: tuple[Any, ...]) -> dict[str, Any]:
    mine = Job.model_validate(arguments[0]["job"])
    return {"host": "one", "outcome": written(Outcome(mine, "done", ({"job": mine.key},))), "parcel": None}


def drive(ray: StandIn, jobs: list[Job], place: Place, **given: str) -> list[Outcome]:
    found: list[Outcome] = []
    cluster = engine._Cluster(ray, options(**given), 1, own=False)  # type: ignore[arg-type]
    engine._Drive(cluster, jobs, place, found.append, "token").run()
    return found


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


# -- options and absence ---------------------------------------------------------------------------------------------


def test_without_ray_the_extra_is_named_before_anything_is_made(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'crosstune\[ray\]'"):
        conduct([job(data)], tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()
    assert set(engines()) == {"inline", "local", "ray"}  # it is found all the same


def test_no_usage_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    engine.library()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options() == engine.Options(None, None, None, engine.RETRIES)
    assert options(address="a:1", scratch="/tmp/x", memory="6g", retries="0") == engine.Options(
        "a:1", "/tmp/x", 6 * 2**30, 0
    )
    assert options(memory="512MB").memory == 2**29
    monkeypatch.setenv("RAY_ADDRESS", "b:2")
    assert options().address == "b:2"
    assert options(address="a:1").address == "a:1"
    for wrong in ("lots", "0g", "-1g"):
        with pytest.raises(ConfigError, match="--memory 6g"):
            options(memory=wrong)
    with pytest.raises(ConfigError, match="an absolute path"):
        options(scratch="here")
    with pytest.raises(UsageError, match=r"--scratch is no option of engine 'inline'(.|\n)*--engine ray"):
        get_engine("inline", {"scratch": "/tmp/x"})


def test_an_address_where_nobody_listens_is_refused_at_once(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"cannot connect to a Ray cluster at '{address}': .*refused"):
            engine.ENGINE.run([job(data)], Place(tmp_path, True, options={"address": address}), print)


def test_one_process_leads_a_sweep(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers would inherit WORLD_SIZE, and every job would be recorded as refused."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="led by one process, and 2 were started"):
        conduct([job(data)], tmp_path / "out", engine="inline")
    assert not (tmp_path / "out").exists()


# -- resources ---------------------------------------------------------------------------------------------------------


def cluster_with(*resources: dict[str, float], own: bool = False, **given: str) -> engine._Cluster:
    nodes = [
        {"Alive": True, "Resources": has, "NodeID": str(n), "NodeManagerHostname": f"host{n}"}
        for n, has in enumerate(resources)
    ]
    return engine._Cluster(StandIn(lambda *unused: None, nodes), options(**given), 1, own)  # type: ignore[arg-type]


def test_what_a_job_takes(data: Path) -> None:
    plain, gpus = cluster_with({"CPU": 4}), cluster_with({"CPU": 4}, {"CPU": 4, "GPU": 1})
    floor = job(data, contestant="nearest", role="floor", backbone=None, device="cuda")
    assert plain.needs(job(data, threads=3)) == {"num_cpus": 3, "num_gpus": 0}
    assert plain.needs(job(data, device="cuda"))["num_gpus"] == 1
    assert gpus.needs(job(data))["num_gpus"] == 1
    assert gpus.needs(job(data, device="cpu"))["num_gpus"] == 0
    assert gpus.needs(floor)["num_gpus"] == 0
    assert cluster_with({"CPU": 1}, memory="2g").needs(job(data)) == {"num_cpus": 1, "num_gpus": 0, "memory": 2**31}
    assert [gpus.fits(node, job(data)) for node in gpus.nodes()] == [False, True]
    assert [plain.fits(node, job(data, threads=5)) for node in plain.nodes()] == [False]


def test_what_nobody_has_is_refused_or_awaited(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    said: list[str] = []
    place = Place(tmp_path, True, note=said.append)
    wide = job(data, threads=9)
    with pytest.raises(UsageError, match="no machine of the cluster has 9 CPUs, 0 GPUs for tiny/shift finetune"):
        engine.look_around(cluster_with({"CPU": 4}, own=True), [wide], place, "t")
    engine.look_around(cluster_with({"CPU": 4}), [wide], place, "t")  # a cluster of others may grow
    assert "it waits until one joins" in said[0]


def test_a_job_is_told_the_device_it_was_given(data: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []

    def answer(function: Any, arguments: tuple[Any, ...], how: dict[str, Any]) -> Any:
        seen.append((arguments[0]["job"]["device"], how["num_gpus"]))
        return done(arguments)

    jobs = [job(data, device=device) for device in ("auto", "cpu", "cuda")]
    drive(StandIn(answer), jobs, Place(tmp_path, True))
    assert seen == [("cpu", 0), ("cpu", 0), ("cuda", 1)]
    with pytest.raises(UsageError, match="--device cuda asks for one"):
        engine.ENGINE.run([job(data, device="cuda:1")], Place(tmp_path, True), print)


def test_the_environment_of_a_job(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSTUNE_CACHE", "/somewhere")
    monkeypatch.setenv("SECRET", "x")
    ray = StandIn(lambda function, arguments, how: done(arguments))
    drive(ray, [job(data, threads=3)], Place(tmp_path, True))
    variables = ray.asked[0]["runtime_env"]["env_vars"]
    assert variables["CROSSTUNE_CACHE"] == "/somewhere"
    assert variables["OMP_NUM_THREADS"] == variables["NUMBA_NUM_THREADS"] == "3"
    assert "SECRET" not in variables
    assert ray.asked[0]["max_retries"] == 0


# -- losses ------------------------------------------------------------------------------------------------------------


def test_a_lost_job_is_next_and_a_job_that_is_always_lost_ends(data: Path, tmp_path: Path) -> None:
    jobs = [job(data, seed=seed) for seed in range(3)]
    order: list[int] = []

    def answer(function: Any, arguments: tuple[Any, ...], how: dict[str, Any]) -> Any:
        seed = arguments[0]["job"]["seed"]
        order.append(seed)
        if seed == 0 or (seed == 1 and order.count(1) == 1):
            return NodeDiedError("the node is gone. To see more, ask\nand more")
        return done(arguments)

    said: list[str] = []
    found = drive(StandIn(answer), jobs, Place(tmp_path, True, 1, note=said.append), retries="2")
    assert order == [0, 0, 0, 1, 1, 2]
    assert [(o.job.seed, o.state) for o in found] == [(0, "failed"), (1, "done"), (2, "done")]
    assert "lost 3 times" in found[0].reason
    assert found[0].reason.endswith("lastly NodeDiedError: the node is gone")
    assert [text.split("; ")[-1] for text in said] == [
        "begun again, 1 of 2",
        "begun again, 2 of 2",
        "begun again, 1 of 2",
    ]


def test_a_worker_that_was_asked_to_stop_is_a_loss_but_not_when_the_user_asked(data: Path, tmp_path: Path) -> None:
    times: list[int] = []

    def answer(function: Any, arguments: tuple[Any, ...], how: dict[str, Any]) -> Any:
        times.append(1)
        if len(times) > 1:
            return done(arguments)
        mine = Job.model_validate(arguments[0]["job"])
        return {"host": "one", "outcome": written(Outcome(mine, "interrupted")), "parcel": None}

    assert [o.state for o in drive(StandIn(answer), [job(data)], Place(tmp_path, True))] == ["done"]
    times.clear()
    place = Place(tmp_path, True, stop=threading.Event(), say=lambda text: place.stop.set())
    ray = StandIn(answer)
    assert [o.state for o in drive(ray, [job(data), job(data, seed=1)], place)] == ["interrupted", "done"]
    assert ray.cancelled == [False]  # too late for the second one: what it did is kept


def test_a_stop_cancels_what_is_at_work_and_forgets_what_waits(data: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    class Slow(StandIn):
        def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
            stop.set()
            return (references if self.cancelled else []), []

    ray = Slow(lambda *unused: TaskCancelledError())
    jobs = [job(data, seed=seed) for seed in range(5)]
    found = drive(ray, jobs, Place(tmp_path, True, 2, stop=stop))
    assert [o.state for o in found] == ["interrupted"] * 2
    assert ray.cancelled == [False] * 2
    assert len(ray.asked) == 2


def test_jobs_that_do_not_stop_are_stopped(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(StandIn):
        def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
            stop.set()
            return [], references

    stop = threading.Event()
    monkeypatch.setattr(engine, "_PATIENCE", 0.05)
    ray = Deaf(lambda *unused: None)
    assert drive(ray, [job(data)], Place(tmp_path, True, stop=stop)) == []
    assert ray.cancelled == [False, True]


def test_errors_outside_of_a_job_are_recorded_and_not_repeated(data: Path, tmp_path: Path) -> None:
    ray = StandIn(lambda *unused: RayTaskError("Traceback\nOSError: no space left"))
    (found,) = drive(ray, [job(data)], Place(tmp_path, True))
    assert (found.state, found.reason) == ("failed", "outside of the job: OSError: no space left")
    assert len(ray.asked) == 1


def test_a_machine_that_joins_without_the_folder_ends_the_sweep(data: Path, tmp_path: Path) -> None:
    ray = StandIn(lambda *unused: {"host": "late", "outcome": None, "parcel": None})
    with pytest.raises(UsageError, match="late, which joined the cluster later, does not see the sweep folder"):
        drive(ray, [job(data), job(data, seed=1)], Place(tmp_path, True))
    assert ray.cancelled == [True]


# -- what is shared ----------------------------------------------------------------------------------------------------


def test_a_machine_says_what_it_sees(data: Path, tmp_path: Path) -> None:
    (tmp_path / afar.TOKEN).write_text("word")
    known = str(data)
    seen = afar.look(str(tmp_path), "word", [known, "/nowhere"], str(tmp_path / "scratch"))
    assert (seen["out"], seen["locks"], seen["scratch"]) == (True, False, None)  # nobody holds the lock
    assert seen["data"] == {known: fingerprint(data), "/nowhere": None}
    assert (tmp_path / "scratch").is_dir()
    assert not afar.look(str(tmp_path), "another word", [], None)["out"]
    assert not afar.look(str(tmp_path / "gone"), "word", [], None)["out"]
    assert afar.look(None, "word", [], str(data / "shift.npz" / "x"))["scratch"]
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, time; h = open({str(tmp_path / '.lock')!r}, 'w')\n"
         "fcntl.flock(h, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert afar.look(str(tmp_path), "word", [], None)["locks"]
    holder.kill()
    holder.communicate()


def look_around(data: Path, out: Path, *answers: Any, **given: str) -> list[str]:
    pytest.importorskip("ray")  # for the address of a machine
    left = iter(answers)
    nodes = [
        {"Alive": True, "Resources": {"CPU": 1.0}, "NodeID": "ab" * 28, "NodeManagerHostname": f"host{n}"}
        for n in range(len(answers))
    ]
    said: list[str] = []
    cluster = engine._Cluster(StandIn(lambda *unused: next(left), nodes), options(**given), 1, False)  # type: ignore[arg-type]
    engine.look_around(cluster, [job(data)], Place(out, True, note=said.append), "t")
    return said


def test_what_is_not_shared_is_said_all_at_once(data: Path, tmp_path: Path) -> None:
    import crosstune

    good = {
        "host": "one", "version": crosstune.__version__, "out": True, "locks": True, "scratch": None,
        "data": {str(data): fingerprint(data)},
    }  # fmt: skip
    assert look_around(data, tmp_path, good) == []
    bad = good | {"host": "two", "version": "0.0.9", "out": False, "data": {str(data): None}}
    other = good | {"host": "three", "scratch": "[Errno 13] Permission denied", "data": {str(data): "files 12"}}
    with pytest.raises(UsageError) as caught:
        look_around(data, tmp_path, good, bad, other)
    for words in (
        "two has crosstune 0.0.9", f"two does not see the sweep folder {tmp_path}", f"two does not see the data {data}",
        f"three sees other files at the data {data}", "three cannot use --scratch", "--scratch FOLDER",
    ):  # fmt: skip
        assert words in str(caught.value)
    assert "locks in OUT are not seen" in look_around(data, tmp_path, good | {"locks": False})[0]
    assert "was lost before it answered" in look_around(data, tmp_path, good, NodeDiedError("gone"))[0]
    with pytest.raises(UsageError, match="host0 cannot run crosstune: ModuleNotFoundError: No module") as caught:
        look_around(data, tmp_path, RayTaskError("Traceback\nModuleNotFoundError: No module named 'crosstune'"))
    assert "install the same" in str(caught.value)


# -- without shared storage --------------------------------------------------------------------------------------------


def test_a_job_far_away_comes_home_whole(data: Path, tmp_path: Path) -> None:
    mine, root, home = job(data), tmp_path / "scratch", tmp_path / "home"
    order = {"job": mine.model_dump(mode="json"), "opens_test": True}
    said = afar.do(order, None, "word", str(root))
    assert not (root / "jobs" / mine.key).exists()
    ray = StandIn(lambda *unused: said)
    (found,) = drive(ray, [mine], Place(home, True), scratch=str(root))
    assert found.state == "done"
    alone = read(mine, written(Outcome(mine, "done", tuple(work.run_job(mine, tmp_path / "alone")))))
    scores = [[(e["metric"], e["split"], e["value"]) for e in outcome.records] for outcome in (found, alone)]
    assert scores[0] == scores[1]
    names = [
        {p.relative_to(where / "jobs" / mine.key) for p in (where / "jobs" / mine.key).rglob("*")}
        for where in (home, tmp_path / "alone")
    ]
    assert names[0] == names[1]
    assert not list(home.rglob(".*"))


def test_where_the_folder_is_not_seen_nothing_runs(data: Path, tmp_path: Path) -> None:
    order = {"job": job(data).model_dump(mode="json"), "opens_test": True}
    assert afar.do(order, str(tmp_path / "gone"), "word", str(tmp_path / "gone"))["outcome"] is None
    assert not (tmp_path / "gone").exists()


def test_parcels(tmp_path: Path) -> None:
    folder, home = tmp_path / "a" / "x", tmp_path / "b" / "x"
    (folder / "deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "deep" / "file").write_bytes(b"\0\1")
    (folder / ".lock").write_text("process 1")
    (folder / ".file.123.tmp").write_text("half")
    home.mkdir(parents=True)
    (home / "old").write_text("from before")
    unpack(pack(folder), home)
    assert sorted(str(p.relative_to(home)) for p in home.rglob("*")) == ["deep", "deep/file", "empty"]
    assert (home / "deep" / "file").read_bytes() == b"\0\1"
    assert [p.name for p in home.parent.iterdir()] == ["x"]


def test_a_parcel_cannot_leave_its_folder(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("../outside")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(buffer.getvalue(), tmp_path / "in" / "x")
    assert not (tmp_path / "in" / "outside").exists()


# -- the process before ------------------------------------------------------------------------------------------------


def held(path: Path, seconds: float) -> subprocess.Popen[str]:
    path.parent.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, time; h = open({str(path)!r}, 'w')\n"
         f"fcntl.flock(h, fcntl.LOCK_EX); print('held', flush=True); time.sleep({seconds})"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_job_waits_until_the_process_before_is_gone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = job(data)
    before = held(tmp_path / "jobs" / mine.key / ".lock", 0.4)
    assert {e["status"] for e in work.run_job(mine, tmp_path)} == {"ok"}
    before.communicate()
    assert not list(tmp_path.rglob(".*"))
    other = job(data, seed=1)
    alive = held(tmp_path / "jobs" / other.key / ".lock", 60)
    monkeypatch.setattr(work, "PATIENCE", 0.3)
    began = time.monotonic()
    with pytest.raises(RunError, match="is being written by"):
        work.run_job(other, tmp_path)
    assert time.monotonic() - began >= 0.3
    alive.kill()
    alive.communicate()
