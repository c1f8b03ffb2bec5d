"""Files that are either whole or absent: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write`` on a temporary file in the same folder, then rename it over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    write_atomically(path, lambda handle: handle.write(content))


def write_json(path: Path, value: Any) -> None:
    """Standard JSON: numbers that are not finite, for which it has no word, become null."""
    write_bytes(path, (json.dumps(finite(value), indent=1, default=plain, allow_nan=False) + "\n").encode())


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left behind: hidden temporary files, anywhere under ``folder``."""
    for pattern in (".*.tmp", ".*.part"):
        for path in folder.rglob(pattern):
            path.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """The same with None in place of NaN and infinities, all the way down."""
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def plain(value: Any) -> Any:
    """NumPy and path values as plain JSON ones."""
    if isinstance(value, np.generic):
        return finite(value.item())
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "model_dump"):
        return finite(value.model_dump())
    if hasattr(value, "as_dict"):
        return finite(value.as_dict())
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
