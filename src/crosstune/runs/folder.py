"""The run folder: everything a run is, in files that a later process (or reader) can trust."""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import pickle
import shutil
import socket
import threading
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from crosstune.data import load_dataset, save_dataset
from crosstune.errors import RunError
from crosstune.records import FIELD_KINDS, IGNORED, Dataset, Split
from crosstune.runs.files import finite, plain, sweep, write_atomically, write_json, write_npz

try:
    import fcntl
except ImportError:  # no such locks on this system: runs are not protected from each other
    fcntl = None  # type: ignore[assignment]

SCHEMA = 1
_BEGINNINGS = {".lock", "data", "split.npz"}  # what there is before run.json


class RunFolder:
    """Reads and writes one run. Writers take the lock; readers need none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._events_lock = threading.Lock()
        self._lock: int | None = None

    # -- opening -----------------------------------------------------------------------------------------------
    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run; RunError when there is none at the path."""
        folder = cls(path)
        if not (folder.path / "run.json").exists():
            raise RunError(
                f"{str(path)!r} is not a run folder (no run.json)",
                cause="a mistyped path, or a run that ended before it began",
                fix="pass the folder given to --out; `ls runs/` shows what is there",
            )
        if folder.record().get("schema") != SCHEMA:
            raise RunError(
                f"{str(path)!r} has schema {folder.record().get('schema')!r}, this version reads {SCHEMA}",
                cause="the run was made by another version of crosstune",
                fix="use that version, or fit again",
            )
        return folder

    def lock(self) -> None:
        """Claim the folder for writing; RunError when a living process holds it. A dead owner's claim is taken over,
        and the temporary files it left are removed.

        The claim is the kernel's lock on ``.lock``: it ends with its process, however that ends.
        """
        if self._lock is not None:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = claim(self.path / ".lock")
        sweep(self.path)

    def unlock(self) -> None:
        if self._lock is not None:
            # removed while the claim still holds: a waiting process sees that its file is gone and makes a new one
            (self.path / ".lock").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def vacant(self) -> bool:
        """Whether nothing is lost by starting a run here: no folder, an empty one, or one in which a process was
        killed while it prepared a run."""
        if not self.path.exists():
            return True
        names = {path.name for path in self.path.iterdir() if not path.name.endswith(".tmp")}
        return not names or (".lock" in names and names <= _BEGINNINGS)

    def clear(self) -> None:
        """Remove everything but the claim."""
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != ".lock":
                path.unlink()

    # -- record ------------------------------------------------------------------------------------------------
    def record(self) -> dict[str, Any]:
        """run.json."""
        try:
            return json.loads((self.path / "run.json").read_text())
        except ValueError as problem:
            raise RunError(f"{self.path / 'run.json'} is damaged: {problem}", fix="restore it from a copy") from None

    def write_record(self, record: dict[str, Any]) -> None:
        write_json(self.path / "run.json", record)

    def update(self, **changes: Any) -> dict[str, Any]:
        record = self.record() | changes
        self.write_record(record)
        return record

    def event(self, **values: Any) -> None:
        """Append one line to events.jsonl. A line torn by a kill is closed off first."""
        line = json.dumps(finite(values), default=plain, allow_nan=False)
        with self._events_lock, open(self.path / "events.jsonl", "ab") as handle:
            if handle.tell():
                with open(self.path / "events.jsonl", "rb") as reader:
                    reader.seek(-1, os.SEEK_END)
                    if reader.read(1) != b"\n":
                        handle.write(b"\n")
            handle.write(line.encode() + b"\n")

    def last_time(self) -> float:
        """Seconds of the run's clock at its last event; 0.0 before the first."""
        path = self.path / "events.jsonl"
        if not path.exists():
            return 0.0
        with open(path, "rb") as handle:
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - 65536))
            lines = handle.read().split(b"\n")
        for line in reversed(lines):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return float(json.loads(line)["t"])
        return 0.0

    # -- data --------------------------------------------------------------------------------------------------
    def save_split(self, split: Split) -> None:
        write_npz(self.path / "split.npz", train=split.train, validation=split.validation, test=split.test)

    def save_part(self, name: str, dataset: Dataset) -> None:
        """Keep the rows of one part; the test part lies in its own file that nothing opens before ``reveal``."""
        save_dataset(dataset, self.path / "data" / f"{name}.npz")

    def part(self, name: str) -> Dataset:
        path = self.path / "data" / f"{name}.npz"
        if not path.exists():
            raise RunError(f"run {str(self.path)!r} holds no {name} rows", cause="the folder was copied in part")
        return load_dataset(path)

    def seal(self, floor: str, prediction: np.ndarray) -> None:
        """Keep what a floor said about the sealed test inputs, for ``reveal`` to score."""
        write_npz(self.path / "sealed" / f"{floor}.npz", prediction=prediction)

    def sealed(self, floor: str) -> np.ndarray | None:
        path = self.path / "sealed" / f"{floor}.npz"
        if not path.exists():
            return None
        with np.load(path) as saved:
            return saved["prediction"]

    # -- predictions -------------------------------------------------------------------------------------------
    def predictions_path(self, split: str, arm: str, seed: int) -> Path:
        return self.path / "predictions" / f"{split}.{arm.replace(':', '-')}.s{seed}.parquet"

    def save_predictions(
        self, split: str, arm: str, seed: int, *, rows: np.ndarray, prediction: np.ndarray, data: Dataset,
        metric: str, selected_on: str, protocol: str = "clean",
    ) -> None:  # fmt: skip
        """One Parquet file per split, arm and seed, with targets, so that every figure can be recomputed."""
        assert data.kind is not None
        metadata = {
            "arm": arm, "seed": seed, "split": split, "selected_on": selected_on, "protocol": protocol,
            "kind": data.kind, "classes": data.classes, "metric": metric,
            "field_shape": list(prediction.shape[1:]) if data.kind in FIELD_KINDS else None,
        }  # fmt: skip
        path = self.predictions_path(split, arm, seed)
        write_predictions(path, rows, prediction, data.y, data.kind, metadata, units=data.units)

    def diagnostic(self, name: str, arm: str, seed: int, **arrays: np.ndarray) -> None:
        write_npz(self.path / "diagnostics" / f"{name}.{arm.replace(':', '-')}.s{seed}.npz", **arrays)

    # -- checkpoints -------------------------------------------------------------------------------------------
    def save_checkpoint(self, name: str, state: dict[str, Any]) -> None:
        write_atomically(self.path / "checkpoints" / f"{name}.pt", lambda handle: _torch_save(state, handle))

    def has_checkpoint(self, name: str) -> bool:
        return (self.path / "checkpoints" / f"{name}.pt").exists()

    def load_checkpoint(self, name: str) -> dict[str, Any] | None:
        path = self.path / "checkpoints" / f"{name}.pt"
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as problem:
            raise RunError(
                f"checkpoint {path} cannot be read ({type(problem).__name__})",
                cause="a damaged disk, or a file from elsewhere",
                fix="remove it and resume: its stage begins anew",
            ) from None

    def drop_checkpoints(self, prefix: str) -> None:
        for path in (self.path / "checkpoints").glob(f"{glob.escape(prefix)}*.pt"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are still there
            (self.path / "checkpoints").rmdir()


def _torch_save(state: dict[str, Any], handle: BinaryIO) -> None:
    try:
        torch.save(state, handle)
    except RuntimeError as problem:
        if isinstance(problem.__context__, OSError):  # a full disk, which torch's own complaint hides
            raise problem.__context__ from None
        raise


def claim(path: Path) -> int:
    """The descriptor of ``path``, locked and holding our process number; RunError when another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            raise RunError(
                f"run {str(path.parent)!r} is being written by {owner or 'another process'}",
                cause="the same run was started twice",
                fix="wait for it, stop it, or choose another --out",
            ) from None
        except OSError:
            pass  # a file system without locks
        current = None
        with contextlib.suppress(FileNotFoundError):
            current = os.stat(path)
        mine = os.fstat(descriptor)
        if current is not None and (current.st_dev, current.st_ino) == (mine.st_dev, mine.st_ino):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            return descriptor
        os.close(descriptor)  # its owner removed it between our two steps


def write_predictions(
    path: Path, rows: np.ndarray, prediction: np.ndarray, target: np.ndarray | None, kind: str,
    metadata: dict[str, Any], units: np.ndarray | None = None, lengths: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Predictions as Parquet (columns as in the README); ``target`` may be missing for new data. units: (n,), a column
    ``unit`` where rows are pieces of units. Of class maps without a target the column ``label`` holds the code of the
    most probable class at each position, -1 behind the end of series of these lengths (n,)."""
    columns: dict[str, Any] = {"row": pa.array(np.asarray(rows, dtype=np.int64))}
    if units is not None:
        columns["unit"] = pa.array(np.asarray(units, dtype=np.int64))
    if kind in FIELD_KINDS:
        if kind == "segmentation":
            codes = prediction.argmax(axis=1) if target is None else target
            if target is None and lengths is not None:
                codes = np.where(np.arange(codes.shape[-1]) < lengths[:, None], codes, IGNORED)
            columns["label" if target is None else "target"] = _lists(codes, np.int32)
        elif target is not None:
            columns["target"] = _lists(target, np.float32)
        columns["prediction"] = _lists(prediction, np.float32)
    elif kind == "classification":
        if target is not None:
            columns["target"] = pa.array(np.asarray(target, dtype=np.int64))
        for k in range(prediction.shape[1]):
            columns[f"p{k}"] = pa.array(np.asarray(prediction[:, k], dtype=np.float64))
    else:
        for k in range(prediction.shape[1]):
            if target is not None:
                columns[f"target{k}"] = pa.array(np.asarray(target[:, k], dtype=np.float64))
            columns[f"pred{k}"] = pa.array(np.asarray(prediction[:, k], dtype=np.float64))
    table = pa.table(columns).replace_schema_metadata({b"crosstune": json.dumps(metadata, default=plain).encode()})
    write_atomically(path, lambda handle: pq.write_table(table, handle, compression="zstd"))


def _lists(values: np.ndarray, dtype: Any) -> pa.Array:
    """(n, ...) as one list per row, flat in C order."""
    flat = np.asarray(values, dtype=dtype)
    return pa.array(list(flat.reshape(len(flat), math.prod(flat.shape[1:]))), pa.list_(pa.from_numpy_dtype(dtype)))
