"""The exception tree. Every error carries what a user needs to go on: the value, the place, the cause, the fix.

Exit codes (used by the command line, listed in the README):
0 ok, 2 usage, 3 data refused, 4 weights unavailable, 5 budget ended without a model, 130 interrupted.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_DATA = 3
EXIT_WEIGHTS = 4
EXIT_BUDGET = 5
EXIT_INTERRUPTED = 130


class CrosstuneError(Exception):
    """Base of every error that crosstune raises on purpose.

    Parameters: ``problem`` names the value and the place; ``cause`` the likely reason; ``fix`` the next step,
    where possible a command or flag to copy.
    """

    exit_code: int = 1

    def __init__(self, problem: str, *, cause: str | None = None, fix: str | None = None) -> None:
        self.problem = problem
        self.cause = cause
        self.fix = fix
        parts = [problem]
        if cause:
            parts.append(f"Likely cause: {cause}")
        if fix:
            parts.append(f"Next step: {fix}")
        super().__init__("\n".join(parts))

    def as_dict(self) -> dict[str, str | int | None]:
        """The error as plain data, for ``--json``."""
        return {
            "error": type(self).__name__,
            "exit_code": self.exit_code,
            "problem": self.problem,
            "cause": self.cause,
            "fix": self.fix,
        }


class UsageError(CrosstuneError, ValueError):
    """A flag, name or option that does not exist or does not fit (also a ``ValueError``)."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """A configuration with unknown keys or values out of range; lists all of them at once."""


class DataError(CrosstuneError, ValueError):
    """Data that cannot be read, or that would make the result meaningless (also a ``ValueError``)."""

    exit_code = EXIT_DATA


class TaskError(DataError):
    """Data and target that do not fit the task asked for."""


class WeightsError(CrosstuneError):
    """Pretrained weights that are missing, refused, or not what their checksum says."""

    exit_code = EXIT_WEIGHTS


class BudgetError(CrosstuneError):
    """The budget ended before there was a model."""

    exit_code = EXIT_BUDGET


class RunError(CrosstuneError):
    """A run folder that is missing, incomplete, sealed or from another version."""

    exit_code = EXIT_USAGE


class Interrupted(CrosstuneError):
    """The user stopped the run; the last checkpoint is kept."""

    exit_code = EXIT_INTERRUPTED
