"""Compressed files unpacked once, since nothing can be read from their middle."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crosstune.errors import DataError

FOLDER = ".unpacked"
_BLOCK = 1 << 22


def unpacked(packed: Path, name: str, stream: Callable[[], Any]) -> Path:
    """The path of a plain copy called ``name`` of what ``stream`` (a binary file) yields, made if it is not there yet.

    It lies in a folder ``.unpacked`` beside the packed file or, where that cannot be written, in the temporary folder;
    size and time of the packed file are part of its name, so that a new file is unpacked anew. It appears whole or not
    at all. DataError for a damaged packed file, or when there is no room.
    """
    state = packed.stat()
    key = hashlib.sha256(f"{packed.resolve()}:{state.st_size}:{state.st_mtime_ns}".encode()).hexdigest()[:12]
    beside = packed.parent / FOLDER
    elsewhere = Path(tempfile.gettempdir()) / f"crosstune-unpacked-{os.getuid() if hasattr(os, 'getuid') else 0}"
    for folder in (beside, elsewhere):
        if (folder / f"{key}-{name}").exists():
            return folder / f"{key}-{name}"
    folder = beside if os.access(packed.parent, os.W_OK) else elsewhere
    folder.mkdir(mode=0o700, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as out, stream() as source:
            shutil.copyfileobj(source, out, _BLOCK)
        os.replace(temporary, folder / f"{key}-{name}")
    except (EOFError, zlib.error, zipfile.BadZipFile, OSError) as error:
        Path(temporary).unlink(missing_ok=True)
        room = isinstance(error, OSError) and error.errno is not None
        raise DataError(
            f"{packed} cannot be unpacked to {folder} ({error or 'it ends too early'})",
            cause="no room or no permission there" if room else "a download or copy that was cut off, or another file",
            fix="make room" if room else "fetch the file again",
        ) from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return folder / f"{key}-{name}"
