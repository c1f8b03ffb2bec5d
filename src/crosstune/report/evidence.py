"""Does it help? Answers from the records of sweeps alone; every sentence follows from its numbers, whatever they say.

A question sets one method against another on the same backbone, tasks, seeds and budget, or against the best floor of
each task, chosen on validation as a user would choose it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from crosstune.errors import DataError
from crosstune.report.analysis import Analysis, Standing, among, analyse, errors_by_seed, standing
from crosstune.report.evidence_cut import cut
from crosstune.report.evidence_questions import (
    BEST_FLOOR,
    BEST_METHOD,
    OURS,
    QUESTIONS,
    Against,
    Answer,
    Question,
    Target,
)
from crosstune.report.evidence_targets import targets
from crosstune.report.evidence_words import sentence
from crosstune.report.groups import kinds, parts_of
from crosstune.report.paired import relative
from crosstune.report.statistics import holm
from crosstune.report.sweep import Record, read_records, selected

ALIKE = 1.1  # times that differ by no more than a tenth are called equal
# methods that take a part of RECRAFT away to see what it was worth: no rivals in a rank of transfer methods
CONTROLS = {"scratch", "shuffled", "no-align", "no-distortion", "mean-match"}


@dataclass(frozen=True)
class Case:
    """The answers for one backbone. ranks: of the methods on it and the best floor. against: RECRAFT against each of
    them, where it does best first."""

    backbone: str
    answers: tuple[Answer, ...]
    targets: tuple[Target, ...]
    ranks: Standing | None
    against: tuple[Against, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """analysis: the table of everything; cases: per backbone. floors: task -> which floor was the best on validation;
    cut: what the records do not cover, in sentences; by_hindsight: the best of each task had to be chosen on the rows
    that are compared."""

    analysis: Analysis
    cases: tuple[Case, ...]
    floors: dict[str, str]
    by_hindsight: bool
    cut: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def headline(self) -> str:
        """The answers as plain text, a line each."""
        if not self.cases:
            return "not measured: no transfer method has figures in these records"
        several = len(self.cases) > 1
        return "\n".join(
            f"{case.backbone + ': ' if several else ''}{answer.question.asks} {sentence(answer)}"
            for case in self.cases
            for answer in case.answers
        )


def gather(
    folders: Sequence[str], *, split: str | None = None, protocol: str | None = None, budget: str | None = None
) -> Evidence:
    """The evidence of one sweep or several. DataError when the filters leave nothing, or when the same job was done
    with two budgets or settings and it is not said which counts."""
    ordered = sorted(folders, key=lambda f: (Path(f).resolve().name, str(f)))
    every = _once(r for folder in ordered for r in read_records(folder))
    return evidence(_at_budget(every, budget), ordered, split=split, protocol=protocol)


def evidence(
    records: Iterable[Record], folders: Sequence[str | Path] = (), *, split: str | None = None,
    protocol: str | None = None,
) -> Evidence:  # fmt: skip
    every = tuple(records)
    found = analyse(every, folders, split=split, protocol=protocol)
    protocol, split = found.table.protocol, found.table.split
    kept, _, _ = selected(every, split=split, metric=None, protocol=protocol)
    _refuse_doubles(kept)
    errors = errors_by_seed(kept)
    chosen_on = [r for r in every if r.protocol == protocol and r.split == "validation" and r.primary]
    validation = _means(errors_by_seed(chosen_on))
    compared = _means(errors)
    floors = sorted({r.contestant for r in kept if r.role == "floor"})
    hindsight = split == "validation" or any((task, f) not in validation for f in floors for task in errors.get(f, {}))
    by = compared if hindsight else validation
    best = _best(by, floors)
    errors[BEST_FLOOR] = _of(errors, best)
    times = _seconds(kept)
    times[BEST_FLOOR] = _of(times, best)
    kind = kinds(kept)
    backbones = sorted({str(r.backbone) for r in kept if r.role == "method"})
    cases = tuple(_case(name, kept, errors, times, by, kind) for name in backbones)
    return Evidence(found, cases, best, hindsight, cut(every, kept, found))


def _once(records: Iterable[Record]) -> list[Record]:
    """Of the records of one job in several folders those of the latest time."""
    jobs: dict[str, dict[str, list[Record]]] = {}
    for r in records:
        jobs.setdefault(r.job, {}).setdefault(str(r.time), []).append(r)
    latest = [by_time[max(by_time)] for _, by_time in sorted(jobs.items())]
    seen: dict[tuple[str, str | None, str | None], Record] = {}
    for batch in latest:
        for r in batch:
            seen[r.job, r.metric, r.split] = r
    return list(seen.values())


def _at_budget(records: list[Record], budget: str | None) -> list[Record]:
    """Methods at this budget only; of a floor at several budgets the one at this, the others as they are."""
    if budget is None:
        return records
    same = {(r.task, r.contestant, r.seed) for r in records if r.budget == budget}
    kept = [
        r for r in records
        if r.budget == budget or (r.role == "floor" and (r.task, r.contestant, r.seed) not in same)
    ]  # fmt: skip
    if not any(r.role == "method" for r in kept):
        have = sorted({str(r.budget) for r in records})
        raise DataError(f"no method was run at --budget {budget!r}", fix=f"there are: {', '.join(have)}")
    return kept


def _refuse_doubles(records: Iterable[Record]) -> None:
    seen: dict[tuple[str, str, int], Record] = {}
    budgets: dict[str, Record] = {}
    for r in sorted(records, key=lambda r: (r.task, r.contestant, r.seed, r.job)):
        other = seen.setdefault((r.task, r.contestant, r.seed), r)
        if other.job != r.job:
            same = other.budget == r.budget
            raise DataError(
                f"{r.contestant} on {r.task}, seed {r.seed}, was run twice"
                + (" with different settings or data" if same else f": at {other.budget} and at {r.budget}"),
                cause="several sweeps in one folder",
                fix="run variants into folders of their own" if same else f"--budget {r.budget}",
            )
        if r.role == "method":
            first = budgets.setdefault(r.task, r)
            if first.budget != r.budget:
                raise DataError(
                    f"on {r.task} {first.contestant} had {first.budget} and {r.contestant} {r.budget}",
                    cause="sweeps of different budgets together", fix=f"--budget {r.budget}: equal time for all",
                )  # fmt: skip


def _means(errors: Mapping[str, Mapping[str, Mapping[int, float]]]) -> dict[tuple[str, str], float]:
    return {
        (task, name): math.fsum(by_seed.values()) / len(by_seed)
        for name, tasks in errors.items()
        for task, by_seed in tasks.items()
    }


def _best(means: Mapping[tuple[str, str], float], names: Iterable[str]) -> dict[str, str]:
    """Task -> the contestant with the least mean error, the first by name of several."""
    best: dict[str, str] = {}
    for name in sorted(names):
        for task, contestant in sorted(means):
            if contestant == name and (task not in best or means[task, name] < means[task, best[task]]):
                best[task] = name
    return best


def _of(
    errors: Mapping[str, Mapping[str, Mapping[int, float]]], chosen: Mapping[str, str]
) -> dict[str, dict[int, float]]:
    return {task: dict(errors[name][task]) for task, name in chosen.items() if task in errors.get(name, {})}


def transfers(records: Iterable[Record]) -> set[str]:
    """Contestants that are transfer methods: pretrained weights, and no control that takes a part away."""
    return {
        r.contestant
        for r in records
        if r.role == "method" and r.method not in CONTROLS and (r.weights or "pretrained") == "pretrained"
    }


def _case(
    backbone: str, records: list[Record], errors: dict[str, dict[str, dict[int, float]]],
    times: dict[str, dict[str, dict[int, float]]],
    by: Mapping[tuple[str, str], float], kind: dict[str, str],
) -> Case:  # fmt: skip
    names = sorted({r.contestant for r in records if r.role == "method" and str(r.backbone) == backbone})
    here = {name: errors[name] for name in [*names, BEST_FLOOR] if errors.get(name)}
    anything = sorted(transfers(records) & set(names))
    best = _best(by, anything)
    if _of(errors, best):
        here[BEST_METHOD] = _of(errors, best)
        times = times | {BEST_METHOD: _of(times, best)}
    budgets = {str(r.budget) for r in records if r.role == "method" and str(r.backbone) == backbone}
    answers = tuple(_timed(_answer(question, backbone, here, kind), budgets, times) for question in QUESTIONS)
    means = {key: value for key, value in _means(here).items() if key[1] != BEST_METHOD}
    tasks = sorted({task for task, _ in means})
    ranks = standing(means, tasks, [n for n in here if n != BEST_METHOD], here)
    among_transfers = standing(means, sorted({t for t, n in means if n in anything}), anything, here, tests=False)
    ours = f"{OURS} ({backbone})"
    controls = {r.contestant for r in records if r.method in CONTROLS}
    return Case(
        backbone, answers, targets(ours, among_transfers, answers), ranks, _against(ours, here, controls)
    )  # fmt: skip


def _against(
    ours: str, errors: Mapping[str, Mapping[str, Mapping[int, float]]], controls: Collection[str]
) -> tuple[Against, ...]:
    if ours not in errors:
        return ()
    every = [relative(ours, errors[ours], name, errors[name]) for name in errors if name not in (ours, BEST_METHOD)]
    every = sorted((each for each in every if each.value is not None), key=lambda each: (each.value, each.b))
    corrected = holm([each.p for each in every])
    return tuple(Against(each, p, each.b in controls) for each, p in zip(every, corrected))


def _timed(answer: Answer, budgets: Iterable[str], times: Mapping[str, Mapping[str, Mapping[int, float]]]) -> Answer:
    """The answer with the time that both took, and its question as it was really asked: of jobs limited by steps, or
    that did not use up their time alike, none says "at equal time"."""
    one, other = (times.get(name, {}) for name in (answer.first, answer.second))
    both = [
        (one[task][seed], other[task][seed])
        for task in sorted(set(one) & set(other))
        for seed in sorted(set(one[task]) & set(other[task]))
    ]
    means = tuple(math.fsum(side) / len(both) for side in zip(*both)) if both else (None, None)
    first, second = means
    alike = not answer.parts or (first and second and max(first, second) <= ALIKE * min(first, second))
    steps = any(budget.endswith("steps") for budget in budgets)
    what = "an equal number of steps" if steps else "equal time" if alike else "an equal budget"
    question = replace(answer.question, asks=answer.question.asks.replace("equal time", what))
    return replace(answer, question=question, times=(first, second))


def _seconds(records: Iterable[Record]) -> dict[str, dict[str, dict[int, float]]]:
    found: dict[str, dict[str, dict[int, float]]] = {}
    for r in records:
        if r.seconds is not None and r.error is not None:
            found.setdefault(r.contestant, {}).setdefault(r.task, {})[r.seed] = float(r.seconds)
    return found


def _answer(
    question: Question, backbone: str, errors: Mapping[str, Mapping[str, Mapping[int, float]]], kind: dict[str, str]
) -> Answer:
    first, second = (
        name if name in (BEST_FLOOR, BEST_METHOD) else f"{name} ({backbone})"
        for name in (question.first, question.second)
    )
    absent = [name.partition(" (")[0] for name in (first, second) if not errors.get(name)]
    if absent:
        return Answer(question, first, second, {}, f"no figures of {' and '.join(absent)} in the records")
    tasks = set(errors[first]) & set(errors[second])
    parts = {
        name: relative(first, among(errors, first, part), second, among(errors, second, part))
        for name, part in parts_of(tasks, kind, whole=True).items()
    }
    parts = {name: each for name, each in parts.items() if each.tasks}
    return Answer(question, first, second, parts, "" if parts else "no task and seed that both have")
