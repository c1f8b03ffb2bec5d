"""What tasks have in common: the share of training rows that they have, and the kind of their data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from crosstune.report.paired import share_of
from crosstune.report.sweep import Record

SHARES = (100, 30, 10)
KINDS = {"table": "tables", "series": "series", "grid": "images", "volume": "volumes"}
FIELDS = "fields"
UNKNOWN = "of unknown kind"
ALL = "all"

Part = Callable[[str], bool]


def kinds(records: Iterable[Record]) -> dict[str, str]:
    """Task -> "tables", "series", "images", "volumes", or "fields" where the target is one: as its records say; where
    they are from a version that did not write it, as the suites that are installed say."""
    found: dict[str, str] = {}
    for record in records:
        modality, kind = (record.modality, record.kind) if record.modality else _installed(record.task)
        found[record.task] = FIELDS if kind == "dense" else KINDS.get(str(modality), UNKNOWN)
    return found


@lru_cache(maxsize=None)
def _installed(task: str) -> tuple[str | None, str | None]:
    from crosstune.benchmarks import get_task
    from crosstune.errors import UsageError

    try:
        found = get_task(task)
    except UsageError:
        return None, None
    return found.modality, found.kind


def parts_of(tasks: Iterable[str], kind: dict[str, str], *, whole: bool = False) -> dict[str, tuple[str, ...]]:
    """Name of a part -> its tasks: all of them, those by share, those by kind of data. A part that is everything is
    left out (where there are series only, say) unless ``whole``, or it is a share below 100 %, which must be said."""
    every = tuple(sorted(tasks))
    found: dict[str, tuple[str, ...]] = {ALL: every}
    for share in SHARES:
        found[share_name(share)] = tuple(t for t in every if share_of(t) == share)
    for name in (*KINDS.values(), FIELDS, UNKNOWN):
        found[name] = tuple(t for t in every if kind.get(t, UNKNOWN) == name)
    low = {share_name(share) for share in SHARES if share < 100}
    return {
        name: part for name, part in found.items() if part and (whole or part != every or name == ALL or name in low)
    }


def share_name(share: int) -> str:
    return f"{share} % of the training rows"
