"""One ISO 9660 of an image, folder by folder: see `iso9660` for why it isn't the library that reads it."""

import os
from collections.abc import Iterator
from typing import Final

from producers.media.damage import DamageMap
from producers.media.iso9660 import Iso, IsoEntry
from tallystick.contracts.listings import FileSystem
from tallystick.contracts.media import Entry, Found, Mark, Problem, ProblemKind


class IsoWalk:
    """Goes through one ISO 9660, once."""

    def __init__(self, iso: Iso, file_system: FileSystem, *, damage: DamageMap | None) -> None:
        self._iso, self._part, self._offset, self._damage = iso, file_system.part, file_system.offset, damage
        self._folders = {extent.start for extent in iso.root.extents}

    def __iter__(self) -> Iterator[Entry]:
        """Yield the records, parents before what is in them, and the problems."""
        stack: list[tuple[bytes, IsoEntry, Iterator[IsoEntry]]] = []
        yield from self._records(self._iso.root, b".")
        stack.append((b"", self._iso.root, self._iso.folder(self._iso.root)))
        while stack:
            prefix, folder, entries = stack[-1]
            path = prefix.removesuffix(b"/") or b"."
            try:
                entry = next(entries)
            except StopIteration:
                stack.pop()
                continue
            except OSError as error:
                stack.pop()
                yield Problem(self._part, ProblemKind.FOLDER_UNREADABLE, str(error), path, folder.ino)
                continue
            if entry.name in _NO_NAMES or b"/" in entry.name or b"\0" in entry.name:
                detail = f"{entry.name!r} can't be a name"
                yield Problem(self._part, ProblemKind.ATTRIBUTES_UNREADABLE, detail, path, entry.ino)
                continue
            below = prefix + entry.name
            yield from self._records(entry, below)
            if entry.type == "d" and entry.extents and entry.extents[0].start not in self._folders:
                self._folders.add(entry.extents[0].start)
                stack.append((below + b"/", entry, self._iso.folder(entry)))

    def _records(self, entry: IsoEntry, path: bytes) -> Iterator[Entry]:
        damaged = sum(self._hit(extent.start, extent.end - extent.start) for extent in entry.extents)
        yield Found(
            part=self._part,
            ino=entry.ino,
            type=entry.type,
            nlink=entry.nlink,
            size=entry.size,
            mtime=entry.mtime,
            path=path,
            dev=self._part,
            allocated=entry.size if entry.type == "f" else -1,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            rdev=_device(entry),
            target=entry.target,
            marks=(Mark.DAMAGED.value,) if damaged else (),
        )
        if damaged:
            detail = f"{damaged} of its bytes could not be read from the medium"
            yield Problem(self._part, ProblemKind.FILE_DAMAGED, detail, path, entry.ino)

    def _hit(self, start: int, length: int) -> int:
        return self._damage.hit(self._offset + start, length) if self._damage else 0


_NO_NAMES: Final = (b"", b".", b"..")


def _device(entry: IsoEntry) -> int:
    """Return the number of a device: the high word is its major number, or both are in the low one."""
    high, low = entry.device
    return os.makedev(high, low) if high else os.makedev(low >> 8, low & 0xFF)
