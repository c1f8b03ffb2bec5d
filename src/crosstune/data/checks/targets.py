"""The target: constant, rare or uneven classes, sorted labels."""

from __future__ import annotations

import numpy as np

from crosstune.data.checks import finding, some
from crosstune.records import Dataset, Finding, Split

FEWEST_PER_CLASS = 3
RATIO_WARNED = 10.0
SHARE_REFUSED = 0.99


def check(dataset: Dataset, split: Split | None) -> list[Finding]:
    if dataset.y is None:
        return [finding("no-target", "note", "no target was named: the data can be predicted, not fitted")]
    if dataset.kind == "classification":
        return _classes(dataset)
    if dataset.kind == "multilabel":
        return _labels(dataset)
    return _values(dataset)


def class_counts(dataset: Dataset) -> dict[str, int]:
    """Class name -> rows, in the order of the codes."""
    assert dataset.y is not None
    assert dataset.classes is not None
    counts = np.bincount(dataset.y, minlength=len(dataset.classes))
    return {name: int(count) for name, count in zip(dataset.classes, counts)}


def _classes(dataset: Dataset) -> list[Finding]:
    assert dataset.y is not None
    counts = class_counts(dataset)
    present = {name: c for name, c in counts.items() if c}
    if len(present) < 2:
        return [finding("constant-target", "refuse", f"every row has the class {next(iter(present))!r}")]
    found = []
    rare = [f"{name!r} ({c})" for name, c in counts.items() if c < FEWEST_PER_CLASS]
    if rare:
        said = (
            f"{len(rare)} of {len(counts)} classes have fewer than {FEWEST_PER_CLASS} rows, too few for three parts: "
        )
        found.append(finding("rare-classes", "refuse", said + some(rare), classes=rare))
    most, least = max(present.values()), min(present.values())
    if most / len(dataset) >= SHARE_REFUSED:
        name = max(present, key=lambda k: present[k])
        said = f"{most / len(dataset):.1%} of the rows are {name!r}: always answering that is right almost every time"
        found.append(finding("imbalance", "refuse", said, ratio=most / least))
    elif most / least >= RATIO_WARNED:
        said = f"classes are uneven, {most} rows against {least}: prefer a metric that weighs classes alike"
        found.append(finding("imbalance", "warn", said, ratio=most / least))
    if len(dataset) > 2 * len(present) and int((np.diff(dataset.y) != 0).sum()) == len(present) - 1:
        said = "rows are sorted by class; splits and batches are shuffled, so this does no harm here"
        found.append(finding("sorted-labels", "note", said))
    return found


def _labels(dataset: Dataset) -> list[Finding]:
    assert dataset.y is not None
    positives = dataset.y.sum(axis=0)
    constant = np.flatnonzero((positives == 0) | (positives == len(dataset)))
    names = [str(dataset.target_names[i] if dataset.target_names else i) for i in constant]
    if len(constant) == dataset.y.shape[1]:
        return [finding("constant-target", "refuse", "every label is the same in all rows")]
    found = []
    if len(constant):
        said = f"{len(constant)} labels are the same in all rows and cannot be scored: {some(names)}"
        found.append(finding("constant-target", "warn", said, labels=constant.tolist()))
    rare = np.flatnonzero((positives > 0) & (positives < FEWEST_PER_CLASS))
    if len(rare):
        said = f"{len(rare)} labels have fewer than {FEWEST_PER_CLASS} positive rows: {some([str(i) for i in rare])}"
        found.append(finding("rare-classes", "refuse", said, labels=rare.tolist()))
    return found


def _values(dataset: Dataset) -> list[Finding]:
    assert dataset.y is not None
    flat = dataset.y.reshape(len(dataset), -1) if dataset.kind == "regression" else dataset.y.reshape(-1, 1)
    same = np.ptp(flat, axis=0) == 0
    if same.all():
        return [finding("constant-target", "refuse", f"the target is {flat[0, 0]:g} everywhere")]
    if same.any():
        said = f"{int(same.sum())} of {len(same)} target columns are constant"
        return [finding("constant-target", "warn", said, columns=np.flatnonzero(same).tolist())]
    if dataset.kind == "dense" and len(dataset) > 1 and (dataset.y == dataset.y[:1]).all():
        return [finding("constant-target", "refuse", "every row has the same target field")]
    return []
