"""Which files are meant by what was asked for: files, folders and patterns become log files, or named problems."""

import errno
import glob
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec


class LogFile(msgspec.Struct, frozen=True):
    """A file to be read."""

    path: str


class Problem(msgspec.Struct, frozen=True):
    """Something that was asked for and can't be read. `reason` says why, and what to do."""

    path: str
    reason: str


def discover(paths: Iterable[str]) -> Iterator[LogFile | Problem]:
    """Yield what `paths` stand for, in their order; within a folder or pattern sorted by name.

    A file is taken whatever its name. A folder is searched with all folders below it, for files with `.json` in their
    name (rotated and compressed ones too); hidden files and folders are left out. A pattern has `*`, `?` or `[` in it,
    and `**` for any depth; a file that has just that name comes first.
    """
    for path in paths:
        if glob.has_magic(path) and not os.path.lexists(path):
            found = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - takes absolute patterns too
            if not found:
                yield Problem(path, "the pattern matches no file; quote it if the shell should not expand it")
            for match in found:
                yield from _one(match)
        else:
            yield from _one(path)


def as_text(path: str) -> str:
    """Return `path` as text that can be encoded: bytes of its name that are no UTF-8 come escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def why_unreadable(error: OSError) -> str:
    """Return what an error of the file system means, and what to do about it."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return "no such file; check the path"
        case errno.EACCES | errno.EPERM:
            return "no permission to read it; run as a user who may, or change its mode"
        case errno.EIO:
            return "the disk reports an I/O error; check the disk, or load a copy"
        case _:
            return f"it can't be read: {error.strerror or error}"


def _one(path: str) -> Iterator[LogFile | Problem]:
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError) as error:
        yield Problem(path, why_unreadable(error) if isinstance(error, OSError) else f"not a path: {error}")
        return
    if stat.S_ISDIR(mode):
        yield from _folder(path)
    elif stat.S_ISREG(mode):
        yield LogFile(path)
    else:
        yield Problem(path, "it is neither a file nor a folder; write its content to a file and load that")


def _folder(path: str) -> Iterator[LogFile | Problem]:
    failed: list[OSError] = []
    empty = True
    for folder, folders, names in os.walk(path, onerror=failed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if ".json" in name and not name.startswith("."):
                empty = False
                yield from _one(os.path.join(folder, name))  # noqa: PTH118 - keeps "./" as it was given
    for error in failed:
        yield Problem(str(error.filename), why_unreadable(error))
    if empty and not failed:
        yield Problem(path, "the folder holds no log: no file has .json in its name; name the files themselves")
