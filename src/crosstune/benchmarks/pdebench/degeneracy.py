"""How much of a published score a look-up, a mean or a copy reaches: trivial answers on the test part of every task.

A record per task, file, protocol and answer, next to what was published. ``degeneracy_tables`` prints them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.benchmarks.contract import ProtocolName, Task, TaskData, get_task, published_results, tasks
from crosstune.benchmarks.pdebench import protocols as reading
from crosstune.benchmarks.pdebench.layout import STANDARD
from crosstune.benchmarks.pdebench.problem import Problem
from crosstune.data.lazy import in_memory
from crosstune.errors import CrosstuneError, DataError
from crosstune.metrics import get_metric
from crosstune.records import Dataset
from crosstune.seeding import derive_seed

PROTOCOLS: tuple[ProtocolName, ...] = ("clean", "shipped", "official")
ONE_FRAME = "shipped, one frame"
FLOORS = {
    "majority": "mean field",
    "copy-input": "copy of the input",
    "input-mean": "spatial mean of the input",
    "nearest": "nearest neighbour",
    "linear": "linear operator (ridge)",
}
ROLLED = "nRMSE"  # the official figure of a rollout
_SECONDS = 30.0  # that a floor plans for
_MOST_VALUES = 60_000_000  # of inputs and targets that a floor learns from: 240 MB
Answer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One file of a task under one protocol. name: of the protocol in the records."""

    task: Task
    problem: Problem
    name: str
    protocol: ProtocolName
    data: TaskData

    @property
    def variant(self) -> str:
        return str(self.data.dataset.source.get("variant", STANDARD))

    def part(self, name: str) -> Dataset:
        return self.data.dataset.take(self.data.split.rows(name))


def degeneracy(
    folder: str | Path,
    wanted: Iterable[str] | None = None,
    protocols: Sequence[ProtocolName] = PROTOCOLS,
    limit: Mapping[str, int] | None = None,
    *,
    seed: int = 0,
    on_case: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Records of every file in ``folder`` that a task of this suite recognises.

    folder: with a folder per task (its name without the suite), or with all files in one. wanted: names of tasks, None
    for all whose data are there. The clean protocol is judged on every variant of a task, the others on the published
    one; where the shipped protocol pairs another frame in the test than in training, once more with the training frame
    on both sides ("shipped, one frame"). limit: rows per part.

    A record holds: task, title, protocol, variant, generated, answer, metric, value (None where the answer does not
    apply, with the reason in note), standard_error (of value, over test rows as if independent), rolled_out (the
    official nRMSE of the rollout, official protocol only), test_rows, train_rows, twins (test rows with an equal input
    in training), input, target (shapes), seed, published (scores of the protocol and variant they belong to, method ->
    value).

    Raises ``DataError`` where nothing is there, or data of a wanted task are not; ``UsageError`` for unknown tasks.
    """
    names = list(tasks("pdebench")) if wanted is None else list(wanted)
    records: list[dict[str, Any]] = []
    for name in names:
        task = get_task(name)
        found = _files(Path(folder), task)
        if not found and wanted is not None:
            raise DataError(
                f"{folder} holds no file of {name}",
                fix=f"crosstune data generate {name} --out {Path(folder) / name.split('/')[1]}",
            )
        for path in found:
            for case in _cases(task, path, protocols, limit, seed):
                on_case(f"{name}, {case.variant}, {case.name}")
                records += _records(case, seed)
    if not records:
        raise DataError(
            f"{folder} holds no data of PDEBench",
            fix="crosstune data generate pdebench/advection --out FOLDER, or name the folder that holds the files",
        )
    return records


def _files(folder: Path, task: Task) -> list[Path]:
    own = folder / task.name.split("/")[1]
    root = own if own.is_dir() else folder
    found = [p for p in sorted(root.glob("*.h*5")) if p.is_file()] if root.is_dir() else [root]
    return [path for path in found if task.recognise(path)]


def _cases(
    task: Task, path: Path, protocols: Sequence[ProtocolName], limit: Mapping[str, int] | None, seed: int
) -> Iterator[Case]:
    problem: Problem = importlib.import_module(f"crosstune.benchmarks.{task.name.replace('/', '.')}").PROBLEM
    for protocol in protocols:
        data = task.load(path, protocol, limit=limit, seed=seed)
        case = Case(task, problem, protocol, protocol, data)
        if protocol != "clean" and case.variant != STANDARD:
            continue
        yield case
        if protocol == "shipped" and problem.shipped.test_frame is not None:
            aligned = replace(problem, shipped=replace(problem.shipped, test_frame=None))
            yield replace(case, name=ONE_FRAME, data=reading.load(aligned, path, "shipped", limit=limit, seed=seed))


def _records(case: Case, seed: int) -> Iterator[dict[str, Any]]:
    train, test = _held(case.part("train"), seed), in_memory(case.part("test"))
    assert test.y is not None
    metric = get_metric(case.task.terms(case.protocol).metric, "dense")
    common: dict[str, Any] = {
        "task": case.task.name, "title": case.task.title, "protocol": case.name, "variant": case.variant,
        "generated": bool(case.data.dataset.source.get("generated")), "metric": metric.name,
        "test_rows": len(test), "train_rows": len(case.data.split.train), "twins": _twins(train.X, test.X),
        "input": list(test.X.shape[1:]), "target": list(test.y.shape[1:]), "seed": seed,
        "published": _published(case),
    }  # fmt: skip
    for name, answer, note in _answers(case, train, test, seed):
        value = error = rolled = None
        if answer is not None:
            given = answer(test.X)
            value = float(metric.score(given, test.y))
            single = metric.per_sample(given, test.y)
            if single is not None and len(single) > 1:
                error = float(single.std(ddof=1) / np.sqrt(len(single)))
            rolled, note = _rolled_out(case, answer, note)
        yield {
            **common, "answer": name, "value": value, "standard_error": error, "rolled_out": rolled, "note": note
        }  # fmt: skip


def _answers(case: Case, train: Dataset, test: Dataset, seed: int) -> Iterator[tuple[str, Answer | None, str]]:
    """(name, answer, note); no answer where it does not apply, for the reason in the note."""
    from crosstune.floors import Allowance, all_floors

    shape = case.data.dataset.y.shape[1:] if case.data.dataset.y is not None else ()
    yield "zero", lambda x: np.zeros((len(x), *shape)), ""
    for name, label in FLOORS.items():
        spec = all_floors()[name]
        reason = spec.unfit(train)
        if reason is not None:
            yield label, None, reason
            continue
        floor = spec.build(Allowance(_SECONDS))
        floor.fit(train, derive_seed(seed, "degeneracy", name))
        yield label, lambda x, floor=floor: floor.predict(Dataset(x.astype(np.float32))), floor.note  # type: ignore[misc]
    if case.problem.answers is not None and case.protocol != "official" and case.variant == STANDARD:
        for label, fields in case.problem.answers(test.X).items():
            yield label, lambda x, fields=fields: fields, "from the equation, not from training data"  # type: ignore[misc]


def _rolled_out(case: Case, answer: Answer, note: str) -> tuple[float | None, str]:
    if case.data.evaluate is None:
        return None, note
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(case.data.evaluate(answer, "test")[ROLLED]), note
    except CrosstuneError as error:  # a linear operator that amplifies leaves the range of numbers
        return None, f"{note}; rollout: {error.problem}" if note else f"rollout: {error.problem}"


def _held(train: Dataset, seed: int) -> Dataset:
    """Training rows in memory, a random part where they are too many."""
    assert train.y is not None
    values = int(np.prod(train.X.shape[1:])) + int(np.prod(train.y.shape[1:]))
    most = max(16, _MOST_VALUES // values)
    if len(train) > most:
        rng = np.random.Generator(np.random.PCG64(derive_seed(seed, "degeneracy", "rows")))
        train = train.take(np.sort(rng.permutation(len(train))[:most]))
    return in_memory(train)


def _twins(train: np.ndarray, test: np.ndarray) -> int:
    """Test rows with an equal row in training."""
    known = {np.ascontiguousarray(row).tobytes() for row in train}
    return sum(np.ascontiguousarray(row).tobytes() in known for row in test)


def _published(case: Case) -> dict[str, float]:
    """Method -> score, for the protocol and the file that published scores belong to."""
    if case.name != case.task.published_protocol or case.variant != STANDARD:
        return {}
    return {
        p.method: p.value
        for p in published_results()
        if p.benchmark == "PDEBench" and p.task == case.task.published and p.metric == case.task.published_metric
    }
