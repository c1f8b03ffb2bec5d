"""From a problem to the record that the rest of the program knows: load, generate, verify, recognise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from crosstune.benchmarks.contract import Task, Terms
from crosstune.benchmarks.pdebench import protocols
from crosstune.benchmarks.pdebench.locating import looks_like
from crosstune.benchmarks.pdebench.problem import Problem
from crosstune.benchmarks.pdebench.producing import check_sizes, produce
from crosstune.benchmarks.pdebench.verification import verify
from crosstune.errors import UsageError


def generate(
    problem: Problem, out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0,
    workers: int = 1, on_share: Callable[[float], None] | None = None, variant: str | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """Writes the files of a task into the folder ``out``: every variant, or the one that is named.

    n, resolution: None for the published numbers. The same arguments give the same files, whatever ``workers`` is; what
    was finished before a kill is not computed again. Raises ``UsageError`` and ``DataError`` as ``produce`` does.
    """
    chosen = problem.variants if variant is None else tuple(v for v in problem.variants if v.name == variant)
    if not chosen:
        known = ", ".join(v.name for v in problem.variants)
        raise UsageError(f"{problem.task} has no variant {variant!r}", fix=f"use one of: {known}")
    count, points = n or problem.layout.samples, resolution or problem.layout.resolution
    check_sizes(problem, count if n is None else n, points if resolution is None else resolution, seed, workers)
    if Path(out).is_file():
        raise UsageError(f"{out} is a file", fix="name a folder with --out; files get names of their own in it")
    done = []
    for number, each in enumerate(chosen):

        def share(value: float, before: int = number) -> None:
            if on_share is not None:
                on_share((before + value) / len(chosen))

        path = produce(
            problem, each, Path(out), n=count, resolution=points, seed=seed, workers=workers, on_share=share
        )  # fmt: skip
        share(1.0)
        done.append(path)
    return tuple(done)


def assemble(
    problem: Problem, *, title: str, summary: str, protocols_: Mapping[str, Terms], reference: Mapping[str, Any],
    published: str | None, traps: tuple[str, ...],
) -> Task:  # fmt: skip
    """The task of a problem."""
    return Task(
        name=problem.task,
        title=title,
        summary=summary,
        kind="dense",
        modality="series" if problem.layout.axes == 1 else "grid",
        protocols=dict(protocols_),
        load=partial(protocols.load, problem),
        generate=partial(generate, problem),
        verify=partial(verify, problem),
        recognise=partial(looks_like, problem),
        reference=dict(reference),
        published=published,
        published_metric="nRMSE" if published else None,
        traps=traps,
    )
