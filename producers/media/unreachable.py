"""Inodes that are in use although no folder names them: what a damaged folder had in it, without any error.

Only file systems with a table of inodes can tell: ext, NTFS, HFS+.
"""

from collections.abc import Callable, Iterator
from typing import Final

import pytsk3

from producers.media.image_records import EXT, TYPES
from producers.media.images import Image
from tallystick.contracts.listings import FileSystem
from tallystick.contracts.media import Problem, ProblemKind

_FIRST_OF_USERS: Final = {"NTFS": 24, "HFS+": 16}
"""Below it are the file system's own inodes."""
_EXT_FIRST: Final = 11
_SUPERBLOCK: Final = 1024
_EXT_FIRST_AT: Final = 0x54
_EXT_OWN_AT: Final = (0x240, 0x244, 0x26C, 0x280)
"""Where the superblock of ext names inodes of its own: quota of users, groups and projects, the file of orphans."""
_LEAST_BYTES: Final = 128
"""No inode of ext takes less of an image, nor one of NTFS, whatever a damaged superblock says of their number."""
_MAX_CATALOG_IDS: Final = 1 << 24
"""Identifiers of HFS+ are not used again, so they are sparse, and looking for all of them could take days."""
_PER_BEAT: Final = 1024


class Seen:
    """The inodes that were found under some path, up to `last`: one bit for each inode that there may be."""

    def __init__(self, last: int) -> None:
        self.last = last
        self._bits = bytearray((last >> 3) + 1)

    def add(self, ino: int) -> None:
        """Note an inode; one beyond the last is not noted."""
        if ino >> 3 < len(self._bits):
            self._bits[ino >> 3] |= 1 << (ino & 7)

    def __contains__(self, ino: int) -> bool:
        return ino >> 3 < len(self._bits) and bool(self._bits[ino >> 3] & 1 << (ino & 7))


def last_inode(image: Image, handle: pytsk3.FS_Info, kind: str) -> int:
    """Return up to which inode to look; 0 where the kind of file system has no table of them."""
    if kind == "HFS+":
        return min(handle.info.last_inum, _MAX_CATALOG_IDS)
    if kind == "NTFS" or kind in EXT:
        return min(handle.info.last_inum, image.size // _LEAST_BYTES)
    return 0


def unreachable(
    image: Image, handle: pytsk3.FS_Info, file_system: FileSystem, seen: Seen, beat: Callable[[], None]
) -> Iterator[Problem]:
    """Yield a problem for each inode in use that is not in `seen`. `beat` is called often."""
    first, own = _FIRST_OF_USERS.get(file_system.kind, 0), frozenset[int]()
    if file_system.kind in EXT:
        first, own = _ext_own(image, file_system)
    for ino in range(first, seen.last + 1):
        if ino % _PER_BEAT == 0:
            beat()
        if ino in seen or ino in own:
            continue
        if problem := _look(handle, file_system.part, ino):
            yield problem


def _look(handle: pytsk3.FS_Info, part: int, ino: int) -> Problem | None:
    try:
        meta = handle.open_meta(inode=ino).info.meta
    except OSError:
        # There is no such inode, or its part of the table can't be read, which its folder would have told.
        return None
    if meta is None or not int(meta.flags) & pytsk3.TSK_FS_META_FLAG_ALLOC or not meta.nlink:
        return None
    if (letter := TYPES.get(int(meta.type))) is None:
        return None
    detail = f"in use, but no folder names it (type {letter}, {meta.size} bytes)"
    return Problem(part, ProblemKind.INODE_UNREACHABLE, detail, ino=ino)


def _ext_own(image: Image, file_system: FileSystem) -> tuple[int, frozenset[int]]:
    """Return the first inode of users, and those of the file system itself after it."""
    superblock = image.read(file_system.offset + _SUPERBLOCK, _SUPERBLOCK)
    numbers = {int.from_bytes(superblock[at : at + 4], "little") for at in _EXT_OWN_AT}
    first = int.from_bytes(superblock[_EXT_FIRST_AT : _EXT_FIRST_AT + 4], "little")
    return max(first, _EXT_FIRST), frozenset(numbers)
