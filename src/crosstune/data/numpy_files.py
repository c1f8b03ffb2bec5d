"""NumPy's own file formats with the arrays left in their files, and arrays of objects through the restricted reader."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from crosstune.data.filearray import FileArray
from crosstune.data.restricted_pickle import LARGE, read_pickle
from crosstune.data.unpacked import unpacked
from crosstune.errors import DataError

_LOCAL_HEADER = 30


def load_npy(path: str | os.PathLike[str], *, large: int = LARGE) -> Any:
    """What a .npy file holds: an array, a ``FileArray`` when it has more than ``large`` bytes, or for an array of
    objects (a pickle) what ``restricted_pickle`` lets through. A 0-dimensional array of objects gives the object.

    DataError for files that are not .npy, cut off, or hold what is not allowed.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            return _read_npy(file, path, large)
    except FileNotFoundError:
        raise DataError(f"no file at {path}", fix="check the path") from None


def npz_array(path: str | os.PathLike[str], key: str, *, large: int = LARGE) -> Any:
    """One array of a .npz file, as ``load_npy`` gives it. A compressed member is unpacked once (``unpacked``)."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if key not in names:
                raise DataError(f"{path} has no array {key!r}", cause=f"it has: {', '.join(names[:12])}")
            member = archive.getinfo(f"{key}.npy")
            if member.compress_type != zipfile.ZIP_STORED:
                plain = unpacked(path, f"{path.stem}.{key}.npy", lambda: archive.open(member))
                return load_npy(plain, large=large)
    except FileNotFoundError:
        raise DataError(f"no file at {path}", fix="check the path") from None
    except zipfile.BadZipFile as error:
        raise DataError(
            f"{path} is not a .npz file ({error})", cause="a download that was cut off, or another file", fix="fetch it"
        ) from None
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER)
        if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
            raise DataError(f"{path} is damaged at array {key!r}", fix="fetch the file again")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        file.seek(name_length + extra_length, os.SEEK_CUR)
        return _read_npy(file, str(path), large)


def _read_npy(file: BinaryIO, path: str, large: int) -> Any:
    try:
        version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = header[version](file)  # type: ignore[no-untyped-call]
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{path} is not a .npy file ({error})",
            cause="a page saved in place of the data, a cut-off download, or another format",
            fix="fetch the file again and look at its first bytes",
        ) from None
    if dtype.hasobject:
        value = read_pickle(file, path, offset=file.tell(), large=large)
        return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    array = FileArray(path, file.tell(), dtype, tuple(int(n) for n in shape))
    if fortran and len(shape) > 1:
        flat = FileArray(path, file.tell(), dtype, (array.size,))
        return np.asarray(flat).reshape(shape, order="F")
    return (
        array
        if array.nbytes > large and len(shape)
        else array[:]
        if len(shape)
        else np.asarray(FileArray(path, array.offset, dtype, (1,)))[0]
    )
