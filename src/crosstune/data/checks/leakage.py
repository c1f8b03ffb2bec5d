"""Leakage: a column, channel or statistic that is the target in another form.

A discrete candidate leaks when its values and the classes stand in one-to-one correspondence, provided that this
cannot be chance: there are n! / (n_1! ... n_K!) ways to place classes of sizes n_k on n rows, of which K! keep the
correspondence, so that with m candidates the expected number of accidents is at most m K! n_1! ... n_K! / n!. It must
lie below 1/1000. A numeric candidate leaks when it is a linear function of a numeric target (|correlation| above
1 - 1e-6) or has exactly its order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import gammaln

from crosstune.data.checks import finding, some
from crosstune.data.checks.values import feature_name, valid
from crosstune.records import IGNORED, Dataset, Finding, Split

CORRELATION = 1.0 - 1e-6
ACCIDENTS = 1e-3
FEWEST_ROWS = 10
_GLANCE = 10_000  # positions that are looked at before all of them are


def check(dataset: Dataset, split: Split | None) -> list[Finding]:
    if dataset.y is None or len(dataset) < FEWEST_ROWS:
        return []
    if dataset.kind == "dense":
        return _fields(dataset)
    if dataset.kind == "segmentation":
        return _maps(dataset)
    candidates = dict(_candidates(dataset))
    if dataset.kind == "regression":
        leaks = [name for name, values in candidates.items() if _same_numbers(values, dataset.y)]
    else:
        targets = dataset.y[:, None] if dataset.y.ndim == 1 else dataset.y
        leaks = [n for n, v in candidates.items() if _same_classes(v, targets, len(candidates))]
    if leaks:
        said = f"the target can be read off {some(leaks)}: equal to it, or the same in another form"
        return [finding("leakage", "refuse", said, features=leaks)]
    return _deciding(dataset, candidates)


def _candidates(dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    X = dataset.X
    for i in range(X.shape[1]):
        name = feature_name(dataset, i)
        gaps = np.isnan(X[:, i].reshape(len(X), -1))
        if dataset.is_table:
            yield name, X[:, i]
            if gaps.any():
                yield f"missing values of {name}", gaps[:, 0].astype(np.float32)
            continue
        real = valid(dataset)
        flat = X[:, i].reshape(len(X), -1)
        hidden = gaps if real is None else gaps | ~real[:, 0]
        low, high = np.where(hidden, np.inf, flat).min(axis=1), np.where(hidden, -np.inf, flat).max(axis=1)
        count = np.maximum((~hidden).sum(axis=1), 1)
        yield f"the minimum of {name}", low
        yield f"the maximum of {name}", high
        yield f"the mean of {name}", np.where(hidden, 0, flat).sum(axis=1, dtype=np.float64) / count
        yield f"the first value of {name}", flat[:, 0]
        if gaps.any():
            yield f"the number of missing values of {name}", (gaps if real is None else gaps & real[:, 0]).sum(axis=1)
    if dataset.lengths is not None:
        yield "the length of the series", dataset.lengths


def _same_classes(values: np.ndarray, targets: np.ndarray, candidates: int) -> bool:
    codes = np.unique(values, return_inverse=True)[1].reshape(-1)
    distinct = int(codes.max()) + 1
    if distinct < 2 or distinct > len(values) / 2:
        return False
    for column in targets.T:
        classes, sizes = np.unique(column, return_counts=True)
        if len(classes) != distinct:
            continue
        pairs = len(np.unique(np.column_stack([codes, column.astype(np.int64)]), axis=0))
        if pairs == distinct and _surprising(sizes, candidates * targets.shape[1]):
            return True
    return False


def _surprising(sizes: np.ndarray, candidates: int) -> bool:
    ways = gammaln(sizes.sum() + 1) - gammaln(sizes + 1).sum() - gammaln(len(sizes) + 1)
    return bool(np.log(candidates) - ways < np.log(ACCIDENTS))


def _same_numbers(values: np.ndarray, targets: np.ndarray) -> bool:
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return False
    for column in targets.T.astype(np.float64):
        if np.ptp(column) == 0:
            continue
        if abs(np.corrcoef(values, column)[0, 1]) > CORRELATION or _same_order(values, column):
            return True
    return False


def _same_order(values: np.ndarray, column: np.ndarray) -> bool:
    a = np.unique(values, return_inverse=True)[1].reshape(-1)
    b = np.unique(column, return_inverse=True)[1].reshape(-1)
    if a.max() != b.max() or a.max() < FEWEST_ROWS:
        return False
    return bool(np.array_equal(a, b) or np.array_equal(a, b.max() - b))


def _deciding(dataset: Dataset, candidates: dict[str, np.ndarray]) -> list[Finding]:
    """Columns of few values, each of which occurs with one class only: possible, but worth a look."""
    if dataset.kind != "classification" or dataset.y is None:
        return []
    names = []
    for name, values in candidates.items():
        codes = np.unique(values, return_inverse=True)[1].reshape(-1)
        distinct = int(codes.max()) + 1
        if not 2 <= distinct <= len(values) / 10 or len(np.unique(dataset.y)) < 2:
            continue
        if len(np.unique(np.column_stack([codes, dataset.y]), axis=0)) == distinct:
            names.append(name)
    if not names:
        return []
    said = f"every value of {some(names)} occurs with one class only: check that it is known before the target is"
    return [finding("deciding-column", "warn", said, features=names)]


def _fields(dataset: Dataset) -> list[Finding]:
    assert dataset.y is not None
    leaks = []
    for c in range(dataset.y.shape[1]):
        y = dataset.y[:, c].reshape(-1).astype(np.float64)
        known = ~np.isnan(y)
        y = y[known]
        for i in range(dataset.X.shape[1]):
            x = dataset.X[:, i].reshape(-1).astype(np.float64)
            if x.shape != known.shape:
                continue
            x = x[known]
            if not np.isfinite(x).all() or np.ptp(x) == 0 or np.ptp(y) == 0:
                continue
            if abs(np.corrcoef(x, y)[0, 1]) > 1.0 - 1e-12:
                leaks.append(feature_name(dataset, i))
    if not leaks:
        return []
    said = f"the target field is {some(leaks)} of the input, up to scale: there is nothing to learn"
    return [finding("leakage", "refuse", said, features=leaks)]


def _maps(dataset: Dataset) -> list[Finding]:
    """Channels that are the class map under other names: as many values as classes, each at one class only."""
    assert dataset.y is not None
    known = dataset.y.reshape(-1) != IGNORED
    codes = dataset.y.reshape(-1)[known]
    distinct = len(np.unique(codes))
    leaks = []
    for i in range(dataset.X.shape[1]):
        x = dataset.X[:, i].reshape(-1)
        if x.shape != known.shape or len(np.unique(x[known][:_GLANCE])) > distinct:
            continue
        values, places = np.unique(x[known], return_inverse=True)
        pairs = np.unique(places.reshape(-1) * (int(codes.max()) + 1) + codes)
        if len(values) == distinct == len(pairs) and distinct > 1:
            leaks.append(feature_name(dataset, i))
    if not leaks:
        return []
    said = f"the class map is {some(leaks)} of the input in another form: there is nothing to learn"
    return [finding("leakage", "refuse", said, features=leaks)]
