"""Duplicates: within the file, across groups, across the parts of a split, with conflicting targets."""

from __future__ import annotations

from typing import Literal

import numpy as np

from crosstune.data.checks import finding, some
from crosstune.data.duplicates import near_keys, row_keys
from crosstune.records import FIELD_KINDS, Dataset, Finding, Split

REFUSED_SHARE = 0.01
FEWEST_VALUES = 8  # narrower rows are nearly equal by chance


def check(dataset: Dataset, split: Split | None) -> list[Finding]:
    keys = np.unique(row_keys(dataset), return_inverse=True)[1].reshape(-1)
    found = _exact(dataset, keys, split)
    if dataset.X[0].size >= FEWEST_VALUES:
        found += _near(dataset, keys, split)
    return found


def _exact(dataset: Dataset, keys: np.ndarray, split: Split | None) -> list[Finding]:
    n = len(dataset)
    copies = n - len(np.unique(keys))
    if not copies:
        return []
    found = []
    size = np.bincount(keys)
    first = int(np.flatnonzero(size[keys] > 1)[0])
    pair = some([str(r) for r in np.flatnonzero(keys == keys[first])])
    said = f"{copies} of {n} rows repeat another row exactly (for example rows {pair}); a split keeps them in one part"
    found.append(finding("copies", "warn", said, count=copies))
    if dataset.groups is not None:
        across = int((_spread(keys, dataset.groups)[keys] > 1).sum())
        if across:
            said = f"{across} of {n} rows have an exact duplicate in another group, so groups are not independent"
            found.append(finding("duplicates", _severity(across, n), said, count=across, across="groups"))
    if split is not None:
        across = int(_crossing(keys, split).sum())
        if across:
            said = (
                f"{across} of {n} rows have an exact duplicate in another part of the split: scores would reward memory"
            )
            found.append(finding("duplicates", _severity(across, n), said, count=across, across="split"))
    conflicts = _conflicts(dataset, keys)
    if conflicts:
        said = f"{conflicts} rows have exact duplicates with a different target: no model can be right on all of them"
        found.append(finding("conflicting-targets", "warn", said, count=conflicts))
    return found


def _severity(count: int, n: int) -> Literal["refuse", "warn"]:
    return "refuse" if count > REFUSED_SHARE * n else "warn"


def _near(dataset: Dataset, keys: np.ndarray, split: Split | None) -> list[Finding]:
    near = np.unique(near_keys(dataset), return_inverse=True)[1].reshape(-1)
    # Rows whose rounded form is shared by rows that are not their exact copies.
    rows = _spread(near, keys)[near] > 1
    count = int(rows.sum())
    if not count:
        return []
    where = ""
    if split is not None:
        across = int((_crossing(near, split) & rows).sum())
        where = f", {across} of them across parts of the split" if across else ""
    said = (
        f"{count} rows agree with another row to a thousandth of each channel's spread{where}: perhaps the same sample"
    )
    return [finding("near-duplicates", "warn", said, count=count)]


def _spread(keys: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Per key (0, 1, ...), in how many different values of ``by`` it occurs."""
    codes = np.unique(by, return_inverse=True)[1].reshape(-1)
    pairs = np.unique(np.column_stack([keys, codes]), axis=0)
    return np.bincount(pairs[:, 0], minlength=int(keys.max()) + 1)


def _crossing(keys: np.ndarray, split: Split) -> np.ndarray:
    """(n,) bool: rows of a part of the split whose key occurs in another part as well."""
    parts = np.full(len(keys), -1)
    for code, name in enumerate(("train", "validation", "test")):
        parts[split.rows(name)] = code
    used = np.flatnonzero(parts >= 0)
    out = np.zeros(len(keys), bool)
    local = np.unique(keys[used], return_inverse=True)[1].reshape(-1)
    if len(used):
        out[used] = _spread(local, parts[used])[local] > 1
    return out


def _conflicts(dataset: Dataset, keys: np.ndarray) -> int:
    if dataset.y is None or dataset.kind in FIELD_KINDS:
        return 0
    targets = np.unique(dataset.y.reshape(len(dataset), -1), axis=0, return_inverse=True)[1].reshape(-1)
    return int((_spread(keys, targets)[keys] > 1).sum())
