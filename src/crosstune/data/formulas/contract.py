"""What a formula family is: from a class to its parameters, from parameters and a seed to signals. NumPy only.

A *class* is a set of parameters of a generator; an *instance* is what may differ between two signals of one class:
noise, phase, time warp, amplitude, initial conditions. The number of classes is free, so that a source can always have
more of them than a target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np

from crosstune.errors import UsageError
from crosstune.seeding import derive_seed

Kind = Literal["sequence", "grid"]
Parameters = Mapping[str, np.ndarray]  # every array has one row per class


class Formula(Protocol):
    """A family of signals. One file that defines ``FORMULA`` is one family.

    name: as in recipes. kind: what ``sample`` gives. summary: one line. reference: where the formulas are from.
    channels: C of the signals.
    """

    name: str
    kind: Kind
    summary: str
    reference: str
    channels: int

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        """Generator parameters of ``classes`` classes: plain arrays whose first axis is the class. The same classes and
        seed give the same arrays, bit for bit; the parameters of class k may depend on how many classes there are."""
        ...

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        """Instances of classes: float32, finite, (n, C, L) for ``size`` (L,) or (n, C, H, W) for ``size`` (H, W).

        labels: int64 (n,), rows of ``parameters``. A batch is a function of labels, seed and size. Each signal has a
        spread of about one; nothing else is standardised, for level and scale may tell classes apart.
        """
        ...


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """The random stream of a name: a new draw under one name shifts none of another's."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *names)))


def rows(parameters: Parameters, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The parameters of every instance: arrays with n rows instead of one per class."""
    return {name: values[labels] for name, values in parameters.items()}


def classes_of(parameters: Parameters) -> int:
    """How many classes a set of parameters describes."""
    return len(next(iter(parameters.values())))


def check_size(formula: Formula, size: tuple[int, ...], least: int = 8) -> None:
    """UsageError for a size that is not of the formula's kind, or too small to show anything."""
    axes = {"sequence": 1, "grid": 2}[formula.kind]
    if len(size) != axes or min(size) < least:
        wanted = "(length,)" if axes == 1 else "(height, width)"
        raise UsageError(
            f"formula {formula.name!r} cannot be drawn at size {size}",
            cause=f"it makes {formula.kind}s: {wanted}, at least {least} samples along each axis",
            fix=f"pass size={(128,) if axes == 1 else (32, 32)}",
        )
