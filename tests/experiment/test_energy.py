"""Energy of jobs, from a powercap tree and a library of our own making, and from neither."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from crosstune.experiment.sweep import energy as measured
from crosstune.experiment.sweep.energy import Counter, Energy

RANGE = 262_143_328_850  # microjoules, as Intel's are


def zone(root: Path, name: str, label: str, value: int | None, span: int | None = RANGE) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(label + "\n")
    if value is not None:
        (folder / "energy_uj").write_text(f"{value}\n")
    if span is not None:
        (folder / "max_energy_range_uj").write_text(f"{span}\n")
    return folder


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages with a core domain, memory, the whole platform, and the second interface to the first package."""
    for name, label, value in (
        ("intel-rapl", "", None), ("intel-rapl:0", "package-0", 1_000_000), ("intel-rapl:0:0", "core", 5),
        ("intel-rapl:0:1", "dram", 7_000_000), ("intel-rapl:1", "package-1", RANGE - 2_000_000),
        ("intel-rapl:2", "psys", 90), ("intel-rapl-mmio:0", "package-0", 1_000_000),
    ):  # fmt: skip
        zone(tmp_path, name, label, value)
    return tmp_path


def put(root: Path, name: str, value: int) -> None:
    (root / name / "energy_uj").write_text(f"{value}\n")


def test_packages_and_memory_are_summed_once_and_a_counter_that_wraps_goes_on(powercap: Path) -> None:
    with Energy(root=powercap, pause=3600) as energy:
        put(powercap, "intel-rapl:0", 4_500_000)  # 3.5 J
        put(powercap, "intel-rapl:0:0", 999_000_000)  # in the package
        put(powercap, "intel-rapl:0:1", 7_250_000)  # 0.25 J
        put(powercap, "intel-rapl:1", 1_999_999)  # 2 J to the largest value, one step to zero, 2 J less one
        put(powercap, "intel-rapl:2", 999_000_000)  # holds the packages
        put(powercap, "intel-rapl-mmio:0", 999_000_000)  # the same package again
    assert energy.joules == pytest.approx(3.5 + 0.25 + 4.0)
    assert energy.source == "CPU (RAPL, whole machine)"


def test_every_wrap_between_two_looks_counts() -> None:
    values = iter([90, 40, 95, 5, 60])
    counter = Counter(lambda: next(values), joules=1e-6, span=100)
    for _ in range(4):
        counter.look()
    assert counter.used == pytest.approx((50 + 55 + 10 + 55) * 1e-6)


def test_the_watch_sees_wraps_while_the_block_runs(powercap: Path) -> None:
    """Two wraps; looking at the ends alone would see none."""
    import threading

    path = powercap / "intel-rapl:0" / "energy_uj"
    text, seen = iter([RANGE, 500_000, RANGE, 1_000_000]), threading.Semaphore(0)
    read = measured._whole

    def next_value(place: Path) -> int | None:
        if place == path and threading.current_thread() is not threading.main_thread():
            value = next(text, None)
            if value is not None:
                put(powercap, "intel-rapl:0", value)
            seen.release()
        return read(place)

    measured._whole = next_value
    try:
        with Energy(root=powercap, pause=0.005) as energy:
            for _ in range(4):
                assert seen.acquire(timeout=60)
    finally:
        measured._whole = read
    # from 1 J to the top, 0.5 J up from zero, to the top again, 1 J up from zero, a step at each zero
    assert energy.joules == pytest.approx(2 * (RANGE + 1) * 1e-6, abs=1e-3)


@pytest.mark.parametrize("spoil", ["no tree", "no permission", "no range", "nonsense", "half"])
def test_a_machine_that_does_not_tell_gives_nothing(powercap: Path, spoil: str) -> None:
    root = powercap
    if spoil == "no tree":
        root = powercap / "absent"
    for name in ("intel-rapl:0", "intel-rapl:0:1", "intel-rapl:1"):
        if spoil == "no permission":  # as root may read anything, a folder stands for a file that may not be read
            (powercap / name / "energy_uj").unlink()
            (powercap / name / "energy_uj").mkdir()
        if spoil == "no range":
            (powercap / name / "max_energy_range_uj").unlink()
        if spoil == "nonsense":
            (powercap / name / "energy_uj").write_text("-1\n")
    if spoil == "half":  # one package of two is no measurement of the machine
        (powercap / "intel-rapl:1" / "energy_uj").unlink()
    with Energy(root=root) as energy:
        pass
    assert (energy.joules, energy.source) == (None, None)


def test_a_counter_that_disappears_or_steps_back_says_nothing_any_more(powercap: Path) -> None:
    with Energy(root=powercap, pause=3600) as energy:
        (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert energy.joules is None
    values = iter([10, 5, 20])  # no span: it was set back, so what it moved is unknown
    counter = Counter(lambda: next(values), joules=1.0)
    counter.look()
    assert counter.used is None
    counter.look()
    assert counter.used is None


class FakeNvml:
    """As much of NVML as is used. millijoules: device -> what the counter says at each look."""

    def __init__(self, millijoules: dict[str, list[int]]) -> None:
        self.millijoules, self.names = millijoules, list(millijoules)

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        if uuid.decode() not in self.names:
            return 6
        handle._obj.value = self.names.index(uuid.decode()) + 1
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: ctypes.c_void_p, value: Any) -> int:
        left = self.millijoules[self.names[int(handle.value or 0) - 1]]
        if not left:
            return 3
        value._obj.value = left.pop(0)
        return 0


def test_devices_are_read_by_their_id(monkeypatch: pytest.MonkeyPatch, powercap: Path) -> None:
    library = FakeNvml({"GPU-a": [1000, 1000, 3500], "GPU-b": [0, 0, 250]})
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    with Energy(["GPU-a", "GPU-b"], root=powercap, pause=3600) as energy:
        put(powercap, "intel-rapl:0", 2_000_000)
    assert energy.joules == pytest.approx(1.0 + 2.5 + 0.25)
    assert energy.source == "CPU (RAPL, whole machine) + GPU (NVML, whole device)"


@pytest.mark.parametrize("library", [
    FakeNvml({"GPU-other": [1]}), FakeNvml({"GPU-a": []}), object(), None,
], ids=["unknown", "no counter", "another library", "no library"])  # fmt: skip
def test_with_a_device_that_does_not_tell_the_cpu_alone_is_no_answer(
    library: Any, monkeypatch: pytest.MonkeyPatch, powercap: Path
) -> None:
    def load(name: str) -> Any:
        if library is None:
            raise OSError(name)
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    with Energy(["GPU-a"], root=powercap) as energy:
        put(powercap, "intel-rapl:0", 2_000_000)
    assert energy.joules is None
