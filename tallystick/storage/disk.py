"""What the store, archives and images share: files and folders that are durable, holes, errors that say what to do."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tallystick.contracts.text import printable
from tallystick.errors import NoSpaceError, StorageError

BLOCK_BYTES = 1024 * 1024
"""How much is read and written at once."""
HOLE_BYTES = 64 * 1024
"""As many zeros, at a multiple of it within a block, become a hole."""
_ZEROS = bytes(HOLE_BYTES)

Progress = Callable[[], None]
"""Called after each block of something that takes long, so that its caller can say that it lives. It may raise to end
it, which leaves what an error would leave.
"""


def unheard() -> None:
    """Be a Progress that nobody follows."""


@contextmanager
def storage_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn each OSError within into a StorageError that says what can't be done with `path`; NoSpaceError at its end.

    `doing` is a verb: "write", "read".
    """
    try:
        yield
    except OSError as error:
        place, why = printable(str(path)), error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(f"can't {doing} {place}: {why}; make room there, then run the same again") from error
        raise StorageError(
            f"can't {doing} {place}: {why}; see to the file system and its permissions, then run the same again"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make durable which names `folder` holds. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def make_folder(folder: Path) -> bool:
    """Make `folder` and what is missing above it, durably; return whether it was missing. Raises OSError."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    except FileNotFoundError:
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
    return True


@contextmanager
def open_for_reading(path: Path) -> Iterator[int]:
    """Give a file to read, which is no link and does not wait for anybody. Raises OSError."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield opened
    finally:
        os.close(opened)


def read_blocks(opened: int) -> Iterator[bytes]:
    """Return what an open file holds from here to its end. Raises OSError."""
    while block := os.read(opened, BLOCK_BYTES):
        yield block


def write_sparse(opened: int, block: bytes, *, at: int) -> None:
    """Write `block` at the offset `at` of a new file, whole pieces of zeros left out as holes. Raises OSError.

    Where a file ends in a hole, somebody has to set its size.
    """
    view, start = memoryview(block), 0
    for piece in range(0, len(block) - HOLE_BYTES + 1, HOLE_BYTES):
        if block.startswith(_ZEROS, piece):
            write_all(opened, view[start:piece], at=at + start)
            start = piece + HOLE_BYTES
    write_all(opened, view[start:], at=at + start)


def write_all(opened: int, data: bytes | memoryview, *, at: int) -> None:
    """Write all of `data` at the offset `at`. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(opened, view, at)
        view, at = view[written:], at + written
