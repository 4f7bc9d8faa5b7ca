"""An image, folder by folder: every path of every file system on it, and what could not be read.

What the library adds of itself (`$OrphanFiles`, `$MBR`, the label of a FAT) and names that were deleted are left out;
what the file system has made for itself (`$MFT`) is marked.
"""

from collections.abc import Callable, Iterator
from typing import Final

import pytsk3

from producers.media.damage import DamageMap
from producers.media.image_records import TYPES, Records
from producers.media.images import Image
from producers.media.unreachable import Seen, can_tell, unreachable
from tallystick.contracts.listings import FileSystem
from tallystick.contracts.media import Entry, Mark, Problem, ProblemKind

_FAT: Final = frozenset({"FAT12", "FAT16", "FAT32", "exFAT"})
_LABEL: Final = b" (Volume Label Entry)"
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
            yield from _PartWalk(self.image, file_system, self._damage_of(file_system), self._beat)

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

    def __init__(self, prefix: bytes, files: Iterator[pytsk3.File], ino: int, *, own: bool) -> None:
        self.prefix, self.files, self.ino, self.own = prefix, files, ino, own


class _PartWalk:
    """Goes through one file system."""

    def __init__(
        self, image: Image, file_system: FileSystem, damage: DamageMap | None, beat: Callable[[], None]
    ) -> None:
        self._image, self._file_system, self._beat = image, file_system, beat
        self._handle = image.file_system(file_system.part)
        self._records = Records(file_system, block_size=self._handle.info.block_size, damage=damage)
        self._part, self._kind, self._root = file_system.part, file_system.kind, self._handle.info.root_inum
        self._seen = Seen(self._handle.info.last_inum if can_tell(file_system.kind) else 0)
        self._folders: set[int] = set()
        self._damaged: set[int] = set()
        self._stack: list[_Folder] = []

    def __iter__(self) -> Iterator[Entry]:
        try:
            root = self._handle.open_meta(inode=self._root)
        except OSError as error:
            yield self._problem(ProblemKind.FOLDER_UNREADABLE, str(error), b".", self._root)
        else:
            yield from self._inode(root, b".", own=False)
        while self._stack:
            folder = self._stack[-1]
            try:
                file = next(folder.files)
            except StopIteration:
                self._stack.pop()
            except OSError as error:
                self._stack.pop()
                path = folder.prefix.removesuffix(b"/") or b"."
                yield self._problem(ProblemKind.FOLDER_UNREADABLE, _why(error), path, folder.ino)
            else:
                yield from self._name(folder, file)
        if can_tell(self._kind):
            yield from unreachable(self._image, self._file_system, self._seen, self._beat)

    def _name(self, folder: _Folder, file: pytsk3.File) -> Iterator[Entry]:
        """Yield what there is to say of a name in a folder."""
        name = file.info.name
        if name is None or name.name in (b".", b"..") or not int(name.flags) & pytsk3.TSK_FS_NAME_FLAG_ALLOC:
            return
        path = folder.prefix + name.name
        if not name.name or b"/" in name.name:
            detail = f"the name {name.name!r} is none"
            yield self._problem(ProblemKind.ATTRIBUTES_UNREADABLE, detail, folder.prefix.removesuffix(b"/"), folder.ino)
        elif not self._is_invented(file, name):
            yield from self._inode(file, path, own=folder.own)

    def _is_invented(self, file: pytsk3.File, name: pytsk3.TSK_FS_NAME) -> bool:
        if file.info.meta and int(file.info.meta.type) in _VIRTUAL:
            return True
        # A file of that name would have a short one, too.
        return self._kind in _FAT and name.name.endswith(_LABEL) and not name.shrt_name

    def _inode(self, file: pytsk3.File, path: bytes, *, own: bool) -> Iterator[Entry]:
        """Yield the record of a path; go into it where it is a folder that was not gone into yet."""
        meta, name = file.info.meta, file.info.name
        letter = TYPES.get(int(meta.type)) if meta else None
        if meta is None or letter is None or not int(meta.flags) & pytsk3.TSK_FS_META_FLAG_ALLOC:
            detail = "its inode is free, or can't be read"
            yield self._problem(ProblemKind.ATTRIBUTES_UNREADABLE, detail, path, name.meta_addr if name else 0)
            return
        own = own or (meta.addr < _OWN_INODES.get(self._kind, 0) and meta.addr != self._root)
        blocks = self._records.blocks(file, letter, meta.size)
        marks = ((Mark.METADATA.value,) if own else ()) + ((Mark.DAMAGED.value,) if blocks.damaged else ())
        if found := self._records.found(file, path, blocks, marks):
            self._seen.add(meta.addr)
            yield found
        if blocks.damaged and meta.addr not in self._damaged:
            self._damaged.add(meta.addr)
            detail = f"{blocks.damaged} of its bytes could not be read from the medium"
            yield self._problem(ProblemKind.FILE_DAMAGED, detail, path, meta.addr)
        if letter == "d" and meta.addr not in self._folders:
            self._folders.add(meta.addr)
            yield from self._enter(meta.addr, path, own=own)

    def _enter(self, ino: int, path: bytes, *, own: bool) -> Iterator[Problem]:
        try:
            files = iter(self._handle.open_dir(inode=ino))
        except OSError as error:
            yield self._problem(ProblemKind.FOLDER_UNREADABLE, _why(error), path, ino)
            return
        self._stack.append(_Folder(b"" if path == b"." else path + b"/", files, ino, own=own))

    def _problem(self, kind: ProblemKind, detail: str, path: bytes, ino: int) -> Problem:
        return Problem(self._part, kind, detail, path, ino)


_VIRTUAL: Final = (pytsk3.TSK_FS_META_TYPE_VIRT, pytsk3.TSK_FS_META_TYPE_VIRT_DIR)


def _why(error: OSError) -> str:
    """Return what the library says of an error, in one line."""
    return " ".join(str(error).split())
