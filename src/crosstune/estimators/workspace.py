"""Temporary run folders that live as long as the estimator that made them."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path


class Workspace:
    """A temporary folder, removed when this object is collected or the interpreter ends.

    Only the process that made it removes it: a forked worker that drops its copy of an estimator must not take the
    folder away from its parent. Never pickled; copies of an estimator have none.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="crosstune-"))
        self._finalizer = weakref.finalize(self, _remove, self.path, os.getpid())

    def prune(self) -> None:
        """Drop what only a sealed test would need: the rows, the checkpoints and the controls' models."""
        for name in ("arms", "data", "checkpoints"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder now."""
        self._finalizer()


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)
