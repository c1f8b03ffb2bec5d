"""A Dataset as one .npz file, bit for bit, without pickle; and its identity as a checksum.

Lazy rows (crosstune.data.lazy) are stored as a reference: which reader, with which arguments, which rows, and the
fingerprint of its files, which must still be the same when the reference is followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np

from crosstune.data.lazy import LazyRows, is_lazy, reader_from
from crosstune.errors import DataError
from crosstune.records import Dataset

SCHEMA = 1
_ARRAYS = ("X", "y", "lengths", "groups", "time", "units")
_LATER = {"units"}  # absent ones leave the digest as it was before they existed


def save_dataset(dataset: Dataset, path: str | os.PathLike[str]) -> Path:
    """Writes the Dataset to ``path`` (.npz). The file appears whole or not at all: temporary file, fsync, rename.

    Raises ``DataError`` for object arrays, which only pickle could store.
    """
    target = Path(path)
    given = {name: getattr(dataset, name) for name in _ARRAYS if getattr(dataset, name) is not None}
    lazy = {name: values for name, values in given.items() if is_lazy(values)}
    arrays = {name: values for name, values in given.items() if name not in lazy}
    arrays |= {f"{name}.rows": values.rows for name, values in lazy.items()}
    for name, values in arrays.items():
        if np.asarray(values).dtype.hasobject:
            raise DataError(
                f"{name} holds Python objects, which are not stored",
                fix="convert to numbers or strings, e.g. groups.astype(str)",
            )
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays, crosstune=np.array(json.dumps(_meta(dataset) | {"lazy": _references(lazy)})))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    return target


def load_dataset(path: str | os.PathLike[str]) -> Dataset:
    """The Dataset that ``save_dataset`` wrote. Raises ``DataError`` for a damaged or foreign file."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            meta = json.loads(str(stored["crosstune"]))
            arrays = {name: stored[name] for name in _ARRAYS if name in stored.files}
            rows = {name: stored[f"{name}.rows"] for name in meta.get("lazy", {})}
    except FileNotFoundError as error:
        raise DataError(f"no stored data at {path}", fix="check the path") from error
    except Exception as error:  # zipfile, json, zlib and numpy each raise their own
        raise DataError(
            f"{path} is not a data file of crosstune ({type(error).__name__}: {error})",
            cause="the file is damaged, or was written by another program",
            fix="read foreign files with crosstune.data.read",
        ) from error
    if meta["schema"] != SCHEMA:
        raise DataError(f"{path} has data schema {meta['schema']}; this version reads {SCHEMA}")
    arrays |= {name: _follow(meta["lazy"][name], rows[name], str(path)) for name in rows}
    return Dataset(
        **arrays,
        kind=meta["kind"],
        classes=_tuple(meta["classes"]),
        columns=_tuple(meta["columns"]),
        categories={int(k): tuple(v) for k, v in meta["categories"]},
        target_names=_tuple(meta["target_names"]),
        name=meta["name"],
        source={k: tuple(v) if isinstance(v, list) else v for k, v in meta["source"].items()},
    )


def _references(lazy: dict[str, LazyRows]) -> dict[str, Any]:
    return {name: {**rows.reader.spec(), "fingerprint": rows.fingerprint} for name, rows in lazy.items()}


def _follow(reference: dict[str, Any], rows: np.ndarray, where: str) -> np.ndarray:
    reader = reader_from(reference)
    if reader.fingerprint() != reference["fingerprint"]:
        raise DataError(
            f"the files at {reader.path} are no longer those that {where} refers to",
            cause="they were changed, replaced or generated anew",
            fix="put the files of then back, or fit again with those of now",
        )
    return cast(np.ndarray, LazyRows(reader, rows, fingerprint=reference["fingerprint"]))


def dataset_digest(dataset: Dataset) -> str:
    """sha256 over every array and every name of a Dataset, the same in every process and on every platform.

    Where the data came from (``source``) and what it is called (``name``) are left out: equal data have equal digests.
    Of lazy rows the fingerprint of reader and files counts, and which rows they are.
    """
    digest = hashlib.sha256()
    for name in _ARRAYS:
        values = getattr(dataset, name)
        if values is None and name in _LATER:
            continue
        if values is None:
            digest.update(f"{name}:none;".encode())
            continue
        if is_lazy(values):
            digest.update(f"{name}:lazy:{values.dtype.str}:{values.shape}:{values.fingerprint};".encode())
            values = values.rows
        values = np.ascontiguousarray(values)
        digest.update(f"{name}:{values.dtype.str}:{values.shape};".encode())
        digest.update(values.data if values.dtype.kind in "biuf" else values.tobytes())
    meta = {k: v for k, v in _meta(dataset).items() if k not in ("source", "name")}
    digest.update(json.dumps(meta, sort_keys=True).encode())
    return digest.hexdigest()


def _meta(dataset: Dataset) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": dataset.kind,
        "classes": dataset.classes,
        "columns": dataset.columns,
        "categories": [[int(k), list(v)] for k, v in sorted(dataset.categories.items())],
        "target_names": dataset.target_names,
        "name": dataset.name,
        "source": dict(dataset.source),
    }


def _tuple(values: Any) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
