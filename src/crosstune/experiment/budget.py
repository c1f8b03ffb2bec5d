"""Budgets: wall time ("4m", "90s", "1h30m") or optimiser steps per arm ("200steps")."""

from __future__ import annotations

import re
from dataclasses import dataclass

from crosstune.errors import UsageError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class Budget:
    """seconds: wall time of the whole run, start of the program to the end of the report; steps: fitting steps per
    arm. Exactly one is set. A run with a budget in steps is a pure function of its seed."""

    text: str
    seconds: float | None = None
    steps: int | None = None

    @classmethod
    def parse(cls, text: str | int | float) -> Budget:
        """UsageError for anything that is neither a duration nor a number of steps."""
        if isinstance(text, (int, float)):
            text = f"{text}s"
        cleaned = text.strip().lower().replace(" ", "")
        match = re.fullmatch(r"(\d+)steps?", cleaned)
        if match and int(match[1]) > 0:
            return cls(cleaned, steps=int(match[1]))
        if re.fullmatch(r"(\d+(\.\d+)?[hms])+", cleaned):
            seconds = sum(float(n) * _UNITS[u] for n, u in re.findall(r"(\d+(?:\.\d+)?)([hms])", cleaned))
            if seconds > 0:
                return cls(cleaned, seconds=seconds)
        if re.fullmatch(r"\d+(\.\d+)?", cleaned) and float(cleaned) > 0:
            return cls(cleaned + "s", seconds=float(cleaned))
        raise UsageError(
            f"budget {text!r} is neither a duration nor a number of steps",
            fix="write for instance --budget 4m, --budget 90s, --budget 1h30m or --budget 200steps",
        )
