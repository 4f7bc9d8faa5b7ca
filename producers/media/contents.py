"""The content of a file of a medium, in blocks: from a folder, safely below it, or from an image, without a mount."""

import errno
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

from producers.media.images import Content
from tallystick.errors import TallyError
from tallystick.storage.disk import BLOCK_BYTES, read_blocks

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LIBRARY = re.compile(r"^\w+: \(\w+\.cpp:\d+\) ")
"""Where in its own code pytsk3 met an error, which its messages begin with."""


class Work(msgspec.Struct, frozen=True, gc=False):
    """A regular file that is to be copied, as it was enumerated: one inode, and the paths that lead to it.

    `dev` and `mtime_ns` are 0 where they are not known.
    """

    part: int
    ino: int
    paths: tuple[bytes, ...]
    size: int
    mtime: int
    mtime_ns: int = 0
    dev: int = 0


class ChangedError(TallyError):
    """A file is not, or no longer, as it was enumerated."""


class Contents(Protocol):
    """Where the contents of a medium come from. Any number of threads may read at once."""

    def blocks(self, work: Work, path: bytes) -> Iterator[bytes]:
        """Yield the content of a file, by one of its paths. All of it is good only once this has come to its end.

        Raises OSError, ChangedError where the file is not as it was enumerated, before reading and after.
        """


class TreeContents:
    """Files below a folder. No link is followed below it, so nothing that is read lies outside."""

    def __init__(self, root: bytes) -> None:
        self._root = root

    def blocks(self, work: Work, path: bytes) -> Iterator[bytes]:
        """See `Contents`."""
        with self._opened(work, path) as opened:
            _compare(os.fstat(opened), work)
            yield from read_blocks(opened)
            _compare(os.fstat(opened), work)

    @contextmanager
    def _opened(self, work: Work, path: bytes) -> Iterator[int]:
        """Open a file by way of each of its folders; never anything but a file, as a device may act on being opened."""
        *folders, name = _names(path)
        opened = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                opened = _exchange(opened, folder, _FOLDER)
            _compare(os.stat(name, dir_fd=opened, follow_symlinks=False), work)
            opened = _exchange(opened, name, _FILE)
            yield opened
        finally:
            os.close(opened)


class ImageContents:
    """Files of an image, by part and inode. Whether their bytes are damaged is a matter of the enumeration."""

    def __init__(self, content_of: Callable[[int, int], Content]) -> None:
        """`content_of` gives the content of an inode of a part, as `Image.content` does; `blocks` raises its errors."""
        self._content_of = content_of
        # The library reads outside of the GIL, and nobody promises that several threads may. Reading is the smaller
        # part of copying, so little is lost.
        self._lock = threading.Lock()

    def blocks(self, work: Work, path: bytes) -> Iterator[bytes]:
        """See `Contents`; any path will do."""
        del path
        with self._reading():
            content = self._content_of(work.part, work.ino)
        if content.size != work.size:
            raise ChangedError(f"it has {content.size} bytes on the image, not {work.size}")
        at = 0
        while at < work.size:
            with self._reading():
                block = content.read(at, min(BLOCK_BYTES, work.size - at))
            if not block:
                raise OSError(errno.EIO, f"nothing can be read from byte {at} of {work.size} on")
            yield block
            at += len(block)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Keep other threads out, and give the library's errors, which have no number, the one that they stand for."""
        with self._lock:
            try:
                yield
            except OSError as error:
                if error.errno:
                    raise
                raise OSError(errno.EIO, _LIBRARY.sub("", str(error))) from error


def _names(path: bytes) -> list[bytes]:
    """Return the folders and the name that a path consists of. Raises OSError where it could lead anywhere else."""
    names = path.split(b"/")
    if b"\0" in path or not {b"", b".", b".."}.isdisjoint(names):
        raise OSError(errno.EXDEV, "the path leads out of the folder")
    return names


def _exchange(opened: int, name: bytes, flags: int) -> int:
    """Open `name` in an open folder, which is closed then. Where that fails the folder stays open. Raises OSError."""
    inner = os.open(name, flags, dir_fd=opened)
    os.close(opened)
    return inner


def _compare(found: os.stat_result, work: Work) -> None:
    """Raise ChangedError unless a file is the one that was enumerated."""
    seconds, nanoseconds = divmod(found.st_mtime_ns, 1_000_000_000)
    checks = (
        ("inode", found.st_ino, work.ino),
        ("device", found.st_dev if work.dev else 0, work.dev),
        ("size", found.st_size, work.size),
        ("mtime", seconds, work.mtime),
        ("mtime's nanoseconds", nanoseconds if work.mtime_ns else 0, work.mtime_ns),
    )
    changed = [f"{name} {now}, not {then}" for name, now, then in checks if now != then]
    if not stat.S_ISREG(found.st_mode):
        raise ChangedError("it is no file any more")
    if changed:
        raise ChangedError(f"it is not as it was enumerated: {'; '.join(changed)}")
