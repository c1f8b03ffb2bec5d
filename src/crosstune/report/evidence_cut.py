"""What the records do not cover: tasks, seeds, budgets, contestants, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crosstune.report.analysis import Analysis
from crosstune.report.sweep import Record
from crosstune.report.words import count, listed

MOST_NAMES = 12  # spelled out; of more, the first and how many


def cut(every: Iterable[Record], kept: Sequence[Record], found: Analysis) -> tuple[str, ...]:
    """every: all records; kept: those that the table is about."""
    every = list(every)
    said = [
        *_tasks(kept),
        *_elsewhere(every, kept, found),
        *_seeds(kept),
        *_budgets(kept),
        *_limits(kept),
        *_coverage(kept),
    ]
    other = sorted({r.protocol for r in every} - {found.table.protocol})
    if other:
        said.append(f"Records of protocol {listed(other)} are not part of this page.")
    if found.table.split == "validation":
        said.append("The test was not opened: every figure is on validation rows, which also selected the checkpoints.")
    return tuple(said)


def named(names: Iterable[str]) -> str:
    """ "a, b and c", or "a, b, ... and 12 more"."""
    every = list(names)
    if len(every) <= MOST_NAMES:
        return listed(every)
    return f"{', '.join(every[:MOST_NAMES])} and {len(every) - MOST_NAMES} more"


def _tasks(kept: Sequence[Record]) -> list[str]:
    said = []
    have = {r.task for r in kept}
    for suite in sorted({task.split("/")[0] for task in have}):
        mine = {task for task in have if task.split("/")[0] == suite}
        whole = _installed(suite)
        if not whole:
            said.append(f"{count(len(mine), 'task')} of a suite that is not installed here: {suite}.")
            continue
        missing = sorted(name.split("/")[-1] for name in whole - mine)
        text = f"{len(mine & whole)} of {count(len(whole), 'task')} of {suite} were run"
        said.append(f"{text}, without {named(missing)}." if missing else f"{text}.")
    return said


def _elsewhere(every: Iterable[Record], kept: Sequence[Record], found: Analysis) -> list[str]:
    """Tasks with figures on other rows than those of the page."""
    mine = {r.task for r in every if r.protocol == found.table.protocol and r.value is not None}
    other = sorted(mine - {r.task for r in kept})
    return [f"No figure on {found.table.split} rows, and so no part: {named(other)}."] if other else []


def _installed(suite: str) -> set[str]:
    from crosstune.benchmarks import suites, tasks

    return set(tasks(suite)) if suite in suites() else set()


def _seeds(kept: Sequence[Record]) -> list[str]:
    by_cell: dict[tuple[str, str], set[int]] = {}
    for r in kept:
        if r.value is not None:
            by_cell.setdefault((r.task, r.contestant), set()).add(r.seed)
    if not by_cell:
        return []
    sizes = {len(seeds) for seeds in by_cell.values()}
    most = max(sizes)
    if len(sizes) == 1:
        return [f"{count(most, 'seed')} per task and contestant."]
    fewer = sorted({name for (_, name), seeds in by_cell.items() if len(seeds) < most})
    return [f"Up to {count(most, 'seed')} per task and contestant; fewer somewhere: {named(fewer)}."]


def _budgets(kept: Sequence[Record]) -> list[str]:
    budgets: dict[str, set[str]] = {}
    for r in kept:
        if r.budget:
            budgets.setdefault(r.budget, set()).add(r.task)
    if len(budgets) == 1:
        said = [f"Budget of every job: {next(iter(budgets))}."]
    else:
        said = [f"Budget {b} on {count(len(tasks), 'task')}." for b, tasks in sorted(budgets.items())]
    if any(budget.endswith("steps") for budget in budgets):
        said.append("Budgets in steps give contestants unequal time: the table of costs says how unequal.")
    return said


def _limits(kept: Sequence[Record]) -> list[str]:
    limited = sorted({r.task for r in kept if r.limit})
    generated = sorted({r.task for r in kept if (r.data or "").startswith("generated n=")})
    said = [f"Part of the rows only, on {named(limited)}."] if limited else []
    return said + ([f"Data generated at a chosen size, on {named(generated)}."] if generated else [])


def _coverage(kept: Sequence[Record]) -> list[str]:
    tasks = {r.task for r in kept}
    said = []
    for name in sorted({r.contestant for r in kept}):
        have = {r.task for r in kept if r.contestant == name and r.value is not None}
        if have != tasks:
            said.append(f"{name} has figures on {len(have)} of {count(len(tasks), 'task')}.")
    return said
