"""From a set's file to rows and their split, per protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from crosstune.benchmarks.contract import Check, ProtocolName, TaskData, Verification
from crosstune.benchmarks.openml import features
from crosstune.benchmarks.openml.cache import cached
from crosstune.benchmarks.openml.files import STAND_IN, Relation, find, read_relation
from crosstune.benchmarks.openml.settings import Setting
from crosstune.data.files import sha256_of
from crosstune.data.splits import split
from crosstune.errors import DataError
from crosstune.records import Dataset, Split

TEST_SHARE = 0.1
_CLEAN_SEED = 0  # the clean split is part of the task: every seed of a method sees the same test rows
_CLEAN = (0.7, 0.2, TEST_SHARE)
_CLEAN_GROUPED = (0.6, 0.2, 0.2)  # a tenth of the groups would leave classes without a test row


def load(
    setting: Setting, path: Path, protocol: ProtocolName, limit: Mapping[str, int] | None = None, seed: int = 0
) -> TaskData:
    """The rows of a set. Errors as in ``read_relation``; DataError also for a class of one row under "shipped"."""
    kept = cached(path, setting) if protocol == "shipped" else None
    if kept is not None:
        return _limited(kept, limit)
    relation = read_relation(path, setting)
    data = _clean(relation) if protocol == "clean" else _shipped(relation, setting, seed)
    return _limited(data, limit)


def _dataset(relation: Relation, x: np.ndarray) -> Dataset:
    source = {
        "path": str(relation.path),
        "format": relation.path.suffix.lstrip("."),
        "bytes": relation.path.stat().st_size,
        "sha256": sha256_of(relation.path),
    }
    return Dataset(
        X=x, y=relation.y, kind="classification", classes=relation.classes, target_names=(relation.target,),
        name=relation.path.stem, source=source,
    )  # fmt: skip


def _clean(relation: Relation) -> TaskData:
    x, categories = features.table(relation)
    names = tuple(attribute.name for attribute in relation.features)
    dataset = replace(_dataset(relation, x), columns=names, categories=categories, groups=relation.groups)
    fractions = _CLEAN if relation.groups is None else _CLEAN_GROUPED
    parts = split(dataset, seed=_CLEAN_SEED, fractions=fractions)
    return TaskData(dataset, parts, notes=(*relation.notes, *parts.warnings))


def _shipped(relation: Relation, setting: Setting, seed: int) -> TaskData:
    """Encoder and scaler fitted on all rows, then one stratified split; validation is the test part."""
    from sklearn.model_selection import StratifiedShuffleSplit

    if setting.id in features.KEPT_FEATURES:
        relation = _with_features(relation, features.KEPT_FEATURES[setting.id])
    everything = np.arange(len(relation))
    x = features.FeatureSequence.fit(relation, everything).transform(relation)
    try:
        ((train, test),) = StratifiedShuffleSplit(1, test_size=TEST_SHARE, random_state=seed % 2**32).split(
            everything, relation.y
        )
    except ValueError as error:
        raise DataError(
            f"{relation.path}: {len(relation)} rows of {len(relation.classes)} classes have no stratified split with "
            f"{TEST_SHARE:.0%} for the test part ({error})",
            cause="a file with too few rows of a class",
            fix="use --protocol clean, or the whole set",
        ) from None
    if setting.id in features.NORMALISED_AGAIN:
        x = features.normalised_again(x, np.sort(train))
    train, test = np.sort(train), np.sort(test)
    notes = (
        *relation.notes,
        "encoder and scaler were fitted on all rows, test rows included",
        f"the stratified split is drawn with seed {seed}; the public code left it to chance",
    )
    return TaskData(_dataset(relation, x), Split(train, test, test, "stratified", seed), notes)


def _with_features(relation: Relation, numbers: tuple[int, ...]) -> Relation:
    if max(numbers) >= len(relation.features):
        raise DataError(
            f"{relation.path} has {len(relation.features)} features; this set is fed with numbers {numbers}",
            cause="another version of the set",
        )
    return replace(
        relation,
        features=tuple(relation.features[i] for i in numbers),
        columns=tuple(relation.columns[i] for i in numbers),
    )


def _limited(data: TaskData, limit: Mapping[str, int] | None) -> TaskData:
    """At most so many rows of a part, the first ones."""
    if not limit:
        return data
    train, validation, test = (data.split.rows(name)[: limit.get(name)] for name in ("train", "validation", "test"))
    return replace(data, split=replace(data.split, train=train, validation=validation, test=test))


def verify(setting: Setting, path: Path) -> Verification:
    """Whether the set's file is there, can be read, and has the size and classes the set is known for."""
    found = find(path, setting)
    if found is None:
        return Verification(setting.task, str(path), (), (f"{setting.id}.arff: {setting.address}",))
    try:
        relation = read_relation(path, setting)
    except DataError as error:
        return Verification(setting.task, str(found), (Check("reads", False, str(error)),))
    stand_in = [note for note in relation.notes if note.startswith(STAND_IN)]
    checks = [Check("reads", True, f"{len(relation)} rows, {len(relation.features)} features, from {found.name}")]
    if stand_in:
        checks.append(Check("origin", None, stand_in[0]))
    numeric = sum(attribute.type == "numeric" for attribute in relation.features)
    sizes = tuple(np.bincount(relation.y).tolist())
    for name, is_, known in (
        ("rows", len(relation), setting.rows),
        ("numeric features", numeric, setting.numeric),
        ("categorical features", len(relation.features) - numeric, setting.categorical),
        ("classes", len(relation.classes), len(setting.class_rows)),
    ):
        # a stand-in may be a part of the set by intent; a count known from memory proves nothing alone
        ok = True if is_ == known else None
        checks.append(Check(name, ok, f"{is_}, {'as known' if ok else f'known to be {known}'}"))
    if sorted(sizes) != sorted(setting.class_rows) and len(sizes) == len(setting.class_rows) and not stand_in:
        checks.append(Check("rows per class", None, f"{sizes}, known to be {setting.class_rows}"))
    return Verification(setting.task, str(found), tuple(checks))
