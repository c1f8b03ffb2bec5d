"""Files of named arrays: .npz, .npy and HDF5."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from crosstune.data.files import Opened, damaged, missing_key
from crosstune.errors import DataError

Names = str | Sequence[str] | None


def read_npz(opened: Opened, roles: Mapping[str, Any], allow_pickle: bool) -> dict[str, Any]:
    """The arrays of an .npz by role: X, y, groups, lengths, time. Raises ``DataError`` (see ``read``)."""
    with opened.path.open("rb") as file:
        return _read_archive(opened, file, roles, allow_pickle)


def _read_archive(opened: Opened, file: IO[bytes], roles: Mapping[str, Any], allow_pickle: bool) -> dict[str, Any]:
    try:
        stored = np.load(file, allow_pickle=allow_pickle)
        names = list(stored.files)
    except Exception as error:  # zipfile, zlib, OSError, ValueError: whatever a damaged archive raises
        damaged(opened.path, "npz", error)

    def get(name: str) -> np.ndarray:
        try:
            return np.asarray(stored[name])
        except ValueError as error:
            if "pickle" in str(error).lower() and not allow_pickle:
                _refuse_pickle(opened.path, name, error)
            damaged(opened.path, "npz", error)
        except Exception as error:
            damaged(opened.path, "npz", error)

    with stored:
        return by_role(opened, names, get, roles)


def _refuse_pickle(path: Path, name: str, error: Exception) -> None:
    raise DataError(
        f"{path}: key {name!r} holds Python objects, which only pickle can load, and pickle can run code",
        cause="ragged arrays or strings saved with dtype=object",
        fix="--allow-pickle if you trust the file; or save it without objects: text as X.astype(str), ragged series "
        "as values (total, C) with offsets (N+1,), or padded X with lengths (N,)",
    ) from error


def read_npy(opened: Opened, target: str | None, allow_pickle: bool) -> dict[str, Any]:
    """X from an .npy file, y from a second one named by ``target``."""
    out = {"X": load_npy(opened.path, allow_pickle)}
    if target is not None:
        out["y"] = load_npy(sibling(opened.path, target), allow_pickle)
    return out


def sibling(path: Path, target: str) -> Path:
    """The .npy file that ``target`` names: as given, or in the folder of the data."""
    for candidate in (Path(target).expanduser(), path.parent / target):
        if candidate.is_file():
            return candidate
    near = [p.name for p in path.parent.glob("*.npy") if p != path]
    raise DataError(
        f"there is no target file {target!r} beside {path}",
        fix=f"name one with --target: {', '.join(sorted(near)) or 'no other .npy is in the folder'}",
    )


def load_npy(path: Path, allow_pickle: bool) -> np.ndarray:
    """One array. Raises ``DataError`` for damaged files and for objects without ``allow_pickle``."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=allow_pickle)
    except ValueError as error:
        if "pickle" in str(error).lower() and "object" in str(error).lower() and not allow_pickle:
            _refuse_pickle(path, path.name, error)
        damaged(path, "npy", error)
    except Exception as error:
        damaged(path, "npy", error)
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{path} is not an .npy array", fix="rename it to .npz")
    return loaded


def read_hdf5(opened: Opened, roles: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of an HDF5 file, or of the group or for the data set after ``::``, by role. Only these are read."""
    import h5py

    try:
        with h5py.File(opened.path, "r") as file:
            node = file
            roles = dict(roles)
            if opened.key is not None:
                if opened.key not in file:
                    missing_key("key", opened.key, _datasets(file) + _groups(file), opened.path, f"{opened.path}::KEY")
                found = file[opened.key]
                if isinstance(found, h5py.Group):
                    node = found
                else:
                    roles["X"] = found.name if roles.get("X") is None else roles["X"]
                    node = found.parent
            names = _datasets(node)
            root_names = [f"/{n}" for n in _datasets(file)]
            return by_role(opened, names, lambda name: _read_h5(node, name), roles, absolute=root_names)
    except DataError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError and RuntimeError alike
        damaged(opened.path, "HDF5", error)


def _datasets(node: Any) -> list[str]:
    import h5py

    found: list[str] = []
    node.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(found)


def _groups(node: Any) -> list[str]:
    import h5py

    found: list[str] = []
    node.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Group) else None)
    return sorted(found)


def _read_h5(node: Any, name: str) -> np.ndarray:
    import h5py

    item = node[name]
    if h5py.check_string_dtype(item.dtype) is not None:
        return np.asarray(item.asstr()[()])
    return np.asarray(item[()])


def by_role(
    opened: Opened,
    names: list[str],
    get: Callable[[str], np.ndarray],
    roles: Mapping[str, Any],
    absolute: Sequence[str] = (),
) -> dict[str, Any]:
    """X (or values and offsets), y, groups, lengths, time and units out of named arrays.

    roles: names asked for per role; None takes the usual name where it exists, False takes none.
    """
    known = [*names, *absolute]
    out: dict[str, Any] = {}
    flags = {"X": "--features", "y": "--target", "groups": "--groups", "lengths": "--lengths", "time": "--time"}
    flags |= {"units": "units="} if roles.get("units") else {}
    for role, flag in flags.items():
        asked = roles.get(role)
        if asked is False:
            continue
        name = asked if asked is not None else role
        if name in known:
            out[role] = get(name)
        elif asked is not None:
            missing_key("key", asked, names, opened.path, flag)
    if "X" not in out:
        if {"values", "offsets"} <= set(names):
            out["X"] = unflatten(get("values"), get("offsets"), opened.path)
        else:
            missing_key("key", "X", names, opened.path, "--features")
    return out


def unflatten(values: np.ndarray, offsets: np.ndarray, path: Path) -> list[np.ndarray]:
    """Ragged samples (C, L_i) from ``values`` (total, C), (C, total) or (total,) and ``offsets`` (N+1,), from 0 to
    total. Raises ``DataError`` when the two do not fit."""
    values, offsets = np.atleast_1d(values), np.asarray(offsets)
    total = int(offsets[-1]) if offsets.ndim == 1 and len(offsets) > 1 and offsets.dtype.kind in "iu" else -1
    sound = total >= 0 and offsets[0] == 0 and (np.diff(offsets.astype(np.int64)) > 0).all()
    if not sound or total not in values.shape or values.ndim > 2:
        raise DataError(
            f"{path}: offsets of shape {offsets.shape} ending at {total} do not cut values of shape {values.shape}",
            cause="offsets without the closing total, or an empty series",
            fix="offsets are N+1 integers rising from 0 to the total number of samples",
        )
    if values.ndim == 1:
        values = values[None]
    elif values.shape[0] == total:
        values = values.T
    return [values[:, a:b] for a, b in pairwise(offsets)]
