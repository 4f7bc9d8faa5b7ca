"""Images of disks: which file systems are on them, and the libraries' handles on these. Nothing is mounted.

`part` 0 is a file system at the very beginning, also where there is a table of partitions (a hybrid CD has both).
Others are numbered as Linux does: entries of a table from 1 on, logical ones of an MBR from 5 on.
"""

import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec
import pytsk3

from producers.media.damage import Range
from producers.media.errors import NoFileSystemError, PreconditionError, UnsupportedError
from producers.media.iso9660 import Iso
from producers.media.signatures import Signature, recognise
from tallystick.contracts.listings import FileSystem
from tallystick.contracts.media import Problem, ProblemKind
from tallystick.contracts.text import printable

_TABLES: Final = (
    ("GPT", pytsk3.TSK_VS_TYPE_GPT),
    ("MBR", pytsk3.TSK_VS_TYPE_DOS),
    ("APM", pytsk3.TSK_VS_TYPE_MAC),
    ("BSD", pytsk3.TSK_VS_TYPE_BSD),
    ("Sun", pytsk3.TSK_VS_TYPE_SUN),
)
"""Tables of partitions, tried in this order: a GPT has an MBR before it, which only protects it."""
_FIRST_LOGICAL: Final = 5
_OWN_SLOTS: Final = (b"Apple_partition_map", b"Apple_Driver", b"Apple_Free", b"Apple_Void", b"Apple_Patches")
"""Entries of a table that describe the table itself, or space for drivers."""

_KINDS: Final = {
    pytsk3.TSK_FS_TYPE_EXT2: "ext2",
    pytsk3.TSK_FS_TYPE_EXT3: "ext3",
    pytsk3.TSK_FS_TYPE_EXT4: "ext4",
    pytsk3.TSK_FS_TYPE_FAT12: "FAT12",
    pytsk3.TSK_FS_TYPE_FAT16: "FAT16",
    pytsk3.TSK_FS_TYPE_FAT32: "FAT32",
    pytsk3.TSK_FS_TYPE_EXFAT: "exFAT",
    pytsk3.TSK_FS_TYPE_NTFS: "NTFS",
    pytsk3.TSK_FS_TYPE_HFS: "HFS+",
    pytsk3.TSK_FS_TYPE_ISO9660: "ISO 9660",
    pytsk3.TSK_FS_TYPE_FFS1: "UFS1",
    pytsk3.TSK_FS_TYPE_FFS1B: "UFS1",
    pytsk3.TSK_FS_TYPE_FFS2: "UFS2",
    pytsk3.TSK_FS_TYPE_YAFFS2: "YAFFS2",
}


_FLAVOURS: Final = {"Rock Ridge": " + Rock Ridge", "Joliet": " + Joliet", "plain": ""}


class Content(Protocol):
    """The content of a file on an image."""

    size: int

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes from `offset` on, fewer only where the file ends. Raises OSError where the image has none."""


class InodeContent:
    """A content that the library reads."""

    def __init__(self, file: pytsk3.File) -> None:
        """Raise OSError where the inode can't be read."""
        if file.info.meta is None:
            raise OSError("the inode can't be read")
        self._file, self.size = file, file.info.meta.size

    def read(self, offset: int, size: int) -> bytes:
        """See `Content`."""
        wanted = min(size, self.size - offset)
        if wanted <= 0:
            return b""
        found = self._file.read_random(offset, wanted)
        if len(found) < wanted:
            raise OSError(f"only {len(found)} of {wanted} bytes from byte {offset} on can be read")
        return found


class ExtentContent:
    """A content that lies on an image in so many pieces."""

    def __init__(self, image: "Image", extents: Sequence[Range]) -> None:
        self._image, self._extents = image, extents
        self.size = sum(extent.end - extent.start for extent in extents)

    def read(self, offset: int, size: int) -> bytes:
        """See `Content`."""
        pieces: list[bytes] = []
        for extent in self._extents:
            start = extent.start + offset
            if size and start < extent.end:
                wanted = min(size, extent.end - start)
                pieces.append(self._image.read(start, wanted))
                if len(pieces[-1]) < wanted:
                    raise OSError(f"the image ends at byte {start + len(pieces[-1])}, in the midst of the file")
                offset, size = extent.end - extent.start, size - wanted
            offset -= extent.end - extent.start
        return b"".join(pieces)


class Slot(msgspec.Struct, frozen=True):
    """A partition: its number, and where it lies, in bytes."""

    part: int
    offset: int
    size: int
    description: str
    own: bool


class Image:
    """An image, opened for reading. Not thread-safe; a context, or to be closed.

    `file_systems` are those that can be read, in order of their part; `problems` what else should be there and can't.
    """

    def __init__(self, path: bytes) -> None:
        """Look what is on the image at `path`, which may be a device.

        Raises PreconditionError where it can't be opened, UnsupportedError where nothing but what can't be read is on
        it, NoFileSystemError where nothing is recognised.
        """
        self.shown = printable(os.fsdecode(path))
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise PreconditionError(
                "no_image", f"the image {self.shown} can't be opened ({error.strerror}): put it where it was"
            ) from error
        self._opened: dict[int, pytsk3.FS_Info] = {}
        self._discs: dict[int, Iso] = {}
        found: list[FileSystem] = []
        problems: list[Problem] = []
        try:
            self.size = os.lseek(self._descriptor, 0, os.SEEK_END)
            # By descriptor, as the library takes no path that isn't UTF-8, and reads meaning into suffixes.
            self._image = pytsk3.Img_Info(f"/dev/fd/{self._descriptor}", type=pytsk3.TSK_IMG_TYPE_RAW)
            self._open_all(found, problems)
        except OSError as error:
            self.close()
            raise PreconditionError("no_image", f"the image {self.shown} can't be read: {error}") from error
        except BaseException:
            self.close()
            raise
        self.file_systems, self.problems = tuple(found), tuple(problems)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the image; nothing that was got from it may be used any more."""
        self._opened.clear()
        self._discs.clear()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def file_system(self, part: int) -> pytsk3.FS_Info | Iso:
        """Return what reads a file system. Raises PreconditionError where there is none of that number."""
        try:
            return self._discs.get(part) or self._opened[part]
        except KeyError:
            raise PreconditionError(
                "no_part", f"the image {self.shown} has no file system {part} any more: identify it again"
            ) from None

    def content(self, part: int, ino: int) -> "Content":
        """Return the content of a file. Raises OSError where its inode can't be read, PreconditionError."""
        handle = self.file_system(part)
        if isinstance(handle, Iso):
            entry = handle.entry(ino)
            offset = next(each.offset for each in self.file_systems if each.part == part)
            return ExtentContent(self, [Range(offset + each.start, offset + each.end) for each in entry.extents])
        return InodeContent(handle.open_meta(inode=ino))

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the image, fewer where it ends. Raises OSError."""
        return os.pread(self._descriptor, size, offset)

    def _open_all(self, found: list[FileSystem], problems: list[Problem]) -> None:
        whole = Slot(0, 0, self.size, "", own=False)
        if self.size and (first := self._open(whole)):
            found.append(first)
        covered = found[0].size if found else 0
        for slot in self._slots() if self.size else ():
            if slot.offset == 0 or slot.own:
                continue
            opened = self._open(slot) if slot.offset < self.size else None
            if opened:
                found.append(opened)
            elif problem := self._lost(slot, covered=slot.offset + slot.size <= covered):
                problems.append(problem)
        if not found:
            raise self._nothing(problems)

    def _open(self, slot: Slot) -> FileSystem | None:
        try:
            handle = pytsk3.FS_Info(self._image, offset=slot.offset)
        except OSError:
            return None
        if (kind := _KINDS.get(int(handle.info.ftype))) is None:
            return None
        self._opened[slot.part] = handle
        if kind == "ISO 9660":
            try:
                disc = Iso(lambda at, size: self.read(slot.offset + at, size))
            except OSError:
                return None
            self._discs[slot.part] = disc
            kind = f"{kind}{_FLAVOURS[disc.flavour]}"
        size = handle.info.block_count * handle.info.block_size
        return FileSystem(slot.part, kind, slot.offset, size, slot.description)

    def _slots(self) -> Iterator[Slot]:
        """Yield the partitions of the first table that there is, without containers and free space."""
        for name, kind in _TABLES:
            try:
                table = pytsk3.Volume_Info(self._image, type=kind)
            except OSError:
                continue
            yield from _numbered(name, table)
            return

    def _recognised(self, offset: int) -> Signature | None:
        return recognise(lambda at, size: self.read(offset + at, size))

    def _lost(self, slot: Slot, *, covered: bool) -> Problem | None:
        """Return what is lost with a partition that can't be opened; None where that is nothing."""
        what = f"partition {slot.part} ({slot.description}) at byte {slot.offset}"
        if slot.offset >= self.size:
            detail = f"{what} lies beyond the end of the image, which has {self.size} bytes"
            return Problem(slot.part, ProblemKind.PARTITION_UNREADABLE, detail)
        if signature := self._recognised(slot.offset):
            if not signature.holds_files:
                return None
            return Problem(slot.part, ProblemKind.FILE_SYSTEM_UNSUPPORTED, f"{what} holds {signature.name}")
        if slot.offset + slot.size > self.size:
            detail = (
                f"{what} can't be opened; the image ends {slot.offset + slot.size - self.size} bytes before it does"
            )
            return Problem(slot.part, ProblemKind.PARTITION_UNREADABLE, detail)
        if covered:
            return None
        return Problem(slot.part, ProblemKind.FILE_SYSTEM_UNSUPPORTED, f"{what} holds no file system that is known")

    def _nothing(self, problems: list[Problem]) -> NoFileSystemError | UnsupportedError:
        if self.size == 0:
            return NoFileSystemError("no_filesystem", f"the image {self.shown} is empty: image the medium again")
        if signature := self._recognised(0):
            return UnsupportedError(
                "unsupported_fs",
                f"the image {self.shown} holds {signature.name}, which can't be read: "
                "mount or convert it, and ingest the folder or the raw image",
            )
        if problems:
            unsupported = any(problem.kind is ProblemKind.FILE_SYSTEM_UNSUPPORTED for problem in problems)
            details = "; ".join(problem.detail for problem in problems)
            error = UnsupportedError if unsupported else NoFileSystemError
            reason = "unsupported_fs" if unsupported else "no_filesystem"
            return error(reason, f"no file system of the image {self.shown} can be read: {details}")
        return NoFileSystemError(
            "no_filesystem",
            f"nothing on the image {self.shown} is known as a file system or a table of partitions: "
            "check whether it is an image of a disk",
        )


def _numbered(table: str, volume: pytsk3.Volume_Info) -> Iterator[Slot]:
    allocated = [slot for slot in volume if int(slot.flags) == pytsk3.TSK_VS_PART_FLAG_ALLOC]
    logical = sorted((slot.table_num, slot.slot_num) for slot in allocated if slot.table_num > 0)
    block = volume.info.block_size
    for slot in allocated:
        if table == "MBR" and slot.table_num > 0:
            part = _FIRST_LOGICAL + logical.index((slot.table_num, slot.slot_num))
        else:
            part = slot.slot_num + 1
        name = slot.desc.decode("utf-8", "backslashreplace").strip()
        description = f"{table} {name}".strip()
        yield Slot(part, slot.start * block, slot.len * block, description, slot.desc.startswith(_OWN_SLOTS))
