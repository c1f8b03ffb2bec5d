"""The energy that a machine says it used while a job ran; None where it does not say.

CPU: the counters of Intel's and AMD's RAPL under /sys/class/powercap, packages and their memory (a package holds its
cores; "psys" holds the packages and is left out, or they would count twice). GPU: NVML's counter of the devices in use.
Counters are the whole machine's or the whole device's: other jobs that ran at the same time are in them.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

POWERCAP = Path("/sys/class/powercap")
_PAUSE = 5.0  # seconds; a counter of 262 kJ wraps after twenty minutes at 200 W
_MICRO, _MILLI = 1e-6, 1e-3

Read = Callable[[], int | None]


class Counter:
    """A counter that only grows, but begins again at zero after ``span`` units (None: it does not wrap). joules: of a
    unit. ``look`` adds what it moved since the last look; once unreadable, it says nothing any more."""

    def __init__(self, read: Read, *, joules: float, span: int | None = None) -> None:
        self._read, self._joules, self._span = read, joules, span
        self._last = read()
        self._moved = 0

    def look(self) -> None:
        if self._last is None:
            return
        now = self._read()
        if now is None or (now < self._last and self._span is None):
            self._last = None
            return
        self._moved += now - self._last + (self._span or 0) * (now < self._last)
        self._last = now

    @property
    def used(self) -> float | None:
        return None if self._last is None else self._moved * self._joules


def rapl(root: Path = POWERCAP) -> list[Counter]:
    """Counters of every package, and of the memory beside it; none where they are absent or may not be read (they are
    the administrator's alone on most machines)."""
    found = []
    with suppress(OSError):
        for zone in sorted(root.iterdir()):
            package = re.fullmatch(r"intel-rapl:\d+", zone.name) is not None
            part = re.fullmatch(r"intel-rapl:\d+:\d+", zone.name) is not None
            name = _text(zone / "name") or ""
            if (package and name.startswith("package")) or (part and name == "dram"):
                counter = _zone(zone)
                if counter is None:
                    return []  # a part of the machine is no measurement of it
                found.append(counter)
    return found


def _zone(zone: Path) -> Counter | None:
    span = _whole(zone / "max_energy_range_uj")
    if span is None or _whole(zone / "energy_uj") is None:
        return None
    # max_energy_range_uj is the largest value: the next one is zero
    return Counter(lambda: _whole(zone / "energy_uj"), joules=_MICRO, span=span + 1)


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _whole(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.isdigit() else None


def nvml(uuids: Iterable[str], library: Any = None) -> list[Counter]:
    """Counters of the NVIDIA devices with these ids ("GPU-..."), in millijoules since the driver was loaded; none where
    there is no NVML, or a device has no counter (before Volta)."""
    wanted = list(uuids)
    if not wanted:
        return []
    try:
        library = library or ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() != 0:
            return []
    except (OSError, AttributeError):
        return []
    found = []
    for uuid in wanted:
        read = _device(library, uuid)
        if read is None or read() is None:
            return []
        found.append(Counter(read, joules=_MILLI))
    return found


def _device(library: Any, uuid: str) -> Read | None:
    handle = ctypes.c_void_p()
    try:
        if library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)) != 0:
            return None
    except AttributeError:
        return None

    def read() -> int | None:
        value = ctypes.c_ulonglong()
        try:
            done = library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value)) == 0
        except AttributeError:
            return None
        return int(value.value) if done else None

    return read


class Energy:
    """``with Energy(...) as energy: ...``; then energy.joules (None where the machine does not tell, or a counter of
    those that were there at the beginning stopped telling) and energy.source, what it is the energy of.

    gpus: ids of the NVIDIA devices that the block computes on; with some, no figure is given unless they tell too.
    """

    def __init__(self, gpus: Iterable[str] = (), *, root: Path = POWERCAP, pause: float = _PAUSE) -> None:
        self._gpus, self._root, self._pause = list(gpus), root, pause
        self._counters: list[Counter] = []
        self._sources: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.joules: float | None = None
        self.source: str | None = None

    def __enter__(self) -> Energy:
        cpu, gpu = rapl(self._root), nvml(self._gpus)
        self._sources = ["CPU (RAPL, whole machine)"] * bool(cpu) + ["GPU (NVML, whole device)"] * bool(gpu)
        # half of a machine is no measurement of it: with a GPU at work the CPU alone would mislead
        self._counters = [*cpu, *gpu] if bool(gpu) == bool(self._gpus) else []
        if self._counters:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._counters:
            return
        self._stop.set()
        self._thread.join()
        self._look()
        used = [counter.used for counter in self._counters]
        if all(each is not None for each in used):
            self.joules = round(sum(each for each in used if each is not None), 3)
            self.source = " + ".join(self._sources)

    def _watch(self) -> None:
        while not self._stop.wait(self._pause):
            self._look()

    def _look(self) -> None:
        for counter in self._counters:
            counter.look()
