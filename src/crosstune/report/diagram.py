"""The critical-difference diagram (Demsar, JMLR 2006): average ranks on a line, bars over those not told apart."""

from __future__ import annotations

import math
from typing import Any

from crosstune.report import svg
from crosstune.report.analysis import Standing
from crosstune.report.words import count, listed, short

WIDTH = 720.0
ROW = 22.0  # CSS pixels between two names
BAR = 11.0  # between two bars
TOP, BOTTOM = 62.0, 10.0
MARGIN = 190.0  # for the names, on both sides


def critical_difference_diagram(found: Standing, name: str = "critical-difference") -> svg.Drawing:
    """Best at the left. Bars join contestants that pairwise signed-rank tests with Holm's correction do not tell
    apart; the scale above is Nemenyi's critical difference."""
    k = len(found.order)
    left = math.ceil(k / 2)
    first = TOP + 18 + BAR * len(found.cliques)
    height = first + ROW * max(left, k - left) + BOTTOM
    with svg.canvas(height, width=WIDTH) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(height, 0)
        axes.axis("off")
        _axis(axes, k)
        if found.cd is not None:
            _scale(axes, found.cd, k)
        for row, joined in enumerate(found.cliques):
            ends = [_x(found.ranks[n], k) for n in (joined[0], joined[-1])]
            axes.plot([ends[0] - 4, ends[1] + 4], [TOP + 12 + BAR * row] * 2, color=svg.METHOD, linewidth=4)
        for i, contestant in enumerate(found.order):
            on_left = i < left
            row = i if on_left else k - 1 - i
            _name(axes, contestant, found.ranks[contestant], k, first + ROW * (row + 0.5), on_left)
        alt = f"Critical-difference diagram over {count(found.blocks, 'data set')}. Average ranks: " + ", ".join(
            f"{n} {found.ranks[n]:.2f}" for n in found.order
        )
        groups = "; ".join(listed(list(joined)) for joined in found.cliques)
        alt += f". Not told apart: {groups}." if groups else ". All are told apart."
        caption = (
            f"Average ranks over {count(found.blocks, 'data set')} ({count(len(found.tasks), 'task')}), best at the "
            "left. Bars join what pairwise Wilcoxon signed-rank tests with Holm's correction do not tell apart at 5 %"
        )
        caption += f"; CD: Nemenyi's critical difference, {found.cd:.2f}." if found.cd is not None else "."
        return svg.export(figure, name, alt, caption)


def _x(rank: float, k: int) -> float:
    return MARGIN + (rank - 1) / max(k - 1, 1) * (WIDTH - 2 * MARGIN)


def _axis(axes: Any, k: int) -> None:
    axes.plot([_x(1, k), _x(k, k)], [TOP, TOP], color=svg.INK, linewidth=1.4)
    for rank in range(1, k + 1):
        axes.plot([_x(rank, k)] * 2, [TOP - 6, TOP], color=svg.INK, linewidth=1.2)
        axes.text(_x(rank, k), TOP - 9, str(rank), ha="center", va="bottom", fontsize=11)


def _scale(axes: Any, cd: float, k: int) -> None:
    """The length of the critical difference; left out where it is longer than the axis."""
    start, end = _x(1, k), _x(1 + cd, k)
    if end > WIDTH - 8:
        axes.text(start, 20, f"CD {cd:.2f}: more than the axis", ha="left", va="center", fontsize=11, color=svg.MUTED)
        return
    axes.plot([start, end], [20, 20], color=svg.MUTED, linewidth=1.4)
    for x in (start, end):
        axes.plot([x, x], [16, 24], color=svg.MUTED, linewidth=1.4)
    axes.text(end + 8, 20, f"CD {cd:.2f}", ha="left", va="center", fontsize=11, color=svg.MUTED)


def _name(axes: Any, contestant: str, rank: float, k: int, y: float, on_left: bool) -> None:
    x = _x(rank, k)
    edge = MARGIN - 8 if on_left else WIDTH - MARGIN + 8
    axes.plot([x, x, edge], [TOP, y, y], color=svg.LINE, linewidth=1.1, zorder=0)
    axes.plot([x], [TOP], marker="o", markersize=5, color=svg.INK, linestyle="none")
    text = f"{short(contestant, 26)}  {rank:.2f}" if on_left else f"{rank:.2f}  {short(contestant, 26)}"
    axes.text(edge + (-4 if on_left else 4), y, text, ha="right" if on_left else "left", va="center", fontsize=11)
