from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crosstune.data import from_arrays
from crosstune.records import Dataset


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for all tests of this room: the source features are computed once."""
    before = os.environ.get("CROSSTUNE_CACHE")
    folder = tmp_path_factory.mktemp("cache")
    os.environ["CROSSTUNE_CACHE"] = str(folder)
    yield folder
    os.environ.pop("CROSSTUNE_CACHE")
    if before is not None:
        os.environ["CROSSTUNE_CACHE"] = before


@pytest.fixture(scope="session")
def waves() -> Dataset:
    """Sixty short series in two classes: slow and fast."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    t = np.arange(32)
    X = np.sin(0.2 * (1 + y[:, None]) * t + rng.uniform(0, 6, (60, 1))) + 0.5 * rng.standard_normal((60, 32))
    return from_arrays(X[:, None].astype("float32"), np.array(["slow", "fast"])[y], name="waves")
