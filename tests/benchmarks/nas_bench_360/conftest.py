"""Every task's stand-in, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from crosstune.benchmarks import get_task, tasks

TINY = {"cifar100": 400, "spherical": 400, "ninapro": 360, "fsd50k": 400, "darcy_flow": 24, "psicov": 8, "cosmic": 12,
        "ecg": 40, "satellite": 480, "deepsea": 120}  # fmt: skip
NAMES = sorted(tasks("nas_bench_360"))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name in NAMES:
        made[name] = tmp_path_factory.mktemp(name.split("/")[1])
        get_task(name).generate(made[name], n=TINY[name.split("/")[1]])
    return made
