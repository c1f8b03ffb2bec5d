"""crosstune bench run|table|evidence|leaderboard|compare"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crosstune.cli import common
from crosstune.errors import UsageError

bench_app = typer.Typer(
    name="bench", help="Suites of tasks: sweeps over methods, floors, backbones and seeds, and their tables.",
    no_args_is_help=True, rich_markup_mode=None,
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.add_typer(bench_app)


@bench_app.command()
def run(
    suite: Annotated[str, typer.Argument(help="pdebench, nas_bench_360, ...")],
    out: Annotated[str, typer.Option("--out", "-o", help="The folder of the sweep.")],
    methods: Annotated[
        str, typer.Option(help="Methods and floors, comma-separated: recraft,finetune,nearest.")
    ] = "recraft",
    tasks: Annotated[str | None, typer.Option(help="Of the suite; those of the scale otherwise.")] = None,
    backbones: Annotated[str, typer.Option(help="Names, folders or hub ids, comma-separated.")] = "minilm",
    seeds: Annotated[str | None, typer.Option(help="How many (3), or which (0,4,7); else the scale's.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Per job: 4m, 90s, or 200steps; as the scale says otherwise.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="clean (the default), shipped or official.")] = None,
    scale: Annotated[str, typer.Option(help="How large: small, full, ... as the suite has them.")] = "small",
    data: Annotated[
        str | None, typer.Option("--data", help="Folder with the data of the tasks; generated into OUT/data otherwise.")
    ] = None,
    limit: common.LimitRows = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting of the methods that have it; repeatable.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Where jobs run: local, inline, or ray for a cluster.")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Jobs at once: 1; with ray as many as there is room for.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="With ray: of the cluster; else RAY_ADDRESS, else one is started here.")
    ] = None,
    scratch: Annotated[
        str | None, typer.Option(help="With ray, where OUT is not shared: folder on each machine for running jobs.")
    ] = None,
    memory: Annotated[str | None, typer.Option(help="With ray: what a job needs, for placing it (6g, 800m).")] = None,
    retries: Annotated[
        int | None, typer.Option(min=0, help="With ray: how often a job may lose its machine; 10 otherwise.")
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads of a job; part of its identity, since they order its sums.")
    ] = 1,
    device: common.Device = "auto",
    processes: common.Processes = 1,
    checkpoint_every: Annotated[str, typer.Option(help="How often a job keeps its state (15s, 0.2s, 1m).")] = "15s",
    reveal: Annotated[bool, typer.Option("--reveal/--no-reveal", help="Score each job's test at its end.")] = True,
    retry: Annotated[bool, typer.Option("--retry", help="Do jobs that failed again.")] = False,
    degeneracy: Annotated[
        bool, typer.Option("--degeneracy", help="No models: what a mean, a copy or a look-up reaches on each task.")
    ] = False,
    json: common.Json = False,
) -> None:
    """Run a suite: every task with every method or floor, backbone and seed, each a run of its own.

    Killed, interrupted or moved, the same command goes on: what is in OUT/records.jsonl is not done again.
    """
    from crosstune.cli.sweeping import Watcher, plan, trivial
    from crosstune.experiment.sweep.conduct import conduct, get_engine

    if degeneracy:
        with Watcher() as watcher:
            found = trivial(
                suite, Path(out), tasks=tasks, scale=scale, data=data, protocol=protocol, limit=limit,
                workers=workers or 1, watcher=watcher,
            )  # fmt: skip
        common.emit(found["records"]) if json else print(found["text"])
        return
    asked = {"address": address, "scratch": scratch, "memory": memory, "retries": retries}
    options = {name: str(value) for name, value in asked.items() if value is not None}
    chosen = get_engine(engine, options)
    with Watcher() as watcher:
        jobs, described = plan(
            suite, Path(out), methods=methods, tasks=tasks, backbones=backbones, seeds=seeds, budget=budget,
            protocol=protocol or "clean", scale=scale, data=data, limit=limit, settings=settings, threads=threads,
            workers=workers or 1, device=device, processes=processes, elsewhere=chosen.elsewhere,
            checkpoint_every=checkpoint_every, watcher=watcher,
        )  # fmt: skip
        tally = conduct(
            jobs, out, engine=engine, workers=workers, opens_test=reveal, retry=retry, described=described,
            options=options, on_job=watcher.job, say=watcher.begins, note=watcher.line,
        )  # fmt: skip
    if json:
        common.emit({"out": out, "jobs": tally.jobs, "done_now": tally.fresh, "states": tally.counts()})
        return
    states = ", ".join(f"{count} {state}" for state, count in sorted(tally.counts().items()))
    print(f"{tally.jobs} jobs: {states}; {tally.fresh} done now\n")
    from crosstune.report.analysis import analyse
    from crosstune.report.sweep import read_records
    from crosstune.report.sweep_views import render_text

    print(render_text(analyse(read_records(out), [out])))


@bench_app.command()
def table(
    out: Annotated[str, typer.Argument(help="The folder of a sweep (or its records.jsonl); or a suite, with --out.")],
    records: Annotated[str | None, typer.Option("--out", "-o", help="The folder, when a suite is named.")] = None,
    split: Annotated[str | None, typer.Option(help="validation or test; the test where it was opened.")] = None,
    metric: Annotated[str | None, typer.Option(help="Another than the tasks' own.")] = None,
    protocol: Annotated[str | None, typer.Option(help="clean, shipped or official; what most records have.")] = None,
    csv: Annotated[str | None, typer.Option(help="Write every cell to this CSV file.")] = None,
    html: Annotated[str | None, typer.Option(help="Write the table to this HTML file.")] = None,
    markdown: Annotated[str | None, typer.Option(help="Write the table to this Markdown file.")] = None,
    diagram: Annotated[
        str | None, typer.Option(help="Draw average ranks with what tests tell apart into this SVG file.")
    ] = None,
    json: common.Json = False,
) -> None:
    """Mean, spread and interval over seeds, average ranks with their tests, and cost of every method or floor.

    Also what alignment brought, where `recraft` and `no-align` were run: won, tied and lost tasks, and the relative
    difference of errors with its interval; parts of the tasks; what was left out and why; where all comes from.

    `bench table SUITE --out DIR` lays them beside the published figures of the suite, and says which of those compare.
    """
    from crosstune.cli import sweeping

    if records is not None:
        if diagram:
            raise UsageError(
                "--diagram draws our own contestants", fix=f"crosstune bench table {records} --diagram ..."
            )
        shown, texts = sweeping.beside_published([records], suite=out, protocol=protocol, split=split)
    else:
        shown, texts = sweeping.analysed(
            out, split=split, metric=metric, protocol=protocol, markdown=markdown, diagram=diagram
        )  # fmt: skip
    wanted = {"csv": csv, "html": html, "markdown": markdown, "diagram": diagram}
    sweeping.write({path: texts[kind](shown) for kind, path in wanted.items() if path})
    common.emit(shown.as_dict()) if json else print(texts["text"](shown))


@bench_app.command()
def evidence(
    out: Annotated[list[str], typer.Argument(help="Folders of sweeps (or their records.jsonl).")],
    docs: Annotated[str, typer.Option("--docs", help="The Markdown page; its drawings are written beside it.")],
    split: Annotated[str | None, typer.Option(help="validation or test; the test where it was opened.")] = None,
    protocol: Annotated[str | None, typer.Option(help="clean, shipped or official; what most records have.")] = None,
    budget: Annotated[str | None, typer.Option(help="Only jobs with this budget, where there are several.")] = None,
    json: common.Json = False,
) -> None:
    """Does it help? A page that answers from the records alone, with every number's interval and what it is over.

    Transfer against scratch, alignment against none at equal time, pretrained against shuffled weights, and all of it
    against the best floor: at 100, 30 and 10 % of the training rows, and by kind of data. What was not measured is
    said to be so. The same records give the same page.
    """
    from crosstune.cli import sweeping
    from crosstune.report.evidence import gather
    from crosstune.report.evidence_page import render_page

    found = gather(out, split=split, protocol=protocol, budget=budget)
    sweeping.write(render_page(found, docs))
    common.emit(found.as_dict()) if json else print(f"written  {docs}\n\n{found.headline()}")


@bench_app.command()
def leaderboard(
    out: Annotated[list[str], typer.Argument(help="Folders of sweeps (or their records.jsonl).")],
    split: Annotated[str | None, typer.Option(help="validation or test; the test where it was opened.")] = None,
    protocol: Annotated[str | None, typer.Option(help="clean, shipped or official; each in turn otherwise.")] = None,
    csv: Annotated[str | None, typer.Option(help="Write every line to this CSV file.")] = None,
    markdown: Annotated[str | None, typer.Option(help="Write tables to this Markdown file.")] = None,
    html: Annotated[str | None, typer.Option(help="Write tables to this HTML file.")] = None,
    json: common.Json = False,
) -> None:
    """Sweeps beside published figures, with the reason for every figure that may not be compared."""
    from crosstune.cli.sweeping import beside_published
    from crosstune.report import sweep as tables

    found, views = beside_published(out, protocol=protocol, split=split)
    for path, kind in ((csv, "csv"), (markdown, "markdown"), (html, "html")):
        if path:
            tables.write_text(path, views[kind](found))
    common.emit(found.as_dict()) if json else print(views["text"](found))


@bench_app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A method or floor, or the folder (or records.jsonl) of a sweep.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    out: Annotated[str | None, typer.Option("--out", "-o", help="The folder, when methods are named.")] = None,
    split: Annotated[str | None, typer.Option(help="validation or test; the test where it was opened.")] = None,
    metric: Annotated[str | None, typer.Option(help="Another than the tasks' own.")] = None,
    protocol: Annotated[str | None, typer.Option(help="clean, shipped or official.")] = None,
    json: common.Json = False,
) -> None:
    """Paired differences of two methods, or of two sweeps, on the same tasks and seeds; wins, ties and losses."""
    from crosstune.report import compare as comparing

    found = comparing.compare(a, b, out, split=split, metric=metric, protocol=protocol)
    common.emit(found.as_dict()) if json else print(comparing.render(found))
