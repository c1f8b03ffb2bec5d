"""The target: constant, rare or uneven classes, sorted labels, positions that do not count."""

from __future__ import annotations

import numpy as np

from crosstune.data.checks import finding, some
from crosstune.data.lazy import row_blocks
from crosstune.records import IGNORED, Dataset, Finding, Split

FEWEST_PER_CLASS = 3
RATIO_WARNED = 10.0
SHARE_REFUSED = 0.99
SHARE_WARNED = 0.9


def check(dataset: Dataset, split: Split | None) -> list[Finding]:
    if dataset.y is None:
        return [finding("no-target", "note", "no target was named: the data can be predicted, not fitted")]
    if dataset.kind == "classification":
        return _classes(dataset)
    if dataset.kind == "multilabel":
        return _labels(dataset)
    if dataset.kind == "segmentation":
        return _maps(dataset)
    return _values(dataset)


def class_counts(dataset: Dataset) -> dict[str, int]:
    """Class name -> rows (of class maps: positions), in the order of the codes."""
    assert dataset.y is not None
    assert dataset.classes is not None
    counts = np.zeros(len(dataset.classes), np.int64)
    for _, codes in row_blocks(dataset.y):
        counts += np.bincount(codes[codes != IGNORED], minlength=len(dataset.classes))
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


def _maps(dataset: Dataset) -> list[Finding]:
    """Classes of positions. Rare ones are the ordinary case here, so they are told, not refused."""
    assert dataset.y is not None
    assert dataset.classes is not None
    counts = class_counts(dataset)
    total = sum(counts.values())
    present = {name: c for name, c in counts.items() if c}
    found = _ignored(int((dataset.y == IGNORED).sum()), dataset, "-1")
    if len(present) < 2:
        said = f"every position has the class {next(iter(present))!r}" if present else "no position has a class"
        return [*found, finding("constant-target", "refuse", said)]
    if len(dataset) > 1 and (dataset.y == dataset.y[:1]).all():
        return [*found, finding("constant-target", "refuse", "every row has the same class map")]
    flat = dataset.y.reshape(len(dataset), -1)
    rows = {name: int((flat == code).any(axis=1).sum()) for code, name in enumerate(dataset.classes)}
    rare = [f"{name!r} ({n})" for name, n in rows.items() if n < FEWEST_PER_CLASS]
    if rare:
        said = f"{len(rare)} of {len(rows)} classes occur in fewer than {FEWEST_PER_CLASS} rows: {some(rare)}"
        found.append(finding("rare-classes", "warn", said, classes=rare))
    most = max(present, key=lambda name: present[name])
    if present[most] / total >= SHARE_WARNED:
        said = (
            f"{present[most] / total:.1%} of the positions are {most!r}: answering that everywhere has a small pixel "
            "error; mean-iou, pixel-macro-f1 and, for two classes, 1-auroc-pixels weigh classes alike"
        )
        found.append(finding("imbalance", "warn", said, ratio=present[most] / min(present.values())))
    return found


def _ignored(count: int, dataset: Dataset, mark: str) -> list[Finding]:
    assert dataset.y is not None
    if not count:
        return []
    padded = 0
    if dataset.lengths is not None and dataset.y.shape[-1] == dataset.X.shape[-1] and mark == "-1":
        padded = int((dataset.X.shape[-1] - dataset.lengths).sum()) * (dataset.y[0].size // dataset.y.shape[-1])
    gaps = dataset.y == IGNORED if mark == "-1" else np.isnan(dataset.y)
    rows = int(gaps.reshape(len(dataset), -1).any(axis=1).sum())
    if count == padded:
        return []
    share = (count - padded) / (dataset.y.size - padded)
    said = f"{count - padded:,} positions of the target ({share:.2%}, in {rows} rows) are {mark}: they do not count"
    return [finding("ignored-positions", "note", said, count=count - padded, share=share)]


def _values(dataset: Dataset) -> list[Finding]:
    assert dataset.y is not None
    if dataset.kind == "dense" and np.isnan(dataset.y).any():
        return _gappy_fields(dataset)
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


def _gappy_fields(dataset: Dataset) -> list[Finding]:
    assert dataset.y is not None
    found = _ignored(int(np.isnan(dataset.y).sum()), dataset, "NaN")
    known = dataset.y[~np.isnan(dataset.y)]
    if not len(known) or np.ptp(known) == 0:
        said = f"the target is {known[0]:g} wherever it is known" if len(known) else "the target is NaN everywhere"
        return [*found, finding("constant-target", "refuse", said)]
    empty = np.flatnonzero(np.isnan(dataset.y).reshape(len(dataset), -1).all(axis=1))
    if len(empty):
        said = f"the target of {len(empty)} rows is NaN everywhere: rows {some([str(r) for r in empty])}"
        found.append(finding("constant-target", "refuse", said, rows=empty.tolist()))
    return found
