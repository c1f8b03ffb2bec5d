"""The room as a whole: light to import, and its public names."""

from __future__ import annotations

import subprocess
import sys

from crosstune import data

USE = """
import sys, numpy as np
from crosstune import data
import crosstune.data.proxies.documentation
dataset = data.from_arrays(np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 2)
split = data.split(dataset); data.inspect(dataset, split); data.Flattener().fit(dataset.take(split.train))
heavy = {"torch", "transformers", "sklearn", "matplotlib", "pandas", "h5py", "pyarrow"} & set(sys.modules)
assert not heavy, heavy
"""


def test_heavy_libraries_stay_out():
    subprocess.run([sys.executable, "-c", USE], check=True)


def test_public_names():
    assert sorted(data.__all__) == [
        "Flattener",
        "Inference",
        "Inspection",
        "conform",
        "dataset_digest",
        "from_arrays",
        "infer_target",
        "inspect",
        "load_dataset",
        "read",
        "save_dataset",
        "split",
    ]
    assert all(getattr(data, name).__doc__ for name in data.__all__)
