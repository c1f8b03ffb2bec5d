"""From a problem to the record that the rest of the program knows: load, generate, verify, recognise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from crosstune.benchmarks.contract import Task, Terms
from crosstune.benchmarks.pdebench import protocols
from crosstune.benchmarks.pdebench.locating import looks_like
from crosstune.benchmarks.pdebench.problem import Problem
from crosstune.benchmarks.pdebench.producing import check_sizes, produce
from crosstune.benchmarks.pdebench.verification import verify
from crosstune.benchmarks.recipes import recipe
from crosstune.errors import UsageError


def generate(
    problem: Problem, out: Path, *, n: int | None = None, resolution: int | None = None, seed: int = 0,
    workers: int = 1, on_share: Callable[[float], None] | None = None, variant: str | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """Writes the files of a task into the folder ``out``: every variant, or the one that is named. The file that the
    clean protocol prefers comes first.

    n, resolution: None for the published numbers (of CFD 2D: 100 on 32 x 32). The same arguments give the same files,
    whatever ``workers`` is; what was finished before a kill is not computed again. Raises ``UsageError`` and
    ``DataError`` as ``produce`` does.
    """
    chosen = problem.variants if variant is None else tuple(v for v in problem.variants if v.name == variant)
    if not chosen:
        known = ", ".join(v.name for v in problem.variants)
        raise UsageError(f"{problem.task} has no variant {variant!r}", fix=f"use one of: {known}")
    usual = problem.usual or (problem.layout.samples, problem.layout.resolution)
    count, points = usual[0] if n is None else n, usual[1] if resolution is None else resolution
    check_sizes(problem, count, points, seed, workers)
    if Path(out).is_file():
        raise UsageError(f"{out} is a file", fix="name a folder with --out; files get names of their own in it")
    done = []
    for number, each in enumerate(reversed(chosen)):

        def share(value: float, before: int = number) -> None:
            if on_share is not None:
                on_share((before + value) / len(chosen))

        path = produce(
            problem, each, Path(out), n=count, resolution=points, seed=seed, workers=workers, on_share=share
        )  # fmt: skip
        share(1.0)
        done.append(path)
    return tuple(done)


def terms(
    clean: str, shipped: str, official: str, *, metric: str = "nrmse-field", clean_metric: str | None = None,
    loss: str = "relative-l2",
) -> dict[str, Terms]:  # fmt: skip
    """The three protocols of a task from what their pairs or windows are, in words. metric: of shipped and official;
    clean_metric: where it differs; loss: of shipped."""
    same = "; the held-out tenth is validation and test in one"
    apart = "; the published hold-out is the test, as many of the other rows, drawn at random, select; values as stored"
    also = () if clean_metric is None else (metric,)
    return {
        "clean": Terms(clean_metric or metric, clean + apart, also=also),
        "shipped": Terms(metric, shipped + same, loss=loss, selected_on="test"),
        "official": Terms(metric, official + same, loss="mse", selected_on="test"),
    }


def assemble(
    problem: Problem, *, title: str, summary: str, protocols_: Mapping[str, Terms], recipe_name: str,
    published: str | None, traps: tuple[str, ...],
) -> Task:  # fmt: skip
    """The task of a problem. recipe_name: of its settings in ``recipes.csv``."""
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
        reference=recipe(recipe_name).settings,
        unmapped=recipe(recipe_name).unmapped,
        published=published,
        published_metric="nRMSE" if published else None,
        traps=traps,
    )
