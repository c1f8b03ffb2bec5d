"""The answers of a page of evidence as one drawing: relative differences with their intervals, zero in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from crosstune.report import svg
from crosstune.report.evidence_questions import Answer
from crosstune.report.evidence_words import noun, verdict
from crosstune.report.relative_words import difference
from crosstune.report.words import MINUS

WIDTH = 720.0
ROW = 44.0
COLOURS = {"yes": svg.METHOD, "no": svg.FLOOR, "not decided": svg.CONTROL}


def difference_forest(answers: Sequence[Answer], name: str) -> svg.Drawing | None:
    """A line per answered question, over all tasks; None where nothing was measured."""
    shown = [(answer, answer.overall) for answer in answers if answer.overall is not None]
    found = [(answer, each) for answer, each in shown if each is not None and each.value is not None]
    if not found:
        return None
    with svg.canvas(64 + ROW * len(found), width=WIDTH) as figure:
        axes = figure.add_subplot()
        for row, (answer, each) in enumerate(found):
            assert each.value is not None
            colour = COLOURS[verdict(each)]
            if each.low is not None and each.high is not None:
                axes.plot([each.low, each.high], [-row, -row], color=colour, linewidth=2.6)
            axes.plot([each.value], [-row], marker="o", markersize=8, color=colour, linestyle="none",
                      markeredgecolor=svg.PAPER, markeredgewidth=1.2)  # fmt: skip
            _label(axes, -row, f"{noun(answer.first)} against {noun(answer.second)}", difference(each))
        axes.axvline(0.0, color=svg.INK, linewidth=1, zorder=0)
        axes.set_ylim(-len(found) + 0.6, 0.72)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.xaxis.set_major_formatter(FuncFormatter(_tick))
        axes.set_xlabel("\u2190 the first has the lower error   relative difference of errors")
        alt = "Relative differences of errors: " + "; ".join(
            f"{noun(answer.first)} against {noun(answer.second)} {difference(each)}" for answer, each in found
        )
        caption = (
            "Relative difference of errors, mean over data sets, with 95 % intervals; left of zero the first of the "
            "two is better."
        )
        return svg.export(figure, name, alt, caption)


def _label(axes: Any, y: float, what: str, numbers: str) -> None:
    under = {"facecolor": svg.PAPER, "edgecolor": "none", "pad": 1.5}
    options: Any = {"transform": axes.get_yaxis_transform(), "va": "bottom", "bbox": under}
    axes.text(0.0, y + 0.2, what, ha="left", **options)
    axes.text(1.0, y + 0.2, numbers, ha="right", color=svg.MUTED, fontsize=11, **options)


def _tick(value: float, unused: int) -> str:
    whole = round(100 * value, 1)
    return f"{MINUS if whole < 0 else '+' if whole > 0 else ''}{abs(whole):g} %"
