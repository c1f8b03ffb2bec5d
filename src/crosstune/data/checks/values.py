"""Values of X: infinite, missing, constant, identifiers."""

from __future__ import annotations

import numpy as np

from crosstune.data.checks import finding, some
from crosstune.records import Dataset, Finding, Split

MISSING_REFUSED = 0.8
MISSING_WARNED = 0.05
FEW_ROWS = 30


def check(dataset: Dataset, split: Split | None) -> list[Finding]:
    found = [*_infinite(dataset), *_missing(dataset), *_constant(dataset), *_identifiers(dataset)]
    if len(dataset) < FEW_ROWS:
        found.append(finding("few-rows", "warn", f"only {len(dataset)} rows: every score will be very uncertain"))
    for note in dataset.source.get("notes", ()):
        found.append(finding("reading", "note", str(note)))
    return found


def feature_name(dataset: Dataset, index: int) -> str:
    """How to speak of a column or channel."""
    if dataset.columns is not None:
        return f"column {dataset.columns[index]!r}"
    return f"{'column' if dataset.is_table else 'channel'} {index}"


def valid(dataset: Dataset) -> np.ndarray | None:
    """(N, 1, L) bool: the samples that are not padding; None when there is no padding."""
    if dataset.lengths is None:
        return None
    return (np.arange(dataset.X.shape[2]) < dataset.lengths[:, None])[:, None]


def missing_share(dataset: Dataset) -> float:
    """Share of NaN among the values that are not padding."""
    gaps = np.isnan(dataset.X)
    real = valid(dataset)
    if real is None:
        return float(gaps.mean())
    return float((gaps & real).sum() / (real.sum() * dataset.X.shape[1]))


def _infinite(dataset: Dataset) -> list[Finding]:
    bad = np.isinf(dataset.X)
    if not bad.any():
        return []
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    said = f"{int(bad.sum())} infinite values in X, the first at row {place[0]}, {feature_name(dataset, place[1])}"
    return [finding("infinite", "refuse", said, count=int(bad.sum()))]


def _missing(dataset: Dataset) -> list[Finding]:
    share = missing_share(dataset)
    if share == 0:
        return []
    axes = (0, *range(2, dataset.X.ndim))
    per_feature = np.isnan(dataset.X).any(axis=axes)
    where = [feature_name(dataset, int(i)) for i in np.flatnonzero(per_feature)]
    said = f"{share:.2%} of the values are missing, in {some(where)}"
    severity = "refuse" if share > MISSING_REFUSED else "warn" if share > MISSING_WARNED else "note"
    found = [finding("missing", severity, said, share=share)]  # type: ignore[arg-type]
    empty = np.flatnonzero(np.isnan(dataset.X).all(axis=tuple(range(1, dataset.X.ndim))))
    if len(empty) and severity != "refuse":
        said = f"{len(empty)} rows hold no value at all: rows {some([str(r) for r in empty])}"
        found.append(finding("empty-rows", "warn", said, rows=empty.tolist()))
    return found


def _constant(dataset: Dataset) -> list[Finding]:
    axes = (0, *range(2, dataset.X.ndim))
    X, real = dataset.X, valid(dataset)
    with np.errstate(invalid="ignore"):
        low = np.where(np.isnan(X) | _not(real, X), np.inf, X).min(axis=axes)
        high = np.where(np.isnan(X) | _not(real, X), -np.inf, X).max(axis=axes)
    same = ~(high > low)
    if not same.any():
        return []
    names = [feature_name(dataset, int(i)) for i in np.flatnonzero(same)]
    what = "columns" if dataset.is_table else "channels"
    if same.all():
        return [finding("constant", "refuse", f"X holds one value everywhere ({len(same)} constant {what})")]
    severity = "note" if dataset.is_table else "warn"
    said = f"{len(names)} of {len(same)} {what} are constant and carry nothing: {some(names)}"
    return [finding("constant", severity, said, features=np.flatnonzero(same).tolist())]  # type: ignore[arg-type]


def _not(real: np.ndarray | None, X: np.ndarray) -> np.ndarray:
    return np.zeros((1,) * X.ndim, bool) if real is None else ~real


def _identifiers(dataset: Dataset) -> list[Finding]:
    if not dataset.is_table or len(dataset) < 10:
        return []
    names = []
    for i in range(dataset.X.shape[1]):
        values = dataset.X[:, i]
        if i in dataset.categories or np.isnan(values).any() or not np.array_equal(values, np.round(values)):
            continue
        steps = np.diff(np.sort(values))
        if (steps > 0).all() and (steps == steps[0]).all():
            names.append(feature_name(dataset, i))
    if not names:
        return []
    said = f"{some(names)} numbers the rows without gaps, like an identifier: it can only help by accident"
    return [finding("identifier", "warn", said, columns=names)]
