"""Differences, p-values and counts as sentences."""

from __future__ import annotations

from crosstune.report.paired import FEWEST_DATA_SETS, Relative
from crosstune.report.words import MINUS, count


def percent(value: float, *, sign: bool = True) -> str:
    """ "+12.3 %" of a fraction; one decimal, two below one per cent."""
    size = abs(100 * value)
    text = f"{size:.2f}" if 0 < size < 0.995 else f"{size:.1f}"
    if float(text) == 0:
        return "0 %"
    return (MINUS if value < 0 else "+" if sign else "") + text + " %"


def percent_interval(low: float | None, high: float | None) -> str:
    """ "[-20.1, -4.0] %", or nothing."""
    if low is None or high is None:
        return ""
    return f"[{percent(low).removesuffix(' %')}, {percent(high).removesuffix(' %')}] %"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def sample(found: Relative) -> str:
    """ "19 data sets, 57 tasks, 3 seeds": what a difference is over."""
    low, high = found.seeds
    seeds = count(low, "seed") if low == high else f"{low} to {high} seeds"
    return f"{count(found.data_sets, 'data set')}, {count(found.tasks, 'task')}, {seeds}"


def record(found: Relative) -> str:
    """ "30 won, 25 tied, 2 lost"."""
    return f"{found.win} won, {found.tie} tied, {found.loss} lost"


def difference(found: Relative) -> str:
    """ "-12.3 % [-20.1, -4.0] %", with the reason where there is no interval."""
    if found.value is None:
        return "no task in common"
    span = percent_interval(found.low, found.high)
    fewer = f"(fewer than {FEWEST_DATA_SETS} data sets: no interval)"
    return f"{percent(found.value)} {span or fewer}"


def line(found: Relative) -> str:
    """One contestant against another in one line of a table."""
    return (
        f"{found.a} against {found.b}: {record(found)}; relative difference of errors {difference(found)} over "
        f"{sample(found)}; Wilcoxon {p_value(found.p)}"
    )


HOW = (
    "relative difference: (error of the first - error of the second) / the larger of both, below zero the first is "
    "better, averaged within a data set (its variants with fewer rows together), then over data sets; [95 % interval: "
    "data sets resampled, then seeds]; won, lost: tasks where Student's 95 % interval of the paired difference over "
    "seeds excludes zero, or, below three seeds or where seeds make no difference, where every seed says so"
)
