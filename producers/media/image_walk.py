"""An image, folder by folder: every path of every file system on it, and what could not be read.

What the library adds of itself (`$OrphanFiles`, `$MBR`, the label of a FAT) and names that were deleted are left out;
what the file system has made for itself (`$MFT`) is marked.
"""

from collections.abc import Callable, Iterator
from typing import Final

import pytsk3

from producers.media.damage import DamageMap
from producers.media.image_records import Inode, Records, inode_of
from producers.media.images import Image
from producers.media.iso9660 import Iso
from producers.media.iso_walk import IsoWalk
from producers.media.unreachable import Seen, last_inode, unreachable
from tallystick.contracts.listings import FileSystem
from tallystick.contracts.media import Entry, Mark, Problem, ProblemKind

_FAT: Final = frozenset({"FAT12", "FAT16", "FAT32", "exFAT"})
_LABEL: Final = b" (Volume Label Entry)"
_EXFAT_OWN: Final = frozenset({b"$ALLOC_BITMAP", b"$UPCASE_TABLE"})
_VIRTUAL: Final = (pytsk3.TSK_FS_META_TYPE_VIRT, pytsk3.TSK_FS_META_TYPE_VIRT_DIR)
_IN_USE: Final = pytsk3.TSK_FS_NAME_FLAG_ALLOC
_OWN_INODES: Final = {"NTFS": 24, "HFS+": 16}
"""Inodes below it are the file system's own, but for the root."""


class ImageWalk:
    """Goes through an image, once. It stays open until `close`."""

    def __init__(self, path: bytes, *, damage: DamageMap, beat: Callable[[], None]) -> None:
        """Open the image at `path`. Raises as `Image` does."""
        self.image = Image(path)
        self.file_systems = self.image.file_systems
        self._damage, self._beat = damage, beat

    def __iter__(self) -> Iterator[Entry]:
        """Yield the records, parents before what is in them, and the problems."""
        yield from self.image.problems
        for file_system in self.file_systems:
            damage, handle = self._damage_of(file_system), self.image.file_system(file_system.part)
            if isinstance(handle, Iso):
                yield from IsoWalk(handle, file_system, damage=damage)
            else:
                yield from _PartWalk(self.image, handle, file_system, damage, self._beat)

    def mount(self, part: int) -> bytes:
        """Return where listings say that a part is mounted."""
        return b"/%d" % part

    def close(self) -> None:
        """Close the image."""
        self.image.close()

    def _damage_of(self, file_system: FileSystem) -> DamageMap | None:
        if file_system.offset + file_system.size > self.image.size:
            return self._damage.until(self.image.size)
        return self._damage if self._damage.bad else None


class _Folder:
    """A folder that is being gone through."""

    def __init__(self, path: bytes, files: Iterator[pytsk3.File], ino: int, *, own: bool) -> None:
        self.path, self.files, self.ino, self.own = path, files, ino, own
        self.prefix = b"" if path == b"." else path + b"/"


class _PartWalk:
    """Goes through one file system."""

    def __init__(
        self,
        image: Image,
        handle: pytsk3.FS_Info,
        file_system: FileSystem,
        damage: DamageMap | None,
        beat: Callable[[], None],
    ) -> None:
        self._image, self._handle, self._file_system, self._beat = image, handle, file_system, beat
        self._records = Records(file_system, block_size=self._handle.info.block_size, damage=damage)
        self._part, self._kind, self._root = file_system.part, file_system.kind, self._handle.info.root_inum
        self._seen = Seen(last_inode(image, handle, file_system.kind))
        self._first_of_users = _OWN_INODES.get(file_system.kind, 0)
        self._folders: set[int] = set()
        self._damaged: set[int] = set()
        self._stack: list[_Folder] = []

    def __iter__(self) -> Iterator[Entry]:
        try:
            root = self._handle.open_meta(inode=self._root)
        except OSError as error:
            yield self._problem(ProblemKind.FOLDER_UNREADABLE, _why(error), b".", self._root)
        else:
            if inode := inode_of(root, root.info.meta):
                yield from self._inode(inode, b".", own=False)
            else:
                yield self._problem(ProblemKind.FOLDER_UNREADABLE, "the root can't be read", b".", self._root)
        while self._stack:
            folder = self._stack[-1]
            try:
                file = next(folder.files)
            except StopIteration:
                self._stack.pop()
            except OSError as error:
                self._stack.pop()
                yield self._problem(ProblemKind.FOLDER_UNREADABLE, _why(error), folder.path, folder.ino)
            else:
                yield from self._name(folder, file)
        if self._seen.last:
            yield from unreachable(self._image, self._handle, self._file_system, self._seen, self._beat)

    def _name(self, folder: _Folder, file: pytsk3.File) -> Iterator[Entry]:
        """Yield what there is to say of a name in a folder."""
        info = file.info
        name, meta = info.name, info.meta
        if name is None or not int(name.flags) & _IN_USE or (own_name := name.name) in (b".", b".."):
            return
        if meta and int(meta.type) in _VIRTUAL:
            return
        if self._kind in _FAT and not folder.prefix and own_name.endswith(_LABEL) and not name.shrt_name:
            # The label of the volume. A file of that name would have a short one, too.
            return
        path = folder.prefix + own_name
        if not own_name or b"/" in own_name:
            yield self._problem(
                ProblemKind.ATTRIBUTES_UNREADABLE, f"{own_name!r} can't be a name", folder.path, folder.ino
            )
        elif inode := inode_of(file, meta):
            yield from self._inode(inode, path, own=folder.own or (self._kind == "exFAT" and path in _EXFAT_OWN))
        else:
            detail = "its inode is free, or can't be read"
            yield self._problem(ProblemKind.ATTRIBUTES_UNREADABLE, detail, path, name.meta_addr)

    def _inode(self, inode: Inode, path: bytes, *, own: bool) -> Iterator[Entry]:
        """Yield the record of a path; go into it where it is a folder that was not gone into yet."""
        ino = inode.ino
        own = own or (ino < self._first_of_users and ino != self._root)
        blocks = self._records.blocks(inode)
        marks = ((Mark.METADATA.value,) if own else ()) + ((Mark.DAMAGED.value,) if blocks.damaged else ())
        self._seen.add(ino)
        yield self._records.found(inode, path, blocks, marks)
        if blocks.damaged and ino not in self._damaged:
            self._damaged.add(ino)
            detail = f"{blocks.damaged} of its bytes could not be read from the medium"
            yield self._problem(ProblemKind.FILE_DAMAGED, detail, path, ino)
        if inode.type == "d" and ino not in self._folders:
            self._folders.add(ino)
            yield from self._enter(ino, path, own=own)

    def _enter(self, ino: int, path: bytes, *, own: bool) -> Iterator[Problem]:
        try:
            files = iter(self._handle.open_dir(inode=ino))
        except OSError as error:
            yield self._problem(ProblemKind.FOLDER_UNREADABLE, _why(error), path, ino)
            return
        self._stack.append(_Folder(path, files, ino, own=own))

    def _problem(self, kind: ProblemKind, detail: str, path: bytes, ino: int) -> Problem:
        return Problem(self._part, kind, detail, path, ino)


def _why(error: OSError) -> str:
    """Return what the library says of an error, in one line."""
    return " ".join(str(error).split())
