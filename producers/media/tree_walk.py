"""A folder and all below it on the same device: what `find -xdev` lists, and what could not be read besides.

Only folders are ever opened; a fifo, a device or a link can't make it hang, nor lead it elsewhere. In memory are the
names of the folders that it still has to go into, and few of them are open, however deep it goes.
"""

import os
import stat
from collections import deque
from collections.abc import Iterator
from typing import Final

from producers.media.errors import PreconditionError
from producers.media.types import LETTERS
from tallystick.contracts.listings import FileSystem
from tallystick.contracts.media import Entry, Found, Problem, ProblemKind
from tallystick.contracts.text import printable

MAX_OPEN: Final = 100
"""So many folders on the way from the root are kept open; those above are opened again on the way back."""

_FOLLOW: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER: Final = _FOLLOW | os.O_NOFOLLOW
_BLOCK_BYTES: Final = 512
_INT64_MAX: Final = (1 << 63) - 1
_NS: Final = 1_000_000_000


class _Folder:
    """A folder on the way from the root. `pending` are names and inodes of those in it that are to be gone into."""

    def __init__(self, prefix: bytes, ino: int, descriptor: int) -> None:
        self.prefix, self.ino, self.descriptor = prefix, ino, descriptor
        self.pending: deque[tuple[str, int]] = deque()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class TreeWalk:
    """Goes through the folder `root`, once. `part` 0 is its device; other devices are numbered as they are met."""

    def __init__(self, root: bytes) -> None:
        """Raise PreconditionError where `root` is no folder that can be read."""
        self._path, self._shown = root, printable(os.fsdecode(root))
        try:
            # Whoever names a link means what it leads to; below the root no link is followed.
            descriptor = os.open(root, _FOLLOW)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise PreconditionError(
                "wrong_root", f"the folder {self._shown} can't be read ({why}): mount it, or check its name"
            ) from error
        self._root = os.fstat(descriptor)
        self._parts = {self._root.st_dev: 0}
        self._way = [_Folder(b"", self._root.st_ino, descriptor)]

    @property
    def file_systems(self) -> tuple[FileSystem, ...]:
        """The devices that were met, in order of their part."""
        return tuple(FileSystem(part, "folder", description=f"device {dev}") for dev, part in self._parts.items())

    def mount(self, part: int) -> bytes:  # noqa: ARG002 - all devices are found below the one root
        """Return where listings say that a part is mounted."""
        return self._path

    def close(self) -> None:
        """Close what is open."""
        for folder in self._way:
            folder.close()

    def __iter__(self) -> Iterator[Entry]:
        """Yield the records, parents before what is in them, and the problems.

        Raises PreconditionError where a folder was moved away while it was gone through.
        """
        yield self._found(self._root, b".", b"")
        yield from self._read(self._way[0])
        while self._way:
            folder = self._way[-1]
            if not folder.pending:
                self._leave()
                continue
            name, ino = folder.pending.popleft()
            path = folder.prefix + os.fsencode(name)
            try:
                below = self._enter(folder, name, path, ino)
            except OSError as error:
                yield Problem(0, ProblemKind.FOLDER_UNREADABLE, _why(error), path, ino)
            else:
                yield from self._read(below)

    def _enter(self, folder: _Folder, name: str, path: bytes, ino: int) -> _Folder:
        below = _Folder(path + b"/", ino, os.open(name, _FOLDER, dir_fd=folder.descriptor))
        if not self._is_open(below):
            below.close()
            raise OSError("it was replaced while its parent was read")
        self._way.append(below)
        if len(self._way) > MAX_OPEN:
            self._way[-1 - MAX_OPEN].close()
        return below

    def _leave(self) -> None:
        """Go back to the parent, which is opened again where it no longer was."""
        left = self._way.pop()
        if self._way and self._way[-1].descriptor < 0:
            above = self._way[-1]
            above.descriptor = os.open("..", _FOLDER, dir_fd=left.descriptor)
            if not self._is_open(above):
                left.close()
                path = printable(os.fsdecode(left.prefix))
                raise PreconditionError(
                    "changed_while_enumerated",
                    f"the folder {path} below {self._shown} was moved meanwhile: wait until nobody writes there",
                )
        left.close()

    def _is_open(self, folder: _Folder) -> bool:
        found = os.fstat(folder.descriptor)
        return (found.st_dev, found.st_ino) == (self._root.st_dev, folder.ino)

    def _read(self, folder: _Folder) -> Iterator[Entry]:
        """Yield what is in an open folder, and note which folders are to be gone into."""
        try:
            with os.scandir(folder.descriptor) as entries:
                for entry in entries:
                    yield self._entry(folder, entry)
        except OSError as error:
            path = folder.prefix.removesuffix(b"/") or b"."
            yield Problem(0, ProblemKind.FOLDER_UNREADABLE, _why(error), path, folder.ino)

    def _entry(self, folder: _Folder, entry: os.DirEntry[str]) -> Entry:
        name = os.fsencode(entry.name)
        path = folder.prefix + name
        try:
            status = entry.stat(follow_symlinks=False)
            target = os.readlink(name, dir_fd=folder.descriptor) if stat.S_ISLNK(status.st_mode) else b""
        except OSError as error:
            return Problem(0, ProblemKind.ATTRIBUTES_UNREADABLE, _why(error), path)
        if stat.S_ISDIR(status.st_mode) and status.st_dev == self._root.st_dev:
            if any(status.st_ino == above.ino for above in self._way):
                return Problem(0, ProblemKind.FOLDER_UNREADABLE, "the folder lies within itself", path, status.st_ino)
            folder.pending.append((entry.name, status.st_ino))
        return self._found(status, path, target)

    def _found(self, status: os.stat_result, path: bytes, target: bytes) -> Entry:
        part = self._parts.setdefault(status.st_dev, len(self._parts))
        letter = LETTERS.get(stat.S_IFMT(status.st_mode))
        if letter is None:
            return Problem(part, ProblemKind.ATTRIBUTES_UNREADABLE, f"its mode {status.st_mode:o} is unknown", path)
        if status.st_ino > _INT64_MAX:
            detail = f"its inode {status.st_ino} needs over 63 bits"
            return Problem(part, ProblemKind.ATTRIBUTES_UNREADABLE, detail, path)
        mtime, mtime_ns = divmod(status.st_mtime_ns, _NS)
        return Found(
            part=part,
            ino=status.st_ino,
            type=letter,
            nlink=status.st_nlink,
            size=status.st_size,
            mtime=mtime,
            path=path,
            dev=status.st_dev,
            mtime_ns=mtime_ns,
            allocated=status.st_blocks * _BLOCK_BYTES if letter == "f" else -1,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            rdev=status.st_rdev,
            target=target,
        )


def _why(error: OSError) -> str:
    return error.strerror or str(error)
