"""Lines that were set beforehand, each answered yes, no or not measured."""

from __future__ import annotations

from collections.abc import Sequence

from crosstune.report.analysis import Standing
from crosstune.report.evidence_questions import Answer, Target
from crosstune.report.groups import share_name
from crosstune.report.relative_words import difference, record
from crosstune.report.words import count

BEST_RANK = (
    "RECRAFT has the best average rank of all transfer methods, with the interval of its paired difference to plain "
    "fine-tuning excluding zero"
)
LOW_DATA_SHARE = 0.8
LOW_DATA = (
    f"RECRAFT beats training from scratch on at least {100 * LOW_DATA_SHARE:.0f} % of the tasks at 10 % of the data"
)


def targets(ours: str, ranks: Standing | None, answers: Sequence[Answer]) -> tuple[Target, ...]:
    """ranks: of the transfer methods alone."""
    by_key = {answer.question.key: answer for answer in answers}
    return _best_rank(ours, ranks, by_key.get("plain")), _low_data(by_key.get("transfer"))


def _best_rank(ours: str, ranks: Standing | None, plain: Answer | None) -> Target:
    if ranks is None or ours not in ranks.ranks:
        return Target(BEST_RANK, "not measured", "fewer than two transfer methods, or not RECRAFT, have ranks")
    places = ", ".join(f"{name.partition(' (')[0]} {ranks.ranks[name]:.2f}" for name in ranks.order)
    numbers = f"average ranks over {count(ranks.blocks, 'data set')}: {places}"
    found = plain.overall if plain is not None else None
    if found is None or found.value is None:
        return Target(BEST_RANK, "not measured", f"{numbers}; plain fine-tuning was not run on the same tasks")
    numbers += f"; difference to plain fine-tuning {difference(found)}"
    first = all(ranks.ranks[ours] < rank for name, rank in ranks.ranks.items() if name != ours)
    if first and found.low is None:
        return Target(BEST_RANK, "not measured", numbers)
    return Target(BEST_RANK, "yes" if first and found.decided < 0 else "no", numbers)


def _low_data(transfer: Answer | None) -> Target:
    """By mean errors; how many of them are beyond the spread over seeds is said beside it."""
    found = transfer.parts.get(share_name(10)) if transfer is not None else None
    if found is None or not found.tasks:
        return Target(LOW_DATA, "not measured", "no task at 10 % of the training rows that both have")
    numbers = (
        f"lower error on {found.lower} of {count(found.tasks, 'task')} ({100 * found.lower / found.tasks:.0f} %); "
        f"beyond the spread over seeds: {record(found)}"
    )
    return Target(LOW_DATA, "yes" if found.lower >= LOW_DATA_SHARE * found.tasks else "no", numbers)
