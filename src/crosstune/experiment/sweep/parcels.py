"""A run folder as one piece of bytes, for machines that share no storage."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

_LEFT_OUT = (".lock", ".tmp", ".part")


def pack(folder: Path) -> bytes:
    """Every file of the folder, but claims and what a writer has not finished."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if not path.name.endswith(_LEFT_OUT):
                archive.add(path, arcname=str(path.relative_to(folder)), recursive=False)
    return buffer.getvalue()


def unpack(parcel: bytes, folder: Path) -> None:
    """Put the folder in its place, whole or not at all; what was there before is replaced."""
    beside = folder.parent / f".{folder.name}.part"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(parcel)) as archive:
        archive.extractall(beside, filter="data")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
