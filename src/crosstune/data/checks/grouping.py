"""Groups: straddling a split, too few, or deciding the class."""

from __future__ import annotations

import numpy as np

from crosstune.data.checks import finding, some
from crosstune.records import Dataset, Finding, Split

FEWEST = 3
FEW = 10


def check(dataset: Dataset, split: Split | None) -> list[Finding]:
    if dataset.groups is None:
        return []
    names, codes = np.unique(dataset.groups, return_inverse=True)
    codes = codes.reshape(-1)
    found = [*_count(len(names), len(dataset)), *_straddling(names, codes, split)]
    if dataset.kind == "classification" and dataset.y is not None:
        found += _classes(dataset, codes)
    return found


def _count(groups: int, rows: int) -> list[Finding]:
    if groups < FEWEST:
        said = f"{groups} group{'s' * (groups != 1)} cannot fill train, validation and test"
        return [finding("few-groups", "refuse", said, groups=groups)]
    if groups < FEW:
        said = f"only {groups} groups: validation and test hold very few, so scores depend on which"
        return [finding("few-groups", "warn", said, groups=groups)]
    if groups == rows:
        return [finding("groups-trivial", "note", "every row is its own group: grouping changes nothing")]
    return []


def _straddling(names: np.ndarray, codes: np.ndarray, split: Split | None) -> list[Finding]:
    if split is None:
        return []
    seen = np.zeros(len(names), np.int64)
    for part in ("train", "validation", "test"):
        seen[np.unique(codes[split.rows(part)])] += 1
    over = [str(n) for n in names[seen > 1]]
    if not over:
        return []
    said = f"{len(over)} of {len(names)} groups are in more than one part of the split: {some(over)}"
    return [finding("groups-straddle", "refuse", said, groups=over)]


def _classes(dataset: Dataset, codes: np.ndarray) -> list[Finding]:
    assert dataset.y is not None
    assert dataset.classes is not None
    groups = [len(np.unique(codes[dataset.y == c])) for c in range(len(dataset.classes))]
    alone = [f"{name!r}" for name, count in zip(dataset.classes, groups) if count == 1]
    if not alone:
        return []
    said = f"{len(alone)} of {len(groups)} classes occur in one group only, so not in both train and validation: "
    severity = "refuse" if len(alone) == len(groups) else "warn"
    return [finding("group-classes", severity, said + some(alone), classes=alone)]  # type: ignore[arg-type]
