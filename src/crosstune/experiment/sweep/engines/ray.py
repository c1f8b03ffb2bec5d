"""Jobs as tasks of a Ray cluster: many machines, any of which may be lost.

The driver, which is the process that was started, alone writes records. It counts losses of workers and machines
itself (Ray's own retries are off), so that every loss is said, and no job that kills whatever runs it goes round for
ever.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import crosstune
from crosstune.errors import ConfigError, UsageError
from crosstune.experiment.sweep.afar import TOKEN, do, look
from crosstune.experiment.sweep.engines.contract import Outcome, Place
from crosstune.experiment.sweep.engines.local import THREAD_VARIABLES
from crosstune.experiment.sweep.engines.outcome import read
from crosstune.experiment.sweep.jobs import Job
from crosstune.experiment.sweep.parcels import unpack
from crosstune.experiment.sweep.places import fingerprint
from crosstune.experiment.sweep.work import JOBS

RETRIES = 10
_PAUSE = 0.2
_PATIENCE = 60.0  # seconds that jobs get to reach their next step and write a checkpoint
_KNOCK = 10.0  # seconds that the head of a cluster gets to answer at all
_ANSWER = 300.0  # seconds that a machine gets to start Python and look around
_AHEAD = 512  # jobs handed to the cluster at most: one that grows by demand must see what is waiting
_STORE = 100 * 2**20  # bytes of shared memory of a cluster started here: records are small
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}


@dataclass(frozen=True)
class Options:
    """address: of a cluster, None: one of our own. scratch: where machines keep running jobs, None: in the sweep
    folder, which they share. memory: bytes per job, None: not said. retries: losses per job."""

    address: str | None
    scratch: str | None
    memory: int | None
    retries: int

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Options:
        memory = re.fullmatch(r"(\d+)([kmg]?)b?", given["memory"].lower()) if "memory" in given else None
        if "memory" in given and (memory is None or not int(memory[1])):
            raise ConfigError(f"--memory {given['memory']!r} is no size", fix="for instance --memory 6g")
        scratch = given.get("scratch")
        if scratch is not None and not os.path.isabs(scratch):
            raise ConfigError(f"--scratch {scratch!r} is not the same place on every machine", fix="an absolute path")
        return cls(
            address=given.get("address") or os.environ.get("RAY_ADDRESS") or None, scratch=scratch,
            memory=int(memory[1]) * _UNITS[memory[2]] if memory else None, retries=int(given.get("retries", RETRIES)),
        )  # fmt: skip


def library() -> ModuleType:
    """Ray. ConfigError when it is not installed. It reports no usage."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as problem:
        raise ConfigError(
            "engine 'ray' needs Ray, which is not installed", cause=str(problem),
            fix="pip install 'crosstune[ray]', on every machine of the cluster",
        ) from None  # fmt: skip
    return ray


# -- the cluster -----------------------------------------------------------------------------------------------------


class _Cluster:
    """A connection to Ray: what its machines have, and how a function is sent to them."""

    def __init__(self, ray: ModuleType, options: Options, threads: int, own: bool) -> None:
        self.ray, self.options, self.own = ray, options, own
        variables = {name: value for name, value in os.environ.items() if name.startswith("CROSSTUNE_")}
        self._environment = variables | dict.fromkeys(THREAD_VARIABLES, str(threads))
        self._known: dict[Callable[..., Any], Any] = {}
        self.gpus = any(node["Resources"].get("GPU") for node in self.nodes())

    def nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def needs(self, job: Job) -> dict[str, Any]:
        """The resources of a job, in Ray's words. A GPU is for methods, when it was asked for or there are any."""
        wants = job.role == "method" and (job.device.startswith("cuda") or (job.device == "auto" and self.gpus))
        memory = {} if self.options.memory is None else {"memory": self.options.memory}
        return {"num_cpus": job.threads * job.processes, "num_gpus": int(wants) * job.processes, **memory}

    def fits(self, node: dict[str, Any], job: Job) -> bool:
        has, needs = node["Resources"], self.needs(job)
        pairs = (("CPU", "num_cpus"), ("GPU", "num_gpus"), ("memory", "memory"))
        return all(has.get(theirs, 0) >= needs.get(ours, 0) for theirs, ours in pairs)

    def send(self, function: Callable[..., Any], *arguments: Any, threads: int | None = None, **how: Any) -> Any:
        """A reference to the function's result. Ray does not try again."""
        more = {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))
        environment = {"env_vars": self._environment | more}
        if function not in self._known:
            self._known[function] = self.ray.remote(function)
        return self._known[function].options(max_retries=0, runtime_env=environment, **how).remote(*arguments)


@contextmanager
def connected(options: Options, jobs: Sequence[Job], workers: int | None) -> Iterator[_Cluster]:
    """The cluster at the address, a new one on this machine without, or that of this process if it has one already.
    UsageError when there is none at the address."""
    ray = library()
    threads = max(job.threads * job.processes for job in jobs)
    ray._private.worker._worker_logs_enabled = False  # we say ourselves what was lost
    if ray.is_initialized():
        yield _Cluster(ray, options, threads, own=False)
        return
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _start(ray, options, threads, workers)
        _restore(handlers)
        yield _Cluster(ray, options, threads, own=options.address is None)
    finally:
        ray.shutdown()
        _restore(handlers)


def _start(ray: ModuleType, options: Options, threads: int, workers: int | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if options.address is not None:
        try:
            _knock(options.address)
            ray.init(address=options.address, **quiet)
        except Exception as problem:  # whatever it is made of: not found, another version, a missing extra
            raise UsageError(
                f"cannot connect to a Ray cluster at {options.address!r}: {str(problem).strip().splitlines()[0]}",
                cause="a mistyped --address or RAY_ADDRESS, or a cluster that is not running",
                fix="`ray start --head` starts one; without an address this machine is used alone",
            ) from None
        return
    cores = os.cpu_count() or 1
    count = max(cores, threads) if workers is None else workers * threads
    store = {} if options.scratch else {"object_store_memory": _STORE}
    ray.init(address="local", num_cpus=count, include_dashboard=False, **store, **quiet)


def _knock(address: str) -> None:
    """OSError when nobody listens at HOST:PORT: Ray itself would try for minutes. Other forms of address pass."""
    found = re.fullmatch(r"([^/:]+):(\d+)", address)
    if found is not None:
        socket.create_connection((found[1], int(found[2])), timeout=_KNOCK).close()


def _restore(handlers: Mapping[int, Any]) -> None:
    """Ray puts handlers of its own where those of the sweep are."""
    with suppress(ValueError):  # not in the main thread
        for number, handler in handlers.items():
            signal.signal(number, handler)


# -- before the first job ---------------------------------------------------------------------------------------------


def look_around(cluster: _Cluster, jobs: Sequence[Job], place: Place, token: str) -> None:
    """Let every machine that could run a job say what it sees. UsageError when one lacks what must be shared."""
    nodes = [node for node in cluster.nodes() if any(cluster.fits(node, job) for job in jobs)]
    if not all(any(cluster.fits(node, job) for node in nodes) for job in jobs):
        _no_room(cluster, jobs, place)
    out = None if cluster.options.scratch else str(place.out.resolve())
    here = {path: fingerprint(Path(path)) for path in sorted({job.data for job in jobs})}
    answers = _ask(cluster, nodes, place, (out, token, list(here), cluster.options.scratch))
    problems = []
    for seen in answers:
        host = seen["host"]
        if seen["version"] != crosstune.__version__:
            problems.append(f"{host} has crosstune {seen['version']}, this machine {crosstune.__version__}")
        if not seen["out"]:
            problems.append(f"{host} does not see the sweep folder {out}")
        if seen["scratch"]:
            problems.append(f"{host} cannot use --scratch: {seen['scratch']}")
        for path, found in seen["data"].items():
            if found != here[path]:
                problems.append(f"{host} {'does not see' if found is None else 'sees other files at'} the data {path}")
    if problems:
        raise UsageError(
            "the machines of the cluster do not share what a sweep needs:\n  " + "\n  ".join(dict.fromkeys(problems)),
            cause="--out or --data on a disk of this machine alone",
            fix="--out and --data on storage that is mounted at the same path everywhere; or data at the same path on "
            "every machine and --scratch FOLDER for jobs at work, which then begin anew when their machine is lost",
        )  # fmt: skip
    if not all(seen["locks"] for seen in answers):
        place.note("note     locks in OUT are not seen by every machine: a job whose machine is only cut off, and not "
                   "down, could be run twice at once")  # fmt: skip


def _no_room(cluster: _Cluster, jobs: Sequence[Job], place: Place) -> None:
    job = next(job for job in jobs if not any(cluster.fits(node, job) for node in cluster.nodes()))
    needs = cluster.needs(job)
    memory = f", {needs['memory'] / 2**30:.1f} GiB" if "memory" in needs else ""
    text = f"no machine of the cluster has {needs['num_cpus']} CPUs, {needs['num_gpus']} GPUs{memory} for {job.label}"
    if cluster.own:
        raise UsageError(text, fix="--threads, --device and --memory say what a job takes; --address names a cluster")
    place.note(f"note     {text}: it waits until one joins")


def _ask(cluster: _Cluster, nodes: list[dict[str, Any]], place: Place, what: tuple[Any, ...]) -> list[dict[str, Any]]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Affinity

    errors = cluster.ray.exceptions
    asked = {
        cluster.send(look, *what, num_cpus=0, scheduling_strategy=Affinity(node["NodeID"], soft=False)): node
        for node in nodes
    }
    answers, until = [], time.monotonic() + _ANSWER
    while asked and not place.stop.is_set():
        ready, _ = cluster.ray.wait(list(asked), timeout=_PAUSE)
        for reference in ready:
            host = asked.pop(reference)["NodeManagerHostname"]
            try:
                answers.append(cluster.ray.get(reference))
            except (errors.RayTaskError, errors.RuntimeEnvSetupError) as problem:
                raise UsageError(
                    f"{host} cannot run crosstune: {str(problem).strip().splitlines()[-1]}",
                    fix="install the same crosstune[ray] in the Python that runs Ray on every machine",
                ) from None
            except errors.RayError:
                place.note(f"note     {host} was lost before it answered")
        if time.monotonic() > until:
            raise UsageError(
                f"{', '.join(node['NodeManagerHostname'] for node in asked.values())}: no answer in {_ANSWER:.0f} s",
                cause="machines that are overloaded, or that cannot be reached from here",
                fix="`ray status` says how the cluster is",
            )
    return answers


# -- jobs ------------------------------------------------------------------------------------------------------------


class _Drive:
    """The jobs of a sweep on their way through the cluster."""

    def __init__(
        self, cluster: _Cluster, jobs: Sequence[Job], place: Place, finished: Callable[[Outcome], None], token: str
    ) -> None:
        self.cluster, self.place, self.finished, self.token = cluster, place, finished, token
        self.out = None if cluster.options.scratch else str(place.out.resolve())
        mine = hashlib.sha256(str(place.out.resolve()).encode()).hexdigest()[:12]
        self.root = self.out or str(Path(str(cluster.options.scratch)) / mine)
        self.waiting, self.running = deque(jobs), dict[Any, Job]()
        self.losses: Counter[str] = Counter()

    def run(self) -> None:
        try:
            self._run()
        except BaseException:
            self.cancel(force=True)
            raise

    def _run(self) -> None:
        stopped: float | None = None
        while self.running or self.waiting:
            if self.place.stop.is_set() and stopped is None:
                stopped = time.monotonic()
                self.waiting.clear()
                self.cancel(force=False)
            if stopped is not None and time.monotonic() - stopped > _PATIENCE:
                self.cancel(force=True)
                return
            while self.waiting and len(self.running) < (self.place.workers or _AHEAD):
                self._hand_over(self.waiting.popleft())
            if self.running:
                for reference in self.cluster.ray.wait(list(self.running), timeout=_PAUSE)[0]:
                    self._settle(reference, self.running.pop(reference))

    def _hand_over(self, job: Job) -> None:
        self.place.say(job.label)
        needs = self.cluster.needs(job)
        if job.device.startswith("cuda") or (job.device == "auto" and not needs["num_gpus"]):
            # a task sees the GPUs that Ray gave it as the first ones, or all of them when it was given none
            job = job.model_copy(update={"device": "cuda" if needs["num_gpus"] else "cpu"})
        order = {"job": job.model_dump(mode="json"), "opens_test": self.place.opens_test}
        reference = self.cluster.send(do, order, self.out, self.token, self.root, threads=job.threads, **needs)
        self.running[reference] = job

    def _settle(self, reference: Any, job: Job) -> None:
        errors = self.cluster.ray.exceptions
        try:
            answer = self.cluster.ray.get(reference)
        except errors.TaskCancelledError:
            return self.finished(Outcome(job, "interrupted"))
        except errors.RayTaskError as problem:  # do() itself: attempt() keeps errors of jobs to itself
            text = str(problem).strip().splitlines()[-1]
            return self.finished(Outcome(job, "failed", reason=f"outside of the job: {text}"))
        except errors.RayError as problem:
            said = str(problem).strip().splitlines()[0].split(". ")[0]  # the rest is advice about Ray's own tools
            return self._lost(job, f"{type(problem).__name__}: {said}")
        if answer["outcome"] is None:
            raise UsageError(
                f"{answer['host']}, which joined the cluster later, does not see the sweep folder {self.out}",
                fix="mount it there, or use --scratch; the same command goes on",
            )
        outcome = read(job, answer["outcome"])
        if outcome.state == "interrupted" and not self.place.stop.is_set():
            return self._lost(job, f"the worker on {answer['host']} was asked to stop")
        if answer["parcel"] is not None:
            unpack(answer["parcel"], self.place.out / JOBS / job.key)
        self.finished(outcome)

    def _lost(self, job: Job, why: str) -> None:
        """The worker or machine went away under the job: it is next, wherever there is room."""
        if self.place.stop.is_set():
            return self.finished(Outcome(job, "interrupted"))
        most = self.cluster.options.retries
        self.losses[job.key] += 1
        if self.losses[job.key] > most:
            reason = f"its worker was lost {self.losses[job.key]} times, as happens when memory runs out; lastly {why}"
            return self.finished(Outcome(job, "failed", reason=reason))
        self.place.note(f"lost     {job.label}: {why}; begun again, {self.losses[job.key]} of {most}")
        self.waiting.appendleft(job)

    def cancel(self, *, force: bool) -> None:
        """Ask every job to stop at its next step, with a checkpoint; with force, stop it."""
        for reference in self.running:
            with suppress(Exception):  # it may have ended meanwhile
                self.cluster.ray.cancel(reference, force=force)


class RayEngine:
    name = "ray"
    summary = "tasks of a Ray cluster (--address), or of one started on this machine"
    options: tuple[str, ...] = ("address", "scratch", "memory", "retries")
    elsewhere = True

    def ready(self, options: Mapping[str, str]) -> None:
        """ConfigError without Ray and for options out of range."""
        Options.read(options)
        library()

    def run(self, jobs: Sequence[Job], place: Place, finished: Callable[[Outcome], None]) -> None:
        numbered = [job for job in jobs if job.device.startswith("cuda:")]
        if numbered:
            raise UsageError(
                f"--device {numbered[0].device}: Ray says which GPU a job has", fix="--device cuda asks for one of them"
            )
        token = uuid.uuid4().hex
        # news of Ray's that are printed would be taken for results
        with redirect_stdout(sys.stderr), connected(Options.read(place.options), jobs, place.workers) as cluster:
            (place.out / TOKEN).write_text(token)
            try:
                look_around(cluster, jobs, place, token)
                if not place.stop.is_set():
                    _Drive(cluster, jobs, place, finished, token).run()
            finally:
                (place.out / TOKEN).unlink(missing_ok=True)


ENGINE = RayEngine()
