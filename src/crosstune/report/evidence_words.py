"""Answers as sentences. Every outcome has its own, those against us as plain as the others."""

from __future__ import annotations

from collections.abc import Sequence

from crosstune.report.evidence_questions import BEST_FLOOR, BEST_METHOD, Against, Answer
from crosstune.report.paired import FEWEST_DATA_SETS, FEWEST_TO_DECIDE, Relative
from crosstune.report.relative_words import difference, percent, percent_interval, record, sample
from crosstune.report.words import listed, seconds

NOT_MEASURED = "not measured"


def verdict(found: Relative | None) -> str:
    """ "yes", "no", "not decided" or "not measured": whether the first of the two is better."""
    if found is None or found.value is None:
        return NOT_MEASURED
    return {-1: "yes", 1: "no", 0: "not decided"}[found.decided]


def sentence(answer: Answer) -> str:
    """The answer over all tasks."""
    found = answer.overall
    if found is None or found.value is None:
        return f"Not measured: {answer.missing or 'no task and seed that both have'}."
    first, second = answer.times
    took = f" Mean time of a job: {seconds(first)} against {seconds(second)}." if first and second else ""
    return f"{verdict(found).capitalize()}: {compared(found)}{took}"


def compared(found: Relative) -> str:
    """ "the error of a is lower than that of b by 12.3 % on average, 95 % interval ... (n; won, tied, lost)." """
    assert found.value is not None
    first, second = noun(found.a), noun(found.b)
    over = f"({sample(found)}; {record(found)})"
    if found.value == 0:
        size = f"the error of {first} equals that of {second} on average"
    else:
        way = "lower" if found.value < 0 else "higher"
        size = (
            f"the error of {first} is {way} than that of {second} by {percent(abs(found.value), sign=False)} on average"
        )
    if found.low is None or found.high is None:
        return f"{size} {over}; fewer than {FEWEST_DATA_SETS} data sets allow no interval."
    span = f"95 % interval of the difference {percent_interval(found.low, found.high)}"
    if found.low <= 0 <= found.high:
        return f"{size}, and the {span} has zero in it {over}."
    if not found.decided:
        return f"{size}, {span} {over}; fewer than {FEWEST_TO_DECIDE} data sets decide nothing."
    return f"{size}, {span} {over}."


def noun(contestant: str) -> str:
    """A contestant as a sentence has it, without its backbone, which the heading names."""
    if contestant == BEST_FLOOR:
        return "the best floor of each task"
    if contestant == BEST_METHOD:
        return "the best method of each task"
    return contestant.partition(" (")[0]


def ablation(against: Sequence[Against]) -> str:
    """Which part of RECRAFT matters, by what its error is without it; nothing where no part was taken out."""
    parts = [each.found for each in against if each.control]
    if not parts:
        return ""
    moved = sorted((each for each in parts if each.decided), key=lambda each: (-abs(each.value or 0.0), each.b))
    still = [noun(each.b) for each in parts if not each.decided]
    said = []
    if moved:
        most = moved[0]
        way = "lower" if (most.value or 0.0) < 0 else "higher"
        size = percent(abs(most.value or 0.0), sign=False)
        said.append(
            f"Of the variants of RECRAFT with a part taken out {noun(most.b)} differs most: RECRAFT's error is {way} "
            f"by {size} {percent_interval(most.low, most.high)}."
        )
        if moved[1:]:
            said.append(f"Also told apart: {', '.join(f'{noun(e.b)} ({difference(e)})' for e in moved[1:])}.")
    if still:
        each = "the difference" if len(still) == 1 else "each difference"
        few = min(e.data_sets for e in parts if not e.decided) < FEWEST_TO_DECIDE
        why = f"has zero in it or is over fewer than {FEWEST_TO_DECIDE} data sets" if few else "has zero in it"
        said.append(f"Not told apart from RECRAFT: {listed(still)}; the interval of {each} {why}.")
    return " ".join(said)
