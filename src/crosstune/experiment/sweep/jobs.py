"""What a sweep consists of: one job per task, contestant, backbone and seed, known by the hash of what decides it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from crosstune.benchmarks import Scale, Suite, Task, get_task, tasks
from crosstune.discovery import suggest
from crosstune.errors import UsageError
from crosstune.experiment.binding import bind
from crosstune.experiment.request import Request, TaskChoice
from crosstune.floors import all_floors
from crosstune.methods import get_method, methods

Role = Literal["method", "floor"]


class Job(BaseModel):
    """One run of a sweep.

    data: where the task's files lie; origin: what they are, as text that is the same wherever they lie (the arguments
    they were generated with, or a fingerprint of the files). contestant: name of a method or of a floor. backbone:
    None for floors. settings: overrides of the method. threads: of the CPU, and processes that fit one model together
    (methods only): they decide the order of sums. device: where methods run; like the machine it is no part of a job's
    identity, so that a sweep can go on elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    task: str
    data: str
    origin: str
    protocol: Literal["clean", "shipped", "official"]
    limit: dict[str, int] = Field(default_factory=dict)
    contestant: str
    role: Role
    backbone: str | None
    seed: int
    budget: str
    settings: dict[str, Any] = Field(default_factory=dict)
    threads: int = 1
    processes: int = 1
    device: str = "auto"
    checkpoint_seconds: float = 15.0

    @property
    def label(self) -> str:
        return " ".join([self.task, self.contestant, *([self.backbone] if self.backbone else []), f"seed {self.seed}"])

    def request(self, *, device: str | None = None) -> Request:
        """The run that this job is: one contestant, no floors and no controls beside it. device: another than its own.
        UsageError when the device is not on this machine."""
        choice = TaskChoice(name=self.task, data=self.data, protocol=self.protocol, limit=self.limit)
        plain: dict[str, Any] = {
            "budget": self.budget, "seeds": (self.seed,), "controls": (), "threads": self.threads,
            "checkpoint_seconds": self.checkpoint_seconds, "device": device or self.device,
            # tables do not show the bound, and measuring it would come out of the method's time alone
            "bound": False,
        }  # fmt: skip
        if self.role == "floor":
            return bind(Request(**plain, backbone="minilm", floors=(self.contestant,), only_floors=True), choice)
        return bind(
            Request(
                **plain,
                floors=(),
                method=self.contestant,
                backbone=str(self.backbone),
                settings=self.settings,
                processes=self.processes,
            ),
            choice,
        )

    @cached_property
    def key(self) -> str:
        """The job's identity: 16 hexadecimal digits of sha256 over everything that decides its figures, in resolved
        form. Where the data lie, how often the state is kept, and the device, decide nothing: the device need not be on
        this machine."""
        request = self.request(device="cpu")
        content = {
            "task": self.task, "protocol": self.protocol, "limit": dict(self.limit), "data": self.origin,
            "contestant": self.contestant, "role": self.role, "backbone": self.backbone, "seed": self.seed,
            "budget": request.parsed_budget().text, "threads": self.threads, "metric": request.metric,
            "tokens": request.tokens, "proxy": request.proxy,
            "method": request.resolved_method().model_dump(mode="json") if self.role == "method" else None,
        }  # fmt: skip
        if self.processes > 1:  # jobs of before have the identity they had
            content["processes"] = self.processes
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def contestants(names: Iterable[str]) -> dict[str, Role]:
    """Role of each name; UsageError with a suggestion for one that is neither a method nor a floor."""
    own, simple = methods(), all_floors()
    found: dict[str, Role] = {}
    for name in names:
        if name not in own and name not in simple:
            raise UsageError(f"--methods {name}: neither a method nor a floor", fix=suggest(name, [*own, *simple]))
        found[name] = "method" if name in own else "floor"
    if not found:
        raise UsageError("--methods names nothing", fix="for instance --methods recraft,finetune,nearest")
    return found


def scale_of(suite: Suite, name: str) -> Scale:
    if name not in suite.scales:
        raise UsageError(f"suite {suite.name!r} has no scale {name!r}", fix=suggest(name, list(suite.scales)))
    return suite.scales[name]


def chosen_tasks(suite: Suite, scale: Scale, names: Iterable[str] | None, protocol: str) -> tuple[Task, ...]:
    """The tasks of a sweep in the suite's order; names with or without the suite in front. UsageError for names the
    suite does not have, and for tasks without the protocol."""
    known = tasks(suite.name)
    wanted = [n if "/" in n else f"{suite.name}/{n}" for n in names] if names else list(scale.tasks or known)
    for name in wanted:
        if name not in known:
            raise UsageError(f"suite {suite.name!r} has no task {name!r}", fix=suggest(name, list(known)))
    found = tuple(known[name] for name in dict.fromkeys(wanted))
    for task in found:
        task.terms(protocol)
    return found


def settings_for(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that the method has a stage for; a stage that only other methods have is none of its
    business."""
    stages = {stage.name for stage in get_method(method).stages}
    every = {stage.name for each in methods().values() for stage in each.stages}
    return {
        key: value
        for key, value in settings.items()
        if key.partition(".")[0] in stages or key.partition(".")[0] not in every
    }


def expand(
    chosen: Iterable[Task], roles: Mapping[str, Role], *, places: Mapping[str, tuple[str, str]], protocol: str,
    limit: Mapping[str, int], backbones: Iterable[str], seeds: Iterable[int], budget: str,
    settings: Mapping[str, Any], threads: int, processes: int = 1, device: str = "auto",
    checkpoint_seconds: float = 15.0,
) -> list[Job]:  # fmt: skip
    """Every job, one seed of everything before the next seed. places: task -> (where its data lie, what they are).

    Requests are resolved here, so that mistakes show before anything runs.
    """
    backbones = list(backbones)
    jobs = []
    for seed in seeds:
        for task in chosen:
            data, origin = places[task.name]
            for name, role in roles.items():
                own = settings_for(name, settings) if role == "method" else {}
                for backbone in backbones if role == "method" else [None]:
                    jobs.append(
                        Job(
                            task=task.name, data=data, origin=origin, protocol=protocol,  # type: ignore[arg-type]
                            limit=dict(limit), contestant=name, role=role, backbone=backbone, seed=seed,
                            budget=budget, settings=own, threads=threads, device=device,
                            processes=processes if role == "method" else 1,
                            checkpoint_seconds=checkpoint_seconds,
                        )
                    )  # fmt: skip
    for job in jobs:
        assert job.key
    return jobs


def task_of(job: Job) -> Task:
    return get_task(job.task)
