"""Named random streams: a new draw in one part of the program never shifts the draws of another.

Each name owns an independent generator derived from ``(root seed, name)`` through SHA-256 and NumPy's
``SeedSequence``. Streams can be saved and restored, which is what makes a resumed run bit-identical.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def derive_seed(root: int, *names: str | int) -> int:
    """A 63-bit seed that depends on the root seed and on every name, and on nothing else."""
    text = "\x1f".join([str(int(root)), *[str(name) for name in names]])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


class Streams:
    """A family of NumPy generators keyed by name.

    >>> streams = Streams(0)
    >>> a = streams["alignment"].integers(1000)
    >>> _ = streams["fitting"].random(10_000)          # does not touch "alignment"
    >>> Streams(0)["alignment"].integers(1000) == a
    True
    """

    def __init__(self, seed: int, prefix: str = "") -> None:
        self.seed = int(seed)
        self.prefix = prefix
        self._generators: dict[str, np.random.Generator] = {}

    def __getitem__(self, name: str) -> np.random.Generator:
        if name not in self._generators:
            self._generators[name] = np.random.Generator(np.random.PCG64(self.seed_for(name)))
        return self._generators[name]

    def seed_for(self, name: str) -> int:
        """The integer seed of a stream, for libraries that take one (torch, scikit-learn)."""
        return derive_seed(self.seed, self.prefix, name)

    def child(self, prefix: str) -> Streams:
        """An independent family for a part of the program."""
        return Streams(self.seed, f"{self.prefix}/{prefix}")

    def state_dict(self) -> dict[str, Any]:
        """Plain data from which ``load_state_dict`` restores every stream in use."""
        return {
            "seed": self.seed,
            "prefix": self.prefix,
            "generators": {name: g.bit_generator.state for name, g in self._generators.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seed = int(state["seed"])
        self.prefix = str(state["prefix"])
        self._generators = {}
        for name, inner in state["generators"].items():
            generator = np.random.Generator(np.random.PCG64())
            generator.bit_generator.state = inner
            self._generators[name] = generator
