"""Carving train, validation and test before anything is fitted.

One mechanism serves every strategy. Rows that must stay together (one group, exact duplicates) form a *unit*; what
the parts should resemble each other in is a table of *strata* counts per unit (classes, labels, quantiles). Units of
several rows are placed greedily where the parts lack most (as in scikit-learn's ``StratifiedGroupKFold``, and in the
iterative stratification of Sechidis, Tsoumakas and Vlahavas, 2011, for several labels); single rows then fill the
parts to their exact quota by largest remainders, the rounding errors of one class being carried into the next.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from crosstune.data.duplicates import row_keys
from crosstune.data.lazy import row_blocks
from crosstune.errors import DataError, UsageError
from crosstune.records import FIELD_KINDS, Dataset, Split
from crosstune.seeding import derive_seed

Strategy = Literal["auto", "stratified", "grouped", "temporal", "random"]
PARTS = ("train", "validation", "test")
RESTARTS = 8  # greedy placement depends on the order of equal units: the best of several orders is taken
MOST_RESTART_WORK = 4000


def split(
    dataset: Dataset,
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    strategy: Strategy = "auto",
) -> Split:
    """Row numbers of train, validation and test: disjoint, sorted, together all rows; equal for equal seeds.

    fractions: shares of the rows, summing to one; the share of validation or test may be 0. strategy ``auto`` is
    grouped where there are groups, else temporal where there are times, else stratified by the target (targets of
    positions: random). Rows of one group or unit, and exact duplicates, never straddle two parts. Every class is in
    train where its rows and groups allow. Raises ``DataError`` naming the rows or groups needed when there are too few,
    and ``UsageError`` for fractions or strategies that do not exist.
    """
    wanted = _check_fractions(fractions)
    chosen = _choose(dataset, strategy)
    n, parts = len(dataset), int((wanted > 0).sum())
    if n < parts + 1:
        raise DataError(f"{n} rows cannot be split into {parts} parts", fix=f"at least {parts + 1} rows are needed")
    warnings: list[str] = []
    generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "split")))
    if chosen == "temporal":
        assigned = _temporal(dataset, wanted, warnings)
    else:
        units = _units(dataset, chosen, wanted, warnings)
        strata = np.ones((n, 1)) if chosen == "random" else _strata(dataset)
        assigned = _assign(units, strata, wanted, generator)
        if dataset.time is not None:
            warnings.append("the time column was not used for the split: later rows may be in train")
    _say_missing_classes(dataset, assigned, wanted, warnings)
    rows = [np.flatnonzero(assigned == part) for part in range(3)]
    return Split(rows[0], rows[1], rows[2], strategy=chosen, seed=seed, warnings=tuple(warnings))


def _check_fractions(fractions: tuple[float, float, float]) -> np.ndarray:
    wanted = np.array(fractions, np.float64)
    if wanted.shape != (3,) or (wanted < 0).any() or wanted[0] <= 0 or abs(wanted.sum() - 1) > 1e-6:
        raise UsageError(
            f"fractions {tuple(fractions)} are not three shares that sum to 1, with train above 0",
            fix="for example (0.6, 0.2, 0.2)",
        )
    return wanted / wanted.sum()


def _choose(dataset: Dataset, strategy: str) -> str:
    if strategy not in get_args(Strategy):
        raise UsageError(f"unknown split strategy {strategy!r}", fix=f"use one of: {', '.join(get_args(Strategy))}")
    if strategy == "auto":
        if dataset.groups is not None:
            return "grouped"
        if dataset.time is not None:
            return "temporal"
        return "random" if dataset.kind in (*FIELD_KINDS, None) else "stratified"
    for name, needed in (("grouped", "groups"), ("temporal", "time")):
        if strategy == name and getattr(dataset, needed) is None:
            raise DataError(
                f"a {name} split needs `{needed}`, which the data do not have", fix=f"name them with --{needed}"
            )
    if strategy == "stratified" and dataset.y is None:
        raise DataError("a stratified split needs a target", fix="name it with --target, or use --split random")
    return strategy


def _units(dataset: Dataset, strategy: str, wanted: np.ndarray, warnings: list[str]) -> np.ndarray:
    """(n,) number of what a row must stay with. Groups and units always bind, duplicates where they leave a choice."""
    n = len(dataset)
    parts = int((wanted > 0).sum())
    units = np.arange(n)
    if dataset.groups is not None:
        units = np.unique(dataset.groups, return_inverse=True)[1].reshape(-1)
        found = int(units.max()) + 1
        if found < parts:
            raise DataError(
                f"{found} groups cannot fill {parts} parts without a group straddling two of them",
                fix=f"at least {parts} groups are needed; or set a fraction to 0; or choose another --groups column",
            )
    if dataset.units is not None:
        units = _join(units, dataset.units)
        if units.max() + 1 < parts:
            raise DataError(
                f"{units.max() + 1} units of rows that belong together cannot fill {parts} parts",
                fix=f"at least {parts} are needed; or set a fraction to 0",
            )
    keys = row_keys(dataset)
    copies = n - len(np.unique(keys))
    if not copies:
        return units
    joined = _join(units, keys)
    limit = max(2.0, np.bincount(units).max(), n * wanted[wanted > 0].min())
    if np.bincount(joined).max() > limit or joined.max() + 1 < parts:
        warnings.append(
            f"{copies} exact duplicates of other rows could not all be kept in one part: too many are alike"
        )
        return units
    warnings.append(f"{copies} rows are exact duplicates of others; copies were kept in one part")
    return joined


def _join(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Connected components of "same a or same b"."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    b = np.unique(b, return_inverse=True)[1].reshape(-1)
    size = int(a.max()) + 1 + int(b.max()) + 1
    edges = coo_matrix((np.ones(len(a)), (a, b + int(a.max()) + 1)), shape=(size, size))
    component = connected_components(edges, directed=False)[1][a]
    return np.unique(component, return_inverse=True)[1].reshape(-1)


def _strata(dataset: Dataset) -> np.ndarray:
    """(n, S) counts by which parts should resemble each other; single-stratum tables have one 1 per row."""
    n = len(dataset)
    if dataset.y is None or dataset.kind in FIELD_KINDS:
        return np.ones((n, 1))
    if dataset.kind == "multilabel":
        return np.column_stack([np.ones(n), dataset.y])
    if dataset.kind == "classification":
        codes = np.unique(dataset.y, return_inverse=True)[1].reshape(-1)
    else:
        codes = _quantiles(dataset.y)
    out = np.zeros((n, int(codes.max()) + 1))
    out[np.arange(n), codes] = 1
    return out


def _quantiles(y: np.ndarray) -> np.ndarray:
    """Bins of about equal size of a regression target (n, K); several columns by the mean of their ranks."""
    ranks = np.argsort(np.argsort(y, axis=0, kind="stable"), axis=0, kind="stable").mean(axis=1)
    order = np.argsort(ranks, kind="stable")
    bins = int(np.clip(len(y) // 5, 1, 10))
    codes = np.empty(len(y), np.int64)
    codes[order] = np.arange(len(y)) * bins // len(y)
    return codes


def _assign(units: np.ndarray, strata: np.ndarray, wanted: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(n,) part of every row."""
    count = int(units.max()) + 1
    table = np.zeros((count, strata.shape[1]))
    np.add.at(table, units, strata)
    sizes = np.bincount(units)
    several = strata.shape[1] > 1 and (strata.sum(axis=1) > 1).any()  # several labels: no exact quota exists
    big = np.flatnonzero((sizes > 1) | several)
    part = np.full(count, -1)
    quota = table.sum(axis=0) * wanted[:, None]
    if len(big):
        part[big] = _greedy(table[big], sizes[big], quota, sizes.sum() * wanted, wanted, generator)
    single = np.flatnonzero(part < 0)
    if len(single):
        left = quota - _totals(part, table)
        codes = np.argmax(table[single], axis=1)
        in_train = _totals(part, table)[0] > 0
        part[single] = _exact(codes, left, wanted, in_train, generator)
    _repair(part, table, sizes, wanted)
    return part[units]


def _totals(part: np.ndarray, table: np.ndarray) -> np.ndarray:
    return np.stack([table[part == p].sum(axis=0) for p in range(3)])


def _greedy(
    table: np.ndarray,
    sizes: np.ndarray,
    quota: np.ndarray,
    room: np.ndarray,
    wanted: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """The part of every unit: largest and most uneven first, each to the part where it costs least."""
    best, best_cost = np.zeros(len(table), np.int64), np.inf
    for _ in range(RESTARTS if len(table) <= MOST_RESTART_WORK else 1):
        shuffled = generator.permutation(len(table))
        rare = (table / np.maximum(quota.sum(axis=0), 1)).max(axis=1)
        order = shuffled[np.lexsort((-sizes[shuffled], -np.round(rare[shuffled], 9)))]
        found, cost = _place(table, sizes, order, quota, room, wanted)
        if cost < best_cost:
            best, best_cost = found, cost
    return best


def _place(
    table: np.ndarray, sizes: np.ndarray, order: np.ndarray, quota: np.ndarray, room: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, float]:
    active = np.flatnonzero(wanted > 0)
    weight = 1.0 / np.maximum(quota[active].sum(axis=0), 1.0) ** 2 / wanted[active, None]
    size_weight = quota.shape[1] / room.sum() ** 2 / wanted[active]
    lack, space = quota[active].copy(), room[active].copy()
    part = np.zeros(len(table), np.int64)
    for unit in order:
        row, size = table[unit], sizes[unit]
        # (lack - row)^2 - lack^2 for every part: what the squared deviation from the quota would gain
        cost = (weight * (row * row - 2 * lack * row)).sum(axis=1) + size_weight * (size * size - 2 * space * size)
        where = int(np.argmin(cost))
        part[unit] = active[where]
        lack[where] -= row
        space[where] -= size
    empty = sum(not (part == p).any() for p in active)
    return part, float((weight * lack**2).sum() + (size_weight * space**2).sum() + 10.0 * empty)


def _exact(
    codes: np.ndarray, left: np.ndarray, wanted: np.ndarray, in_train: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """The part of every single row: per class, ``left`` (3, S) rounded to integers that sum to the class's rows."""
    part = np.zeros(len(codes), np.int64)
    carry = np.zeros(3)
    counts = np.bincount(codes, minlength=left.shape[1])
    for code in np.argsort(counts, kind="stable"):
        rows = generator.permutation(np.flatnonzero(codes == code))
        if not len(rows):
            continue
        got = _round(left[:, code], carry, len(rows), wanted, bool(in_train[code]))
        carry += left[:, code] - got
        part[rows] = np.repeat(np.arange(3), got)
    return part


def _round(left: np.ndarray, carry: np.ndarray, count: int, wanted: np.ndarray, in_train: bool) -> np.ndarray:
    """Integers (3,) summing to ``count``, near left + carry. Train is served first; with three rows or more every
    part that is due at least half a row gets one, so that small classes can be scored at all."""
    floor = np.zeros(3, np.int64)
    floor[0] = 0 if in_train else 1
    if count >= 3:
        floor[1:] = (left[1:] >= 0.5) & (wanted[1:] > 0)
    want = np.where(wanted > 0, left + carry, -np.inf)
    got = np.maximum(np.floor(np.clip(want, 0, count)).astype(np.int64), floor)
    got[wanted == 0] = 0
    while got.sum() < count:
        got[int(np.argmax(want - got))] += 1
    while got.sum() > count:
        excess = np.where(got > floor, got - want, -np.inf)
        got[int(np.argmax(excess))] -= 1
    return got


def _repair(part: np.ndarray, table: np.ndarray, sizes: np.ndarray, wanted: np.ndarray) -> None:
    """No part stays empty, and a stratum absent from train moves there when that leaves its part something."""
    for empty in [p for p in range(3) if wanted[p] > 0 and not (part == p).any()]:
        donors = [p for p in range(3) if (part == p).sum() > 1]
        if donors:
            donor = max(donors, key=lambda p: sizes[part == p].sum() / max(wanted[p], 1e-9))
            units = np.flatnonzero(part == donor)
            part[units[np.argmin(sizes[units])]] = empty
    for stratum in np.flatnonzero((_totals(part, table)[0] == 0) & (table.sum(axis=0) > 0)):
        units = np.flatnonzero((table[:, stratum] > 0) & (part > 0))
        units = units[[int((part == part[u]).sum()) > 1 for u in units]]
        if len(units):
            part[units[np.argmin(sizes[units])]] = 0


def _temporal(dataset: Dataset, wanted: np.ndarray, warnings: list[str]) -> np.ndarray:
    """Earliest rows train, latest test. Rows of one time, and of one group, stay together."""
    assert dataset.time is not None
    n = len(dataset)
    parts = int((wanted > 0).sum())
    binding = next(b for b in (dataset.groups, dataset.units, dataset.time) if b is not None)
    units = np.unique(binding, return_inverse=True)[1].reshape(-1)
    count = int(units.max()) + 1
    if count < parts:
        what = "groups" if dataset.groups is not None else "units" if dataset.units is not None else "distinct times"
        raise DataError(
            f"{count} {what} cannot fill {parts} parts", fix=f"at least {parts} are needed, or use --split random"
        )
    first = np.full(count, dataset.time.max())
    np.minimum.at(first, units, dataset.time)
    order = np.argsort(first, kind="stable")
    sizes = np.bincount(units)[order]
    active = np.flatnonzero(wanted > 0)
    ends = _boundaries(sizes, np.cumsum(wanted[active])[:-1] * n)
    part = np.empty(count, np.int64)
    part[order] = active[np.searchsorted(ends, np.arange(count), side="right")]
    assigned = part[units]
    _say_overlaps(dataset, assigned, active, warnings)
    return assigned


def _boundaries(sizes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Unit positions at which the next part begins: nearest to the targets, every part keeping a unit."""
    before = np.concatenate([[0], np.cumsum(sizes)])
    ends: list[int] = []
    for k, target in enumerate(targets):
        low = (ends[-1] if ends else 0) + 1
        high = len(sizes) - (len(targets) - k)
        nearest = int(np.argmin(np.abs(before - target)))
        ends.append(int(np.clip(nearest, low, high)))
    return np.array(ends, np.int64)


def _say_overlaps(dataset: Dataset, assigned: np.ndarray, active: np.ndarray, warnings: list[str]) -> None:
    assert dataset.time is not None
    for early, late in pairwise(active):
        overlap = int((dataset.time[assigned == early] > dataset.time[assigned == late].min()).sum())
        if overlap:
            warnings.append(
                f"{overlap} rows of {PARTS[early]} are later than the first of {PARTS[late]}: groups were kept whole"
            )
    keys = row_keys(dataset)
    shared = sum(len(set(keys[assigned == a]) & set(keys[assigned == b])) for a in active for b in active if a < b)
    if shared:
        warnings.append(f"{shared} rows have exact duplicates in a later part: the order of time was kept")


def _say_missing_classes(dataset: Dataset, assigned: np.ndarray, wanted: np.ndarray, warnings: list[str]) -> None:
    if dataset.kind not in ("classification", "segmentation") or dataset.y is None or dataset.classes is None:
        return
    place = "row" if dataset.kind == "classification" else "position"
    held = np.zeros((3, len(dataset.classes) + 1), bool)  # the code -1 finds the last column
    for rows, codes in row_blocks(dataset.y):
        for part in range(3):
            held[part, codes[assigned[rows] == part]] = True
    present = np.flatnonzero(held[:, :-1].any(axis=0))
    for part in np.flatnonzero(wanted > 0):
        lacking = [dataset.classes[c] for c in present if not held[part, c]]
        if lacking:
            shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            warnings.append(f"{len(lacking)} of {len(present)} classes have no {place} in {PARTS[part]}: {shown}")
