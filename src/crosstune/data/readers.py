"""Reading a file, whatever its format, into a ``Dataset``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crosstune.data.arff import read_table
from crosstune.data.arrays import from_arrays
from crosstune.data.files import Opened, missing_key, open_source
from crosstune.data.keyed import read_hdf5, read_npy, read_npz, sibling
from crosstune.data.tables import columns_of
from crosstune.data.tabular import read_csv, read_parquet, series_of
from crosstune.errors import DataError, UsageError
from crosstune.records import Dataset, TargetKind

_TABLES = {"csv": read_csv, "parquet": read_parquet, "arff": read_table}
USUAL_TARGETS = ("y", "target", "label", "class")


def read(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    target: str | Sequence[str] | Literal[False] | None = None,
    groups: str | None = None,
    task: TargetKind | None = None,
    time: str | None = None,
    lengths: str | None = None,
    units: str | None = None,
    features: str | Sequence[str] | None = None,
    allow_pickle: bool = False,
    drop_missing_target: bool = False,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """The Dataset in a file (.npz, .npy, CSV, Parquet, ARFF, HDF5 as ``file.h5`` or ``file.h5::key``) or in a mapping.

    target: key or column of the target; for tables several columns, as a list or joined by commas; for .npy the path
    of a second .npy. None takes the key ``y``, or in tables the one column called y, target, label or class; False
    reads no target. groups, time, lengths, units: keys or columns. features: key of X, or the columns to use.
    task: the kind of target; None infers it. drop_missing_target: leave out rows without a target.
    classes: class names of a trained model. ``source`` of the result records path, format, bytes, sha256 and key,
    with ``reason`` of the task kind and ``notes`` on how the file was read.

    Raises ``DataError`` for files that cannot be read or hold something else, missing keys and columns, infinite
    values, unequal lengths; ``TaskError`` for targets that fit no task.
    """
    roles: dict[str, Any] = {"y": target, "groups": groups, "time": time, "lengths": lengths, "X": features}
    roles["units"] = units if units is not None else False  # a key of that name may well be a unit of measurement
    options: dict[str, Any] = {"task": task, "drop_missing_target": drop_missing_target, "classes": classes}
    if isinstance(source, Mapping):
        return _from_mapping(source, roles, options)
    opened = open_source(os.fspath(source))
    options |= {"name": opened.path.name.split(".")[0] or "data", "source": opened.provenance()}
    if opened.format in ("npz", "hdf5", "npy"):
        return _from_keys(opened, roles, options, allow_pickle)
    columns, notes = _TABLES[opened.format](opened)
    return _from_columns(columns, roles, options, notes, opened.path)


def _from_keys(opened: Opened, roles: dict[str, Any], options: dict[str, Any], allow_pickle: bool) -> Dataset:
    for role, name in roles.items():
        if name not in (None, False) and not isinstance(name, str):
            raise UsageError(f"{role} takes one key in a file of arrays, not {name!r}", fix="name a single key")
    if opened.format == "npy":
        unused = [r for r in ("groups", "time", "lengths", "units", "X") if roles[r] not in (None, False)]
        if unused:
            raise UsageError(f"an .npy file holds one array; {', '.join(unused)} cannot be named in it", fix="use .npz")
        path = roles["y"] or None
        arrays = read_npy(opened, path, allow_pickle)
        if path:
            options["source"] |= {"target": str(sibling(opened.path, path))}
    elif opened.format == "hdf5":
        arrays = read_hdf5(opened, roles)
    else:
        if opened.key is not None and roles["X"] is None:
            roles = {**roles, "X": opened.key}
        y = roles["y"]
        if isinstance(y, str) and y.endswith(".npy"):
            arrays = read_npz(opened, {**roles, "y": False}, allow_pickle)
            arrays["y"] = read_npy(Opened(sibling(opened.path, y), "npy", None), None, allow_pickle)["X"]
        else:
            arrays = read_npz(opened, roles, allow_pickle)
    names = [roles["y"] if isinstance(roles["y"], str) else "y"] if "y" in arrays else None
    return from_arrays(arrays.pop("X"), arrays.pop("y", None), target_names=names, **arrays, **options)


def _from_mapping(source: Mapping[str, Any], roles: dict[str, Any], options: dict[str, Any]) -> Dataset:
    key = roles["X"] if isinstance(roles["X"], str) else "X"
    if key in source and (np.ndim(source[key]) > 1 or not np.isscalar(source[key])) and _looks_keyed(source, key):
        picked: dict[str, Any] = {}
        for role, name in roles.items():
            if role == "X" or name is False:
                continue
            if isinstance(name, str) and name not in source:
                missing_key("key", name, [str(k) for k in source], Path("the mapping"), f"{role}=")
            picked[role] = source.get(name if isinstance(name, str) else role)
        return from_arrays(source[key], picked.pop("y", None), **picked, **options)
    return _from_columns(columns_of(source), roles, options, (), Path("the mapping"))


def _looks_keyed(source: Mapping[str, Any], key: str) -> bool:
    """A mapping of arrays by role, rather than of table columns one of which is called X."""
    value = source[key]
    first = value[0] if isinstance(value, (list, tuple)) and len(value) else value
    return hasattr(value, "columns") or (np.ndim(first) > 0 and (first is not value or np.ndim(value) > 1))


def _from_columns(
    columns: dict[str, np.ndarray], roles: dict[str, Any], options: dict[str, Any], notes: tuple[str, ...], path: Path
) -> Dataset:
    present = list(columns)
    targets, said = _target_columns(roles["y"], present, path)
    taken: dict[str, Any] = {}
    for role in ("groups", "time", "units"):
        if roles[role] not in (None, False):
            _need(roles[role], present, path, f"--{role}")
            taken[role] = columns[roles[role]]
    if roles["lengths"] is not None:
        raise UsageError("`lengths` does not apply to a table", fix="leave it out; lists carry their own lengths")
    asked = _listed(roles["X"], present)
    for name in asked or ():
        _need(name, present, path, "--features")
    reserved = {*targets, roles["groups"], roles["time"], roles["units"] or None}
    inputs = {n: columns[n] for n in (asked or present) if n not in reserved}
    if not inputs:
        raise DataError(
            f"{path} has no feature column beside {', '.join(map(repr, reserved - {None}))}",
            cause="a single column, or a delimiter that was not recognised",
            fix="check the delimiter; known are comma, semicolon, tab and |",
        )
    y = None
    if targets:
        parts = [columns[name] for name in targets]
        y = parts[0] if len(parts) == 1 else np.column_stack(parts)
        y = _fields(y) if y.dtype == object and len(parts) == 1 else y
    samples = series_of(inputs)
    options = {**options, "source": {**options.get("source", {})}, "target_names": targets or None}
    dataset = from_arrays(inputs if samples is None else samples, y, keep=asked or (), **taken, **options)
    every = (*notes, *said, *dataset.source.get("notes", ()))
    return replace(dataset, source={**dataset.source, "notes": every})


def _fields(y: np.ndarray) -> np.ndarray:
    """A column of lists as (N, L), where the lists are equally long."""
    first = next((v for v in y if v is not None), None)
    if not isinstance(first, (list, np.ndarray)):
        return y
    try:
        return np.array([list(v) for v in y], np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the target column holds lists that are not equally long numbers ({error})",
            fix="store padded targets of one length",
        ) from error


def _target_columns(
    asked: str | Sequence[str] | bool | None, present: list[str], path: Path
) -> tuple[list[str], tuple[str, ...]]:
    if asked is False:
        return [], ()
    if asked is None:
        usual = [name for name in present if name.lower() in USUAL_TARGETS]
        if len(usual) == 1:
            return usual, (f"column {usual[0]!r} was taken as the target, by its name",)
        return [], ()
    assert not isinstance(asked, bool)
    names = _listed(asked, present) or []
    for name in names:
        _need(name, present, path, "--target")
    return names, ()


def _listed(names: str | Sequence[str] | None, present: list[str]) -> list[str] | None:
    if names is None:
        return None
    if isinstance(names, str):
        return [names] if names in present else [n.strip() for n in names.split(",") if n.strip()]
    return [str(n) for n in names]


def _need(name: str, present: list[str], path: Path, flag: str) -> None:
    if name not in present:
        missing_key("column", name, present, path, flag)
