"""crosstune data generate|verify"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crosstune.cli import common

data_app = typer.Typer(
    name="data", help="Benchmark data in their published file formats: make them, check them.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.add_typer(data_app)


@data_app.command()
def generate(
    task: Annotated[str, typer.Argument(help="suite/name (`crosstune list tasks`).")],
    out: Annotated[str, typer.Option("--out", "-o", help="The folder to write to.")],
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="How many samples; the published number otherwise.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Points per axis.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same data.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    json: common.Json = False,
) -> None:
    """Make files of a task's published layout: the physics solved, or plausible signals (`crosstune list tasks`)."""
    from crosstune.benchmarks import get_task
    from crosstune.cli.progress import Progress
    from crosstune.errors import Interrupted, UsageError

    found = get_task(task)
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{out!r} is a file", cause="-o names a folder", fix="choose another -o")
    made = "plausible signals, not measurements" if found.synthetic else "solutions of the equations"
    common.say(f"data   {found.title}: {made}, into {folder}")
    try:
        with Progress(None) as progress:
            paths = found.generate(
                folder, n=n, resolution=resolution, seed=seed, workers=workers,
                on_share=lambda share: progress.share(share, "generating"),
            )  # fmt: skip
    except KeyboardInterrupt:
        raise Interrupted("interrupted", fix="the same command goes on from what is finished") from None
    rows = [{"path": str(path), "bytes": path.stat().st_size} for path in paths]
    if json:
        common.emit({"task": task, "synthetic": found.synthetic, "seed": seed, "files": rows})
        return
    for row in rows:
        print(f"{row['path']}  {row['bytes']:,} bytes")


@data_app.command()
def verify(
    path: Annotated[str, typer.Argument(help="A file or folder.")],
    task: Annotated[str | None, typer.Option(help="suite/name; every task that recognises the path otherwise.")] = None,
    json: common.Json = False,
) -> None:
    """What benchmark data a file or folder holds, whether they are whole, and where what is missing is published.

    Exit code 3 when something is wrong.
    """
    from crosstune.benchmarks import get_task, tasks
    from crosstune.errors import DataError

    place = Path(path)
    if task is None and not place.exists():
        raise DataError(f"there is nothing at {path!r}", cause="a mistyped path", fix="pass a file or a folder")
    known = [get_task(task)] if task else list(tasks().values())
    wanted = known if task else [each for each in known if each.recognise(place)]
    if not wanted:
        raise DataError(
            f"no task recognises what is in {path!r}",
            cause="another file name or layout than the published one",
            fix="name the task with --task suite/name (`crosstune list tasks`); the answer says what it looks for",
        )
    found = [each.verify(place) for each in wanted]
    if json:
        common.emit(
            {
                "ok": all(v.ok for v in found),
                "tasks": [
                    {
                        "task": v.task,
                        "path": v.path,
                        "ok": v.ok,
                        "checks": [{"name": c.name, "ok": c.ok, "text": c.text} for c in v.checks],
                        "missing": list(v.missing),
                    }
                    for v in found
                ],
            }
        )
    else:
        for each in found:
            print("\n".join(_lines(each)))
    if not all(v.ok for v in found):
        raise typer.Exit(3)


def _lines(found: Any) -> list[str]:
    lines = [f"{found.task}  {'whole' if found.ok else 'not whole'}  {found.path}"]
    marks = {True: "ok", False: "wrong", None: "?"}
    lines += [f"  {marks[check.ok]:6} {check.name}: {check.text}" for check in found.checks]
    return lines + [f"  missing {text}" for text in found.missing]
