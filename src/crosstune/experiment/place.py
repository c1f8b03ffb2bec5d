"""Where a run goes: what may be there already, and writing it whole or not at all."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from crosstune.errors import RunError
from crosstune.runs.folder import RunFolder

_UNWRITABLE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOTDIR,
    errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP,
}  # fmt: skip


def holds(folder: RunFolder, identity: str, *, overwrite: bool) -> bool:
    """Whether the folder holds the run of this identity. RunError when it holds anything else that must stay."""
    if folder.path.exists() and not folder.path.is_dir():
        raise RunError(f"{str(folder.path)!r} is a file", cause="--out names the folder of the run",
                       fix="choose another --out")  # fmt: skip
    if folder.vacant():
        return False
    existing = folder.record() if (folder.path / "run.json").exists() else None
    if existing is None:
        raise RunError(
            f"{str(folder.path)!r} holds files that are not a run; --overwrite only replaces runs"
            if overwrite
            else f"{str(folder.path)!r} already holds other files",
            fix="choose another --out",
        )
    if overwrite:
        return False
    if existing.get("identity") == identity:
        return True
    raise RunError(
        f"{str(folder.path)!r} already holds another run",
        cause="the same --out with other data or settings",
        fix="choose another --out, or pass --overwrite",
    )


@contextmanager
def writing(folder: RunFolder, identity: str, *, overwrite: bool) -> Iterator[None]:
    """Claim the folder and empty it; should the body fail, nothing of it is left. RunError when it cannot be written,
    or when another process has begun a run in it."""
    new = not folder.path.exists()
    try:
        folder.lock()
    except OSError as problem:
        raise unwritable(problem, folder) from None
    begun = False
    try:
        if holds(folder, identity, overwrite=overwrite):
            raise RunError(f"{str(folder.path)!r} was begun by another process", fix="start the command again")
        begun = True
        folder.clear()
        yield
    except BaseException as problem:
        if begun:
            with suppress(OSError):
                folder.clear()
        folder.unlock()
        if begun and new:
            shutil.rmtree(folder.path, ignore_errors=True)
        if isinstance(problem, OSError):
            raise unwritable(problem, folder) from None
        raise
    folder.unlock()


def unwritable(problem: OSError, folder: RunFolder, fix: str = "choose an --out that you can write to") -> Exception:
    """The error for a run folder that cannot be written; errors of another sort come back as they are."""
    if problem.errno not in _UNWRITABLE:
        return problem
    return RunError(
        f"cannot write the run folder {str(folder.path)!r}: {problem.strerror}",
        cause="a full disk" if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        else "no permission, a read-only file system, or a path that leads through a file",
        fix=fix,
    )  # fmt: skip
