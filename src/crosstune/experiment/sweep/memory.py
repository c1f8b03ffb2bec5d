"""The most memory that a job held, its child processes included."""

from __future__ import annotations

import os
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_PAUSE = 0.2


class Peak:
    """``with Peak() as peak: ...; peak.mib``: the largest resident size of this process since the beginning of the
    block plus that of the largest child seen. On Linux the process's own mark is set back first; elsewhere it is that
    of the process's whole life."""

    def __init__(self) -> None:
        self._children = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.mib = 0.0

    def __enter__(self) -> Peak:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        self.mib = round(_own() + self._children, 1)

    def _watch(self) -> None:
        while not self._stop.wait(_PAUSE):
            self._look()

    def _look(self) -> None:
        for child in _children(os.getpid()):
            self._children = max(self._children, _mark(child) or 0.0)


def _own() -> float:
    mark = _mark(os.getpid())
    if mark is not None:
        return mark
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _mark(pid: int) -> float | None:
    """VmHWM of a process in MiB; None where there is no such thing."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        pass
    return None


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError, ValueError):
                found += [int(number) for number in (task / "children").read_text().split()]
    return found
