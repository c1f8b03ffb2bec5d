"""Numbers and durations as a reader wants them."""

from __future__ import annotations

import math
from typing import Any

MINUS = "\u2212"


def number(value: float | None, *, sign: bool = False, width: float | None = None) -> str:
    """A figure with three decimals near one and a dash for nothing.

    ``width`` (of its interval, or of the difference it is part of) asks for as many more decimals as show it.
    """
    if value is None or math.isnan(value):
        return "\u2013"
    lead = MINUS if value < 0 else "+" if sign and value > 0 else ""
    size = abs(value)
    if math.isinf(value):
        return lead + "\u221e"
    if size == 0:
        return "0"
    places = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 0.01 or width else 4
    if width and math.isfinite(width):
        places = max(places, min(6, 1 - math.floor(math.log10(width))))
    small = size < (0.5 * 10**-places if width else 1e-3)
    return lead + (f"{size:.1e}" if small or size >= 1e6 else f"{size:.{places}f}")


def span(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """ "0.021 to 0.054", or nothing when there is no interval."""
    if low is None or high is None:
        return ""
    return f"{number(low, sign=sign, width=high - low)} to {number(high, sign=sign, width=high - low)}"


def brackets(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """ "[0.021, 0.054]", or nothing when there is no interval."""
    return f"[{span(low, high, sign=sign).replace(' to ', ', ')}]" if low is not None and high is not None else ""


def with_interval(value: float | None, low: float | None, high: float | None, *, sign: bool = False) -> str:
    """ "0.035 [0.021, 0.054]", or the value alone."""
    return f"{number(value, sign=sign, width=_width(low, high))} {brackets(low, high, sign=sign)}".rstrip()


def figure(scored: Any, *, sign: bool = False) -> tuple[str, str]:
    """Value and interval (of anything with value, low and high) to the same number of decimals."""
    width = _width(scored.low, scored.high)
    return number(scored.value, sign=sign, width=width), span(scored.low, scored.high, sign=sign)


def _width(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else high - low


def seconds(value: float | None) -> str:
    """Wall time: "0.3 s", "42 s", "3 min 20 s", "2 h 5 min"."""
    if value is None:
        return "\u2013"
    if value < 0.05:
        return "< 0.1 s"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def energy(joules: float | None) -> str:
    """ "850 J", "12.3 kJ", "1.20 MJ"; a dash where the machine did not tell."""
    if joules is None:
        return "\u2013"
    for size, unit, places in ((1e6, "MJ", 2), (1e3, "kJ", 1)):
        if joules >= size:
            return f"{joules / size:.{places}f} {unit}"
    return f"{joules:.0f} J" if joules >= 10 else f"{joules:.1f} J"


def short(text: str, longest: int = 60) -> str:
    """One printable line, cut in the middle if too long (XML and terminals have no use for control characters)."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    if len(text) <= longest:
        return text
    tail = longest // 3
    return f"{text[: longest - tail - 1]}\u2026{text[-tail:]}"


def count(value: int, what: str) -> str:
    """ "1 row", "2 rows"."""
    return f"{value:,} {what}{'' if value == 1 else 's'}"


def listed(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
