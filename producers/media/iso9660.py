"""ISO 9660, with the names that its extensions give: Rock Ridge, else Joliet, else its own.

libtsk knows nothing of Rock Ridge: it would cut `Long File Name.document` to `LONG_FIL.DOC` and take links for files.
Sources: ECMA-119 (7, 8.4, 9.1); IEEE P1281 (SUSP: SP, CE, ST) and P1282 (RRIP: PX, PN, SL, NM, CL, RE, TF); the Joliet
Specification. Numbers stand in both byte orders; the little-endian ones are read.

An inode is where its first directory record stands, in bytes of the file system, as on Linux.
"""

import calendar
import stat
import struct
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from producers.media.damage import Range
from producers.media.types import LETTERS

SECTOR: Final = 2048
_FIRST_DESCRIPTOR: Final = 16
_MAX_DESCRIPTORS: Final = 64
_ROOT_AT: Final = 156
_ESCAPES_AT: Final = 88
_JOLIET: Final = (b"%/@", b"%/C", b"%/E")
_RECORD: Final = struct.Struct("<BBI4xI4x7sBBB4xB")
_FOLDER, _ASSOCIATED, _GOES_ON = 0x02, 0x04, 0x80
_MAX_FOLDER_BYTES: Final = 1 << 28
_MAX_CONTINUATIONS: Final = 64
_MAX_CONTINUED_BYTES: Final = 1 << 16
_MONTHS: Final = 12
_NAME_GOES_ON, _HERE, _ABOVE, _TOP = 1, 2, 4, 8


class IsoEntry(msgspec.Struct, frozen=True):
    """What a directory record says, with what extensions add. `mode` is -1, and so are owners, where nothing says."""

    ino: int
    name: bytes
    type: str
    size: int
    extents: tuple[Range, ...]
    mtime: int
    mode: int = -1
    nlink: int = 1
    uid: int = -1
    gid: int = -1
    device: tuple[int, int] = (0, 0)
    target: bytes = b""


class _Record(msgspec.Struct, frozen=True):
    """A directory record. `start` is where the data begins; `more` is the area of extensions."""

    at: int
    start: int
    size: int
    date: bytes
    flags: int
    name: bytes
    more: bytes


class Iso:
    """An ISO 9660 that `read(offset, size)` reads; it returns fewer bytes where the medium ends."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        """Raise OSError where there is none."""
        self._read = read
        primary, joliet = self._descriptors()
        self._skip = self._extensions(primary)
        self.flavour = "Rock Ridge" if self._skip is not None else "Joliet" if joliet else "plain"
        chosen = joliet if self.flavour == "Joliet" and joliet else primary
        self.root = self._entry([chosen])

    def folder(self, folder: IsoEntry) -> Iterator[IsoEntry]:
        """Yield what is in a folder. Raises OSError where its records can't be read."""
        together: list[_Record] = []
        for record in self._records(folder):
            together.append(record)
            if record.flags & _GOES_ON:
                continue
            if record.name not in (b"\0", b"\1") and not record.flags & _ASSOCIATED and not self._is_moved(record):
                yield self._entry(together)
            together = []

    def entry(self, ino: int) -> IsoEntry:
        """Return the entry whose first record stands at `ino`. Raises OSError where none does."""
        together: list[_Record] = []
        for record in self._from(ino):
            together.append(record)
            if not record.flags & _GOES_ON:
                return self._entry(together)
        raise OSError(f"there is no directory record at byte {ino}")

    def _descriptors(self) -> tuple[_Record, _Record | None]:
        """Return the root records of the primary volume, and of the one with Joliet's names."""
        primary: _Record | None = None
        joliet: _Record | None = None
        for sector in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + _MAX_DESCRIPTORS):
            found = self._exactly(sector * SECTOR, SECTOR)
            if found[1:6] != b"CD001" or found[0] == 0xFF:
                break
            root = self._record(found, _ROOT_AT, sector * SECTOR)
            if found[0] == 1 and primary is None:
                primary = root
            elif found[0] == 2 and found[_ESCAPES_AT : _ESCAPES_AT + 3] in _JOLIET:
                joliet = root
        if primary is None:
            raise OSError("there is no primary volume descriptor")
        return primary, joliet

    def _extensions(self, root: _Record) -> int | None:
        """Return how many bytes to skip before the extensions of each record; None where there is no Rock Ridge."""
        first = next(self._records(_folder_of(root)), None)
        if first is None:
            return None
        fields = dict(_cut(first.more))
        if (mark := fields.get(b"SP")) is None or mark[4:6] != b"\xbe\xef":
            return None
        rock_ridge = {b"PX", b"RR", b"TF", b"NM"}
        return mark[6] if any(name in rock_ridge for name, _ in self._fields(first, 0)) else None

    def _exactly(self, at: int, size: int) -> bytes:
        found = self._read(at, size)
        if len(found) < size:
            raise OSError(f"the medium ends at byte {at + len(found)}, in the midst of what is read")
        return found

    def _records(self, folder: IsoEntry) -> Iterator[_Record]:
        """Yield all records of a folder, `.` and `..` too."""
        if folder.size > _MAX_FOLDER_BYTES:
            raise OSError(f"a folder can't have {folder.size} bytes")
        for extent in folder.extents:
            data = self._exactly(extent.start, extent.end - extent.start)
            for sector in range(0, len(data), SECTOR):
                yield from self._sector(data[sector : sector + SECTOR], 0, extent.start + sector)

    def _from(self, ino: int) -> Iterator[_Record]:
        """Yield the records from one on, as far as they may belong together."""
        at = ino - ino % SECTOR
        yield from self._sector(self._exactly(at, SECTOR), ino % SECTOR, at)
        while True:
            at += SECTOR
            yield from self._sector(self._exactly(at, SECTOR), 0, at)

    def _sector(self, data: bytes, at: int, base: int) -> Iterator[_Record]:
        while at < len(data) and data[at]:
            yield self._record(data, at, base)
            at += data[at]

    def _record(self, data: bytes, at: int, base: int) -> _Record:
        end = at + data[at]
        if end > len(data) or data[at] < _RECORD.size + 1:
            raise OSError(f"the directory record at byte {base + at} is damaged")
        _, before, block, size, date, flags, _, _, length = _RECORD.unpack_from(data, at)
        name_at = at + _RECORD.size
        more_at = name_at + length + (1 - length % 2)
        if name_at + length > end:
            raise OSError(f"the directory record at byte {base + at} is damaged")
        name = data[name_at : name_at + length]
        return _Record(base + at, (block + before) * SECTOR, size, date, flags, name, data[more_at:end])

    def _fields(self, record: _Record, skip: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the extensions of a record by their names, wherever they go on."""
        area = record.more[skip:]
        for _ in range(_MAX_CONTINUATIONS):
            following = b""
            for name, field in _cut(area):
                if name == b"CE" and len(field) >= 28:
                    block, offset, length = struct.unpack_from("<I4xI4xI", field, 4)
                    if length > _MAX_CONTINUED_BYTES:
                        raise OSError(f"the extensions of the directory record at byte {record.at} are damaged")
                    following = self._exactly(block * SECTOR + offset, length)
                else:
                    yield name, field
            if not following:
                return
            area = following
        raise OSError(f"the extensions of the directory record at byte {record.at} have no end")

    def _is_moved(self, record: _Record) -> bool:
        """Return whether a folder is listed elsewhere, too, where it belongs."""
        return self._skip is not None and any(name == b"RE" for name, _ in self._fields(record, self._skip))

    def _entry(self, together: list[_Record]) -> IsoEntry:
        first = together[0]
        extents = tuple(Range(part.start, part.start + part.size) for part in together if part.size)
        plain = IsoEntry(
            ino=first.at,
            name=_joliet(first.name) if self.flavour == "Joliet" else _plain(first.name),
            type="d" if first.flags & _FOLDER else "f",
            size=sum(part.size for part in together),
            extents=extents,
            mtime=_time(first.date),
        )
        if self._skip is None:
            return plain
        more = _RockRidge()
        # The root's own record has no extensions; those of the root are in its `.`.
        described = next(self._records(plain)) if first.name == b"\0" else first
        for name, field in self._fields(described, self._skip):
            more.take(name, field)
        if more.elsewhere is not None:
            moved = self._record(self._exactly(more.elsewhere * SECTOR, SECTOR), 0, more.elsewhere * SECTOR)
            plain = msgspec.structs.replace(_folder_of(moved), ino=first.at, name=plain.name)
        return more.applied(plain)


class _RockRidge:
    """Gathers what the extensions of one record say."""

    def __init__(self) -> None:
        self.elsewhere: int | None = None
        self._name, self._target = b"", _Target()
        self._mtime: int | None = None
        self._attributes: tuple[int, int, int, int] | None = None
        self._device = (0, 0)

    def take(self, name: bytes, field: bytes) -> None:
        """Take one field; those that are too short say nothing."""
        if name == b"NM" and len(field) > 5 and not field[4] & (_HERE | _ABOVE):
            self._name += field[5:]
        elif name == b"PX" and len(field) >= 36:
            self._attributes = struct.unpack_from("<I4xI4xI4xI", field, 4)
        elif name == b"PN" and len(field) >= 20:
            self._device = struct.unpack_from("<I4xI", field, 4)
        elif name == b"SL" and len(field) > 5:
            self._target.take(field)
        elif name == b"CL" and len(field) >= 12:
            self.elsewhere = int.from_bytes(field[4:8], "little")
        elif name == b"TF" and len(field) > 5:
            self._mtime = _modified(field)

    def applied(self, plain: IsoEntry) -> IsoEntry:
        """Return `plain` with what was gathered."""
        name = self._name or plain.name
        mtime = plain.mtime if self._mtime is None else self._mtime
        if self._attributes is None:
            return msgspec.structs.replace(plain, name=name, mtime=mtime)
        mode, nlink, uid, gid = self._attributes
        letter = LETTERS.get(stat.S_IFMT(mode), plain.type)
        target = self._target.text if letter == "l" else b""
        return msgspec.structs.replace(
            plain,
            name=name,
            type=letter,
            size=len(target) if letter == "l" else plain.size,
            extents=plain.extents if letter in "fd" else (),
            mtime=mtime,
            mode=stat.S_IMODE(mode),
            nlink=nlink,
            uid=uid,
            gid=gid,
            device=self._device,
            target=target,
        )


class _Target:
    """Puts the target of a link together from its components, which may go on in a further field."""

    def __init__(self) -> None:
        self._components: list[bytes] = []
        self._open = False

    def take(self, field: bytes) -> None:
        """Take one SL field."""
        at = 5
        while at + 2 <= len(field):
            flags, length = field[at], field[at + 1]
            text = {_HERE: b".", _ABOVE: b"..", _TOP: b""}.get(flags & (_HERE | _ABOVE | _TOP))
            text = field[at + 2 : at + 2 + length] if text is None else text
            if self._open:
                self._components[-1] += text
            else:
                self._components.append(text)
            self._open = bool(flags & _NAME_GOES_ON)
            at += 2 + length

    @property
    def text(self) -> bytes:
        """The target."""
        return b"/".join(self._components) or (b"/" if self._components else b"")


def _cut(area: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the fields of an area of extensions, whole, by their names."""
    at = 0
    while at + 4 <= len(area) and area[at + 2] >= 4 and at + area[at + 2] <= len(area):
        name = area[at : at + 2]
        if name == b"ST":
            return
        yield name, area[at : at + area[at + 2]]
        at += area[at + 2]


def _folder_of(record: _Record) -> IsoEntry:
    extent = Range(record.start, record.start + record.size)
    return IsoEntry(record.at, b"", "d", record.size, (extent,), _time(record.date))


def _plain(name: bytes) -> bytes:
    """Return a name of ISO 9660 without its version, and without the dot of an extension that is empty."""
    return name.partition(b";")[0].removesuffix(b".")


def _joliet(name: bytes) -> bytes:
    text = name.decode("latin-1") if len(name) % 2 else name.decode("utf-16-be", "surrogatepass")
    return text.partition(";")[0].encode("utf-8", "surrogatepass")


def _time(date: bytes) -> int:
    """Return the seconds of seven bytes: year after 1900, month, day, hour, minute, second, quarter hours from UTC."""
    year, month, day, hour, minute, second = date[:6]
    quarters = int.from_bytes(date[6:], "big", signed=True)
    if not 1 <= month <= _MONTHS or not day:
        return 0
    return calendar.timegm((1900 + year, month, day, hour, minute, second)) - quarters * 900


def _modified(field: bytes) -> int | None:
    """Return the time of modification in a TF field, which comes after that of creation; None where there is none."""
    flags = field[4]
    if not flags & 0x02:
        return None
    if not flags & 0x80:
        date = field[5 + 7 * (flags & 0x01) :][:7]
        return _time(date) if len(date) == 7 else None
    long = field[5 + 17 * (flags & 0x01) :][:17]
    digits = long[:14]
    if len(long) < 17 or not digits.isdigit():
        return None
    year, month, *rest = int(digits[:4]), *(int(digits[at : at + 2]) for at in range(4, 14, 2))
    if not year or not 1 <= month <= _MONTHS or not rest[0]:
        return None
    return calendar.timegm((year, month, *rest)) - int.from_bytes(long[16:], "big", signed=True) * 900
