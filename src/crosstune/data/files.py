"""Opening files safely: what a file really is, its checksum, and errors that say what went wrong."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from crosstune.discovery import suggest
from crosstune.errors import DataError

FORMATS = {
    ".npz": "npz",
    ".npy": "npy",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".csv.gz": "csv",
    ".tsv.gz": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arff": "arff",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdf": "hdf5",
    ".he5": "hdf5",
}
SUPPORTED = ".npz, .npy, .csv, .tsv, .csv.gz, .parquet, .arff, .h5, .hdf5"
_MAGIC = {
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "npz",
    b"PK\x05\x06": "npz",
    b"PAR1": "parquet",
    b"\x89HDF\r\n\x1a\n": "hdf5",
}
_FOREIGN = {
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"MATLAB 5.0": "a MATLAB file; load it with scipy.io.loadmat and save arrays with np.savez",
    b"\x80\x04\x95": "a Python pickle, which can run code when loaded",
    b"\x80\x05\x95": "a Python pickle, which can run code when loaded",
    b"SQLite format": "an SQLite database",
    b"version https://git-lfs": "a Git LFS pointer, not the data; run `git lfs pull`",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as CSV",
    b"BZh": "a bzip2 archive; unpack it first",
    b"\xfd7zXZ": "an xz archive; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
}


@dataclass(frozen=True)
class Opened:
    """A file that exists, with its format by content and name. key: what follows ``::`` in the source."""

    path: Path
    format: str
    key: str | None

    def provenance(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "format": self.format,
            "bytes": self.path.stat().st_size,
            "sha256": sha256_of(self.path),
            "key": self.key,
        }


def open_source(source: str) -> Opened:
    """Checks that ``source`` (a path, or ``file.h5::key``) is a readable data file and what it holds.

    Raises ``DataError`` for a missing or empty file, a folder, an unknown or wrong extension, and for files that are
    something else (a web page, an image, an archive, a pointer).
    """
    path, key = _locate(source)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", fix="check its permissions") from error
    if not head:
        raise DataError(
            f"{path} is empty (0 bytes)", cause="an interrupted download or copy", fix="fetch the file again"
        )
    by_name = next((f for ending, f in _by_length() if path.name.lower().endswith(ending)), None)
    by_content = _sniff(path, head)
    if by_name is None and by_content is None:
        raise DataError(f"{path} has an extension that is not known", fix=f"use one of {SUPPORTED}")
    if by_content and by_name and by_content != by_name:
        ending = {"hdf5": "h5"}.get(by_content, by_content)
        raise DataError(
            f"{path} is named as {by_name} but its content is {by_content}",
            cause="a file saved or renamed with the wrong extension",
            fix=f"mv {path} {path.with_suffix('.' + ending)}",
        )
    kind = by_content or by_name
    assert kind is not None
    if by_content is None and kind not in ("csv", "arff"):
        raise DataError(
            f"{path} is named as {kind}, but does not begin like one (first bytes {head[:8]!r})",
            cause="a damaged or incomplete file, or a text file with the wrong extension",
            fix="fetch the file again, or rename it to what it is",
        )
    if key is not None and kind not in ("hdf5", "npz"):
        raise DataError(f"{source}: a key after '::' is for HDF5 and .npz files, not {kind}", fix=f"use {path}")
    return Opened(path, kind, key)


def _by_length() -> list[tuple[str, str]]:
    return sorted(FORMATS.items(), key=lambda item: -len(item[0]))


def _locate(source: str) -> tuple[Path, str | None]:
    name, _, key = source.partition("::")
    path = Path(source if Path(source).exists() else name).expanduser()
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.suffix.lower() in FORMATS)[:5]
        raise DataError(f"{path} is a folder", fix=f"name a file in it{': ' + ', '.join(inside) if inside else ''}")
    if not path.exists():
        near = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, near, n=3)
        raise DataError(
            f"there is no file {path}",
            cause=None if path.parent.is_dir() else f"the folder {path.parent} does not exist",
            fix=f"did you mean {' or '.join(close)}?" if close else "check the path",
        )
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file", fix="copy the data to a file first")
    return path, key.strip("/") or None


def _sniff(path: Path, head: bytes) -> str | None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise DataError(
            f"{path} is a web page, not data (it begins {head.strip()[:30].decode('utf-8', 'replace')!r})",
            cause="a download that returned an error or sign-in page",
            fix="open the address in a browser, and download the raw file",
        )
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise DataError(f"{path} is {what.split(';')[0]}", fix=what.partition("; ")[2] or f"use one of {SUPPORTED}")
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            if kind == "npz" and b"[Content_Types].xml" in head:
                raise DataError(f"{path} is an Excel workbook", fix="save the sheet as CSV")
            return kind
    return None


def sha256_of(path: Path) -> str:
    """Checksum of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing_key(what: str, name: str, present: list[str], path: Path, flag: str) -> NoReturn:
    """The error for a key or column that is not there: lists those that are, and suggests a close one."""
    hint = suggest(name, present) if present else "the file holds none"
    raise DataError(f"{path} has no {what} {name!r}", cause=None, fix=f"{hint}. Name it with {flag}")


def damaged(path: Path, kind: str, error: BaseException) -> NoReturn:
    """The error for a file that begins well and cannot be read."""
    said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    raise DataError(
        f"{path} cannot be read as {kind}: {said}",
        cause="a truncated or damaged file",
        fix="fetch or write the file again, and compare its size with the original",
    ) from error
