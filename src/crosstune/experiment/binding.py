"""Binds a benchmark task to a run: its data under a protocol, what it prescribes, and the figures of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crosstune.benchmarks import TaskData, Terms, get_task, suites
from crosstune.data import Inspection, dataset_digest, inspect
from crosstune.data.checks import ACCEPTABLE
from crosstune.discovery import suggest
from crosstune.errors import DataError, RunError, TaskError, UsageError
from crosstune.experiment.request import Request, TaskChoice
from crosstune.methods import get_method
from crosstune.methods.contract import PLAIN_SETTINGS
from crosstune.metrics import get_metric
from crosstune.records import Dataset, Finding, Split
from crosstune.runs.folder import RunFolder

REFERENCE = "recraft-reference"  # the method that runs a task as the public recipe does
PARTS = ("train", "validation", "test")


def names_task(text: str) -> bool:
    """Whether a DATA argument names a task of a known suite and not a file."""
    return re.fullmatch(r"\w+/[\w.-]+", text) is not None and not Path(text).exists() and text.split("/")[0] in suites()


def choose(name: str, data: str | None, *, protocol: str = "clean", limit: Mapping[str, int] | None = None) -> Any:
    """The task and how it was asked for. UsageError for an unknown task or protocol, and without data; DataError when
    there is nothing at the path, which is kept absolute: a run goes on from any folder."""
    task = get_task(name)
    task.terms(protocol)
    if data is None:
        raise UsageError(
            f"task {name!r} needs its data",
            cause="--data was not given",
            fix=f"pass --data PATH; `crosstune data generate {name} -o PATH` makes files of the same layout",
        )
    if not Path(data).exists():
        raise DataError(
            f"there is nothing at {data!r}",
            cause=f"a mistyped --data, or the files of {name!r} are not there yet",
            fix=f"`crosstune data generate {name} -o {data}` makes files of the same layout; "
            f"`crosstune data verify {data} --task {name}` says where the published ones are",
        )
    return TaskChoice(name=name, data=os.path.abspath(data), protocol=protocol, limit=dict(limit or {}))  # type: ignore[arg-type]


def terms_of(choice: TaskChoice) -> Terms:
    return get_task(choice.name).terms(choice.protocol)


def load_task(choice: TaskChoice, *, seed: int = 0) -> TaskData:
    """The rows of the task under the protocol asked for. DataError as the task's ``load``."""
    task = get_task(choice.name)
    data = task.load(Path(choice.data), choice.protocol, limit=choice.limit or None, seed=seed)
    dataset = data.dataset
    if dataset.y is None or dataset.kind != task.kind:
        raise TaskError(f"task {task.name!r} promises {task.kind} and its data are {dataset.kind}")
    source = {"path": choice.data, "format": f"files of {task.name}"} | dict(dataset.source)
    return replace(data, dataset=replace(dataset, name=task.name, source=source))


def bind(request: Request, choice: TaskChoice) -> Request:
    """The request with what the task prescribes where the user asked for nothing else: metric, loss, floors, and for
    ``recraft-reference`` the settings of the public recipe."""
    task, terms = get_task(choice.name), terms_of(choice)
    settings: dict[str, Any] = dict(task.reference) if request.method == REFERENCE else {}
    if terms.loss is not None:
        settings["fit.loss"] = terms.loss
    settings |= terms.settings
    known = {f"{s.name}.{key}" for s in get_method(request.method).stages for key in s.model_dump()}
    known |= set(PLAIN_SETTINGS)
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise TaskError(
            f"task {task.name!r} prescribes {', '.join(unknown)}, which method {request.method!r} does not have",
            fix=suggest(unknown[0], sorted(known)),
        )
    for name in terms.also:
        get_metric(name)
    floors = task.floors if request.floors == "auto" else request.floors
    bound = request.model_copy(
        update={
            "task": choice.model_copy(update={"settings": settings}),
            "metric": request.metric or terms.metric,
            "floors": floors,
        }
    )
    bound.check()
    return bound


def origin_of(request: Request) -> dict[str, str]:
    """Origins of the values that ``bind`` filled in."""
    if request.task is None:
        return {}
    said = f"task {request.task.name}, protocol {request.task.protocol}"
    task, terms = get_task(request.task.name), terms_of(request.task)
    filled = {"metric": said} if request.metric == terms.metric else {}
    return filled | ({"floors": said} if request.floors == task.floors != "auto" else {}) | {"split": said}


def described(choice: TaskChoice, data: TaskData) -> dict[str, Any]:
    """What run.json holds of the task, besides what it holds of any data."""
    terms = terms_of(choice)
    return {
        "benchmark": choice.name,
        "path": choice.data,
        "protocol": choice.protocol,
        "limit": dict(choice.limit) or None,
        "terms": terms.text,
        "selected_on": terms.selected_on,
        "also": list(terms.also),
        "notes": list(data.notes),
        "evaluates": data.evaluate is not None,
    }


def straddling(split: Split, terms: Terms) -> tuple[Split, list[Finding]]:
    """The split as the checks should see it, and what a protocol that selects on the test rows must say of itself:
    rows that two parts share by the protocol are not a slip to be refused."""
    if terms.selected_on != "test":
        return split, []
    said = (
        f"this protocol selects the checkpoint on the {len(split.test):,} test rows: validation and test are the same "
        "rows, and every figure is optimistic"
    )
    return replace(split, validation=split.validation[:0]), [Finding("selected-on-test", "warn", said)]


def published_as_they_are(found: tuple[Finding, ...]) -> list[Finding]:
    """Findings in published data warn where they would refuse a user's own, but for values no model can take."""
    keep = ("infinite",)
    return [replace(f, severity="warn", accept=None) if f.code not in keep else f for f in found]


def part_of(data: TaskData, part: str) -> Dataset:
    """The rows of one part ("all": every row that takes part); UsageError for other names."""
    if part == "all":
        return data.dataset
    if part not in PARTS:
        raise UsageError(f"--part {part}: there is no such part", fix=suggest(part, [*PARTS, "all"]))
    return data.dataset.take(data.split.rows(part))


def looked_at(choice: TaskChoice, data: TaskData) -> tuple[Inspection, list[Finding]]:
    """The inspection of a task's rows and what it found, as findings of published data."""
    seen, said = straddling(data.split, terms_of(choice))
    inspection = inspect(data.dataset, seen, accept=ACCEPTABLE)
    return inspection, said + published_as_they_are(inspection.findings)


def refuse_sealed(run: str, data: TaskData) -> None:
    """RunError when the test rows of ``data`` are the sealed test of the run folder ``run``."""
    folder = RunFolder(run)
    if not (folder.path / "run.json").exists():
        return
    record = folder.record()
    if record.get("reveals") or record["data"].get("digest") != dataset_digest(data.dataset):
        return
    if record["task"].get("selected_on") == "test":
        return
    raise RunError(
        f"these are the sealed test rows of {run!r}",
        cause="a look at them outside of `reveal` would go unrecorded",
        fix=f"`crosstune reveal {run}` opens them once; or score the others with --part validation",
    )
