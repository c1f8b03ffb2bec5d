from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from crosstune.cli import main

from . import support


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for all tests: the source features are computed once."""
    before = os.environ.get("CROSSTUNE_CACHE")
    folder = tmp_path_factory.mktemp("cache")
    os.environ["CROSSTUNE_CACHE"] = str(folder)
    yield folder
    os.environ.pop("CROSSTUNE_CACHE")
    if before is not None:
        os.environ["CROSSTUNE_CACHE"] = before


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data files."""
    folder = tmp_path_factory.mktemp("files")
    support.digits(folder)
    support.cancer(folder)
    return folder


@pytest.fixture(scope="session")
def finished(files: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A complete run on the digits, by the whole method with two seeds and every control. Not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["fit", str(files / "digits.npz"), *support.TINY, "--seeds", "2", "--out", str(run)]) == 0
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The finished run in another place, for a test to change."""
    return Path(shutil.copytree(finished, tmp_path / "moved" / "elsewhere"))
