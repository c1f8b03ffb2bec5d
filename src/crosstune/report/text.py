"""The summary for a terminal: verdict first, then one table of arms."""

from __future__ import annotations

import io
import shutil
import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crosstune.report.scores import ArmScore
from crosstune.report.summary import BoundStage, Summary
from crosstune.report.words import number, seconds, with_interval

_STYLES = {"use": "bold green", "use-other": "bold yellow", "undecided": "bold cyan"}
_BOUND_COLUMNS = {
    "err_s": "err_s",
    "alignment": "tau*W1",
    "distortion": "H(z'|z)",
    "bound": "bound",
    "neg_leep": "-LEEP",
    "err_t": "err_t",
    "slack": "slack",
    "spread_ratio": "spread",
}
_STAGE_NAMES = {"before": "before alignment", "after-align": "after alignment", "after-fit": "after fitting"}


def render_text(summary: Summary, *, color: bool | None = None, width: int | None = None) -> str:
    """The summary as text. ``color``: None means only when stdout is a terminal; ``width``: columns, None to ask it.

    Names from the data are never read as markup.
    """
    terminal = sys.stdout.isatty() if color is None else color
    columns = width or (shutil.get_terminal_size((100, 24)).columns if terminal else 100)
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, no_color=not terminal, width=columns, highlight=False)
    verdict = summary.verdict
    console.print(Text(verdict.headline, style=_STYLES.get(verdict.answer, "bold")))
    console.print()
    for sentence in verdict.sentences:
        console.print(Padding(Text(sentence), (0, 0, 0, 2)))
    console.print(_arms_table(summary))
    if summary.further:
        console.print(_further_table(summary))
    if summary.bound:
        console.print(_bound_table(summary.bound))
    used, asked = summary.budget.get("used"), summary.budget.get("asked")
    if isinstance(used, int | float):
        console.print(Text(f"Budget: {seconds(float(used))} used" + (f" of {asked}" if asked else "")))
    for note in summary.notes:
        console.print(Text(f"Note: {note}", style="dim"))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _arms_table(summary: Summary) -> Table:
    better = "lower" if summary.direction == "lower" else "higher"
    table = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        caption=f"{summary.metric} on {summary.split}, {better} is better; gain: by how much the method has the lower "
        "error on the same rows; [95 % intervals]",
        caption_justify="left",
    )
    table.add_column("arm", overflow="fold", ratio=1)
    table.add_column("role", no_wrap=True)
    table.add_column(Text(summary.metric), justify="right", no_wrap=True)
    table.add_column("gain of the method", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for arm in summary.arms:
        style = "bold" if arm.arm == summary.verdict.use else None
        table.add_row(*[Text(cell) for cell in _arm_cells(arm)], style=style)
    return table


def _arm_cells(arm: ArmScore) -> list[str]:
    gap = arm.difference
    if arm.value is None:
        return [arm.label, arm.role, arm.status if arm.status != "ok" else "none", "", seconds(arm.seconds)]
    return [
        arm.label,
        arm.role,
        with_interval(arm.value, arm.low, arm.high),
        with_interval(gap.value, gap.low, gap.high, sign=True) if gap else "",
        seconds(arm.seconds),
    ]


def _further_table(summary: Summary) -> Table:
    """Arms by further metrics."""
    metrics = list(dict.fromkeys(f.metric for f in summary.further))
    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, caption=f"further figures on {summary.split}", caption_justify="left"
    )
    table.add_column("arm", overflow="fold", ratio=1)
    for metric in metrics:
        table.add_column(Text(metric), justify="right", overflow="fold")
    for arm in dict.fromkeys(f.arm for f in summary.further):
        mine = {f.metric: f for f in summary.further if f.arm == arm}
        label = next(iter(mine.values())).label
        cells = [("none" if f.value is None else number(f.value)) if (f := mine.get(m)) else "" for m in metrics]
        table.add_row(Text(label), *(Text(cell) for cell in cells))
    return table


def _bound_table(stages: tuple[BoundStage, ...]) -> Table:
    seeds = {stage.seed for stage in stages}
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("bound (nats)")
    for column in _BOUND_COLUMNS.values():
        table.add_column(column, justify="right")
    for stage in stages:
        name = _STAGE_NAMES.get(stage.stage, stage.stage) + (f", seed {stage.seed}" if len(seeds) > 1 else "")
        cells = [number(t.value) if (t := stage.terms.get(key)) else "\u2013" for key in _BOUND_COLUMNS]
        table.add_row(Text(name), *cells)
    return table
