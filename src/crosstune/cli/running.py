"""Run a prepared folder, write its report, print its verdict: shared by fit, resume and demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crosstune import cli
from crosstune.cli.common import emit, say
from crosstune.cli.progress import Progress


def go(folder: Any, *, as_json: bool, quiet: bool = False) -> None:
    """Execute (or go on with) the run, unless it is complete, and show the result."""
    from crosstune.experiment import execute

    record = folder.record()
    if record["status"] != "complete":
        with Progress(record["budget"]["seconds"], quiet=quiet) as progress:
            execute(folder, notify=progress, started=cli.STARTED)
    else:
        say(f"{folder.path} is complete: nothing to do")
    # also when the process that completed the run ended before its report
    if record["status"] != "complete" or not _finished(folder.path):
        finish(folder.path)
    show(folder.path, as_json=as_json)


def _finished(path: Path) -> bool:
    return (path / "report.html").exists() and (path / "model" / "README.md").exists()


def finish(path: Path) -> None:
    """Write the report and the model card of a run."""
    from crosstune import report
    from crosstune.runs.files import write_bytes

    report.write_html(path)
    if (path / "model" / "config.json").exists():
        write_bytes(path / "model" / "README.md", report.model_card(path).encode())


def show(path: Path, *, as_json: bool) -> None:
    """The summary of a run on stdout."""
    from crosstune import report

    summary = report.summarise(path, split=shown_split(path))
    if as_json:
        emit({"run": str(path), "report": str(path / "report.html"), "model": str(path / "model")} | summary.as_dict())
        return
    print(report.render_text(summary))
    print(f"\nreport  {path / 'report.html'}\nmodel   {path / 'model'}")


def shown_split(path: Path) -> str:
    """The test once it has been opened, the validation split before."""
    return "test" if any((path / "predictions").glob("test.*.parquet")) else "validation"
