"""What can be wrong with data, one module per family of findings.

Each module has ``check(dataset, split) -> list[Finding]``. Severity: ``refuse`` when a result would be meaningless or
dishonest, ``warn`` when it may mislead, ``note`` for what a reader should know.
"""

from __future__ import annotations

from typing import Any, Literal

from crosstune.records import Finding

# Every code that can refuse a run, and so every value that --accept takes.
ACCEPTABLE = (
    "constant",
    "constant-target",
    "duplicates",
    "few-groups",
    "group-classes",
    "groups-straddle",
    "imbalance",
    "infinite",
    "leakage",
    "missing",
    "rare-classes",
)


def finding(code: str, severity: Literal["refuse", "warn", "note"], message: str, **detail: Any) -> Finding:
    """The record; a refusal carries the flag that accepts it."""
    if severity == "refuse" and code not in ACCEPTABLE:
        raise RuntimeError(f"finding {code!r} refuses but cannot be accepted")
    return Finding(code, severity, message, f"--accept {code}" if severity == "refuse" else None, detail)


def some(items: list[str], limit: int = 5) -> str:
    """The first items in words."""
    return ", ".join(items[:limit]) + (f" and {len(items) - limit} more" if len(items) > limit else "")
