"""Data on its way in: readers, task inference, inspection, splits, batches, storage and source proxies.

dataset = read("measurements.npz", target="y")
parts = split(dataset, seed=0)
findings = inspect(dataset, parts).refused()
"""

from __future__ import annotations

from crosstune.data.arrays import from_arrays
from crosstune.data.batches import BatchSampler, collate, length_bucketed_batches, sequential_batches
from crosstune.data.flatten import Flattener
from crosstune.data.infer import Inference
from crosstune.data.infer import infer as infer_target
from crosstune.data.inspection import Inspection, inspect
from crosstune.data.readers import read
from crosstune.data.splits import split
from crosstune.data.store import dataset_digest, load_dataset, save_dataset
from crosstune.data.tables import conform

__all__ = [
    "BatchSampler",
    "Flattener",
    "Inference",
    "Inspection",
    "collate",
    "conform",
    "dataset_digest",
    "from_arrays",
    "infer_target",
    "inspect",
    "length_bucketed_batches",
    "load_dataset",
    "read",
    "save_dataset",
    "sequential_batches",
    "split",
]
