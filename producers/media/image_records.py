"""What the library tells of an inode of an image, as a record.

It has peculiarities that are set right here: times of ext are signed, those of FAT have no zone and come out in this
machine's, long links are left out; and it invents modes and owners where there are none.
"""

import calendar
import os
import time
from typing import Final

import msgspec
import pytsk3

from producers.media.damage import DamageMap
from tallystick.contracts.listings import FileSystem
from tallystick.contracts.media import Found

TYPES: Final = {
    pytsk3.TSK_FS_META_TYPE_REG: "f",
    pytsk3.TSK_FS_META_TYPE_DIR: "d",
    pytsk3.TSK_FS_META_TYPE_LNK: "l",
    pytsk3.TSK_FS_META_TYPE_FIFO: "p",
    pytsk3.TSK_FS_META_TYPE_SOCK: "s",
    pytsk3.TSK_FS_META_TYPE_CHR: "c",
    pytsk3.TSK_FS_META_TYPE_BLK: "b",
}
"""The letter of each type. Those that are missing are the library's own inventions."""
_ALLOCATED: Final = pytsk3.TSK_FS_META_FLAG_ALLOC
EXT: Final = frozenset({"ext2", "ext3", "ext4"})
_WITHOUT_ZONE: Final = frozenset({"FAT12", "FAT16", "FAT32", "exFAT"})
_WITHOUT_OWNERS: Final = _WITHOUT_ZONE | {"NTFS"}
_HFS_DATA: Final = 0x1100
_CONTENT: Final = frozenset({pytsk3.TSK_FS_ATTR_TYPE_DEFAULT, pytsk3.TSK_FS_ATTR_TYPE_NTFS_DATA, _HFS_DATA})
_MAX_TARGET_BYTES: Final = 1 << 16
_UINT32: Final = 1 << 32
_INT32_MAX: Final = (1 << 31) - 1


class Blocks(msgspec.Struct, frozen=True):
    """Where an inode's bytes lie: how many are allocated for its content (-1: not known), how many are damaged."""

    allocated: int = -1
    damaged: int = 0


_UNKNOWN: Final = Blocks()


class Inode:
    """An inode in use, as the library tells of it. What is asked for often is kept, as its objects are slow."""

    __slots__ = ("file", "ino", "meta", "size", "type")

    def __init__(self, file: pytsk3.File, meta: pytsk3.TSK_FS_META, letter: str) -> None:
        self.file, self.meta, self.type = file, meta, letter
        self.ino, self.size = meta.addr, meta.size


def inode_of(file: pytsk3.File, meta: pytsk3.TSK_FS_META | None) -> Inode | None:
    """Return the inode of a file that was opened; None where it can't be read, is free, or of an unknown type."""
    if meta is None or not int(meta.flags) & _ALLOCATED:
        return None
    letter = TYPES.get(int(meta.type))
    return Inode(file, meta, letter) if letter else None


class Records:
    """Makes records of the inodes of one file system."""

    def __init__(self, file_system: FileSystem, *, block_size: int, damage: DamageMap | None) -> None:
        """`damage` is None where there is none, which saves looking for it."""
        self._part, self._offset, self._kind = file_system.part, file_system.offset, file_system.kind
        self._block_size, self._damage = block_size, damage
        self._owned = file_system.kind not in _WITHOUT_OWNERS

    def blocks(self, inode: Inode) -> Blocks:
        """Look where the bytes of a file, folder or link lie."""
        if inode.size == 0 or inode.type not in "fdl" or (inode.type != "f" and self._damage is None):
            return _UNKNOWN
        allocated, damaged, runs = 0, 0, 0
        try:
            for attribute in inode.file:
                info = attribute.info
                content = int(info.type) in _CONTENT and not info.name
                for run in attribute:
                    runs += content
                    if int(run.flags):
                        continue
                    if content:
                        allocated += run.len * self._block_size
                    if self._damage is not None:
                        damaged += self._hit(self._damage, run, info.size)
        except OSError:
            return Blocks(-1, damaged)
        # What has no run stands in the inode itself.
        return Blocks(allocated if runs else inode.size, damaged)

    def found(self, inode: Inode, path: bytes, blocks: Blocks, marks: tuple[str, ...]) -> Found:
        """Return the record of an inode under one of its paths."""
        meta, letter = inode.meta, inode.type
        return Found(
            part=self._part,
            ino=inode.ino,
            type=letter,
            nlink=meta.nlink,
            size=inode.size,
            mtime=self._time(meta),
            path=path,
            dev=self._part,
            mtime_ns=meta.mtime_nano,
            allocated=blocks.allocated if letter == "f" and inode.size else -1,
            mode=int(meta.mode) & 0o7777 if self._owned else -1,
            uid=meta.uid if self._owned else -1,
            gid=meta.gid if self._owned else -1,
            rdev=_device(inode.file) if letter in "bc" else 0,
            target=_target(inode) if letter == "l" else b"",
            marks=marks,
        )

    def _hit(self, damage: DamageMap, run: pytsk3.TSK_FS_ATTR_RUN, size: int) -> int:
        """Return how many bytes of a run are damaged, not counting those after the end of the file."""
        length = min(run.len * self._block_size, size - run.offset * self._block_size)
        return damage.hit(self._offset + run.addr * self._block_size, length) if length > 0 else 0

    def _time(self, meta: pytsk3.TSK_FS_META) -> int:
        if self._kind in _WITHOUT_ZONE:
            return calendar.timegm(time.localtime(meta.mtime)) if meta.mtime else 0
        mtime = meta.mtime
        return mtime - _UINT32 if self._kind in EXT and _INT32_MAX < mtime < _UINT32 else mtime


def _target(inode: Inode) -> bytes:
    """Return where a link leads to; empty where that can't be read."""
    if inode.meta.link or not 0 < inode.size <= _MAX_TARGET_BYTES:
        return inode.meta.link or b""
    try:
        return inode.file.read_random(0, inode.size)
    except OSError:
        return b""


def _device(file: pytsk3.File) -> int:
    """Return the number of a device, which stands where others have their first block."""
    for attribute in file:
        for run in attribute:
            if not int(run.flags):
                major, minor = run.addr >> 8 & 0xFFF, run.addr & 0xFF | run.addr >> 12 & 0xFFF00
                return os.makedev(major, minor)
    return 0
