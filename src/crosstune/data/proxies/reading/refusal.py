"""A file that cannot be used, and the error that lists all of them with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from crosstune.errors import DataError

T = TypeVar("T")
MOST_NAMED = 5


class BadFile(Exception):
    """Why one file cannot be used, in words."""


def read_each(root: Path, files: Sequence[Path], read: Callable[[Path], T]) -> list[T]:
    """Every file read; DataError with names and reasons when some cannot be."""
    good: list[T] = []
    bad: list[str] = []
    for path in files:
        try:
            good.append(read(path))
        except BadFile as reason:
            bad.append(f"{path.relative_to(root)}: {reason}")
        except OSError as problem:  # no permission, a disk error, removed meanwhile
            bad.append(f"{path.relative_to(root)}: {problem.strerror or type(problem).__name__}")
    if bad:
        rest = f"\n- and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        raise DataError(
            f"{len(bad)} of {len(files)} files of the proxy {root} cannot be used:\n"
            + "\n".join(f"- {line}" for line in bad[:MOST_NAMED])
            + rest,
            cause="damaged or incomplete files, or files of another kind",
            fix="remove or mend them; nothing was left out in silence",
        )
    return good
