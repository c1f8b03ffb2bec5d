from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crosstune import report

from . import problems

MAKERS = {
    "digits": problems.digits,
    "revealed": lambda folder: problems.digits(folder, reveal=True, seeds=2),
    "diabetes": problems.diabetes,
    "multilabel": problems.multilabel,
    "heat": problems.heat,
    "masks": problems.masks,
    "strips": lambda folder: problems.masks(folder, dimensions=1),
    "plate": lambda folder: problems.heat(folder, dimensions=2),
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run folder of one problem, made once per session and not to be changed."""
    root = tmp_path_factory.mktemp("runs")
    ready: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in ready:
            ready[name] = MAKERS[name](root / name).write()
        return ready[name]

    return make


@pytest.fixture(scope="session")
def rendered(made: Callable[[str], Path]) -> Callable[[str], Path]:
    """The HTML report of one problem, written once per session."""
    ready: dict[str, Path] = {}

    def render(name: str) -> Path:
        if name not in ready:
            ready[name] = report.write_html(made(name))
        return ready[name]

    return render


@pytest.fixture
def own(made: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a run folder that the test may damage."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(made(name), tmp_path / name))

    return copy
