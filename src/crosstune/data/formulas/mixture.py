"""Several families under one label space: the classes of the first, then those of the second, and so on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crosstune.data.formulas.contract import Formula, Kind, Parameters
from crosstune.errors import UsageError
from crosstune.seeding import derive_seed


class Mixture:
    """A formula made of formulas. shares: relative numbers of classes; equal when left out.

    Raises UsageError for no parts, parts of two kinds or of different channels, and shares that are not positive.
    """

    summary = "families under one label space"

    def __init__(self, parts: Sequence[Formula], shares: Sequence[float] | None = None) -> None:
        self.parts = tuple(parts)
        self.shares = tuple(float(s) for s in (shares or [1.0] * len(self.parts)))
        if not self.parts or len(self.shares) != len(self.parts) or min(self.shares) <= 0:
            raise UsageError(
                f"a mixture of {len(self.parts)} families with shares {self.shares}",
                fix="name at least one family, and a positive share for each",
            )
        kinds = {(part.kind, part.channels) for part in self.parts}
        if len(kinds) > 1:
            raise UsageError(
                f"a mixture of {sorted(kinds)} has no common shape", fix="mix sequences or grids of the same channels"
            )
        self.kind: Kind = self.parts[0].kind
        self.channels = self.parts[0].channels
        self.name = "+".join(part.name for part in self.parts)
        self.reference = "; ".join(part.reference for part in self.parts)

    def counts(self, classes: int) -> list[int]:
        """Classes of every part: by largest remainder, at least one each."""
        if classes < len(self.parts):
            raise UsageError(
                f"{classes} classes cannot be shared by {len(self.parts)} families", fix="ask for more classes"
            )
        exact = np.asarray(self.shares) / sum(self.shares) * (classes - len(self.parts))
        counts = np.floor(exact).astype(int)
        order = np.argsort(counts - exact, kind="stable")
        counts[order[: classes - len(self.parts) - counts.sum()]] += 1
        return [int(c) + 1 for c in counts]

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        """``part`` (K,): which family a class belongs to, ``own`` (K,): its label there, and the families' arrays under
        ``0/name``, ``1/name`` ..., each spread over all K rows so that every array has one row per class."""
        counts = self.counts(classes)
        part = np.repeat(np.arange(len(counts)), counts)
        out: dict[str, np.ndarray] = {"part": part.astype(np.int64)}
        for k, (family, count) in enumerate(zip(self.parts, counts)):
            for name, values in family.parameters(count, derive_seed(seed, family.name)).items():
                whole = np.zeros((classes, *values.shape[1:]), values.dtype)
                whole[part == k] = values
                out[f"{k}/{name}"] = whole
        return out

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        labels = np.asarray(labels, np.int64)
        out = np.empty((len(labels), self.channels, *size), np.float32)
        part = parameters["part"][labels]
        for k, family in enumerate(self.parts):
            rows = np.flatnonzero(part == k)
            if len(rows) == 0:
                continue
            prefix = f"{k}/"
            own = {name[len(prefix) :]: v for name, v in parameters.items() if name.startswith(prefix)}
            out[rows] = family.sample(own, labels[rows], derive_seed(seed, family.name), size)
        return out
