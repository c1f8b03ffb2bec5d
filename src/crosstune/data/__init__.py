"""Data on its way in: readers, task inference, inspection, splits, storage and source proxies.

dataset = read("measurements.npz", target="y")
parts = split(dataset, seed=0)
findings = inspect(dataset, parts).refused()
"""

from __future__ import annotations

from crosstune.data.arrays import from_arrays
from crosstune.data.flatten import Flattener
from crosstune.data.infer import Inference
from crosstune.data.infer import infer as infer_target
from crosstune.data.inspection import Inspection, inspect
from crosstune.data.readers import read
from crosstune.data.splits import split
from crosstune.data.store import dataset_digest, load_dataset, save_dataset
from crosstune.data.tables import conform

__all__ = [
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
