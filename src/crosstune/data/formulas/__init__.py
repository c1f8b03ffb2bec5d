"""Families of signals made by formulas: labelled source data without end, for pretraining and for source proxies.

Each module of this package that defines ``FORMULA`` is one family (see ``crosstune.discovery``).
"""

from __future__ import annotations

from collections.abc import Sequence

from crosstune.data.formulas.contract import Formula, Kind, Parameters, check_size, classes_of, generator, rows
from crosstune.data.formulas.mixture import Mixture
from crosstune.discovery import discover, suggest
from crosstune.errors import UsageError

__all__ = [
    "Formula",
    "Kind",
    "Mixture",
    "Parameters",
    "check_size",
    "classes_of",
    "formulas",
    "generator",
    "mix",
    "rows",
]


def formulas(kind: Kind | None = None) -> dict[str, Formula]:
    """All families, or those of one kind, by name."""
    found: dict[str, Formula] = discover("crosstune.data.formulas", "FORMULA")
    return {name: f for name, f in found.items() if kind in (None, f.kind)}


def mix(kind: Kind, names: Sequence[str] = (), shares: Sequence[float] | None = None) -> Mixture:
    """A mixture by the names of its families; all families of the kind when none is named."""
    known = formulas(kind)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no {kind} formula {unknown[0]!r}", fix=suggest(unknown[0], list(known)))
    return Mixture([known[name] for name in (names or known)], shares)
