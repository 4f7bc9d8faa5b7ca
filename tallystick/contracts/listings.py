r"""Listings: what was found on a medium as a file, ntt's `.raw`, and the JSON beside it that tells whether it is whole.

A listing is what `find MOUNT -xdev -printf '%y\034%D\034%i\034%n\034%s\034%Ts\034%p\0'` writes: records that each end
with a NUL byte; in a record seven fields, joined by the byte 0x1C:

| field   | content                                                                     |
|---------|-----------------------------------------------------------------------------|
| `type`  | `f` file, `d` folder, `l` link, `p` fifo, `s` socket, `c` and `b` devices   |
| `dev`   | number of the device; each is one file system                               |
| `ino`   | inode                                                                       |
| `nlink` | how many names the inode has                                                |
| `size`  | bytes                                                                       |
| `mtime` | seconds since 1970, may be negative                                         |
| `path`  | absolute, below the mount point; last, since it may hold 0x1C and line ends |

(Source: bin/ntt-enum and ntt-loader of github.com/vm-wylbur/ntt.) Records are counted by NUL bytes, never by lines.
"""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

import msgspec

from tallystick.contracts.media import Found, Problem
from tallystick.errors import ContractError

TYPES: Final = "fdlpscb"
"""The types of files that a listing may hold."""
END: Final = b"\0"
MAX_RECORD_BYTES: Final = 1 << 20
"""No record may be longer, so that a file which is no listing can't fill the memory."""

_FIELDS = 7
_INT64 = (1 << 63) - 1
_NUMBER = re.compile(rb"-?[0-9]+")
_RECORD = re.compile(
    rb"([fdlpscb])\x1c([0-9]{1,18})\x1c([0-9]{1,18})\x1c([0-9]{1,18})\x1c([0-9]{1,18})\x1c(-?[0-9]{1,18})\x1c(/.*)",
    re.DOTALL,
)
"""A record whose numbers surely fit into 64 bits. What does not match is looked at field by field."""


class Fault(StrEnum):
    """What can be wrong with a listing."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    SHORT_RECORD = "short_record"
    LONG_RECORD = "long_record"
    BAD_NUMBER = "bad_number"
    NUMBER_TOO_LARGE = "number_too_large"
    UNKNOWN_TYPE = "unknown_type"
    RELATIVE_PATH = "relative_path"
    PATH_CONFLICT = "path_conflict"
    NOT_AS_ITS_SIDECAR_SAYS = "not_as_its_sidecar_says"


class ListingError(ContractError):
    """A listing is not as it must be. `fault` is the kind, `offset` the byte at which the record in question begins."""

    def __init__(self, fault: Fault, offset: int, what: str) -> None:
        super().__init__(f"{what}, in the record at byte {offset} of the listing: enumerate the medium again")
        self.fault, self.offset = fault, offset


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as it stands in a listing. `at` is the byte at which it begins."""

    type: str
    dev: int
    ino: int
    nlink: int
    size: int
    mtime: int
    path: bytes
    at: int


def encode(found: Found, *, mount: bytes) -> bytes:
    """Return the record of `found`, whose file system was mounted at `mount`, with the NUL that ends it.

    Raises ValueError where the path holds a NUL byte, which no file system allows.
    """
    path = (mount or b"/") if found.path == b"." else b"%b/%b" % (mount.rstrip(b"/"), found.path)
    if END in path:
        raise ValueError(f"a path holds a NUL byte: {path!r}")
    return b"%b\x1c%d\x1c%d\x1c%d\x1c%d\x1c%d\x1c%b\0" % (
        found.type.encode(),
        found.dev,
        found.ino,
        found.nlink,
        found.size,
        found.mtime,
        path,
    )


class Parser:
    """Cuts a listing into records, whatever the chunks that it comes in. Holds no more than a chunk and a record."""

    def __init__(self) -> None:
        self.records = 0
        """How many records were returned."""
        self._at = 0
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[Record]:
        """Yield the records that end in `chunk`; exhaust it before the next one. Raises ListingError."""
        *whole, self._rest = (self._rest + chunk).split(END)
        for text in whole:
            record = _parse(text, self._at)
            self._at += len(text) + 1
            self.records += 1
            yield record
        if len(self._rest) > MAX_RECORD_BYTES:
            raise ListingError(Fault.LONG_RECORD, self._at, f"no NUL byte within {MAX_RECORD_BYTES} bytes")

    def close(self) -> None:
        """Say that the listing ends here. Raises ListingError where it does not end with a NUL byte."""
        if self._rest:
            raise ListingError(Fault.TRUNCATED, self._at, "the listing ends without a NUL byte")


def parse(chunks: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of a listing. Raises ListingError. Paths may repeat."""
    parser = Parser()
    for chunk in chunks:
        yield from parser.feed(chunk)
    parser.close()


def _parse(text: bytes, at: int) -> Record:
    found = _RECORD.fullmatch(text)
    if found is None:
        return _parse_slowly(text, at)
    kind, dev, ino, nlink, size, mtime, path = found.groups()
    return Record(kind.decode(), int(dev), int(ino), int(nlink), int(size), int(mtime), path, at)


def _parse_slowly(text: bytes, at: int) -> Record:
    """Return the record that `text` holds where its numbers are long, else raise ListingError for what is wrong."""
    fields = text.split(b"\x1c", _FIELDS - 1)
    if len(fields) < _FIELDS:
        raise ListingError(Fault.SHORT_RECORD, at, f"{len(fields)} fields where there must be {_FIELDS}")
    kind, *numbers, path = fields
    if len(kind) != 1 or kind not in TYPES.encode():
        raise ListingError(Fault.UNKNOWN_TYPE, at, f"the type is {kind[:20]!r}, which is none of {', '.join(TYPES)}")
    dev, ino, nlink, size, mtime = (_number(name, digits, at) for name, digits in zip(_NUMBERS, numbers, strict=True))
    if not path.startswith(b"/"):
        raise ListingError(Fault.RELATIVE_PATH, at, f"the path {path[:200]!r} does not begin with a slash")
    return Record(kind.decode(), dev, ino, nlink, size, mtime, path, at)


_NUMBERS = ("dev", "ino", "nlink", "size", "mtime")


def _number(name: str, digits: bytes, at: int) -> int:
    if not _NUMBER.fullmatch(digits) or (name != "mtime" and digits.startswith(b"-")):
        raise ListingError(Fault.BAD_NUMBER, at, f"{name} is {digits[:40]!r}, which is no number")
    if len(digits) > len(str(_INT64)) + 1 or not -_INT64 - 1 <= int(digits) <= _INT64:
        raise ListingError(
            Fault.NUMBER_TOO_LARGE, at, f"{name} is {digits[:40].decode()}, too large for 64 bits with a sign"
        )
    return int(digits)


class FileSystem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file system that an enumeration has opened, or a folder that it went through.

    `kind` is its name, such as `ext4`; `offset` and `size` are in bytes of the medium, 0 for folders and listings.
    """

    part: int
    kind: str
    offset: int = 0
    size: int = 0
    description: str = ""


class Sidecar(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside `<medium>.raw`, as `<medium>.raw.json`: how the listing must be, and how it came about.

    `counts` are the RECORD_COUNTS, `digest` the `set_digest` of what was found, `blake3` that of the listing's bytes.
    Of the `problems` at most SIDECAR_PROBLEMS are kept; their number is in `counts`, by kind in `problem_kinds`.
    `source` is the digest of the image, empty where there is none; `rules` that of the rules; `tools` are versions.
    """

    medium: str
    attempt: int
    records: int
    bytes: int
    blake3: str
    digest: str
    counts: dict[str, int]
    problem_kinds: dict[str, int] = {}
    problems: tuple[Problem, ...] = ()
    file_systems: tuple[FileSystem, ...] = ()
    rules: str = ""
    source: str = ""
    tools: dict[str, str] = {}
    evidence: dict[str, str] = {}


SIDECAR_PROBLEMS: Final = 1000

encode_sidecar = msgspec.json.Encoder().encode
decode_sidecar = msgspec.json.Decoder(Sidecar).decode


class Written(msgspec.Struct, frozen=True):
    """What a listing was found to be: its records, its bytes, and their BLAKE3."""

    records: int
    bytes: int
    blake3: str


def compare(sidecar: Sidecar, written: Written) -> None:
    """Raise ListingError where a listing is not the one that its sidecar tells of."""
    for name, expected, found in (
        ("bytes", sidecar.bytes, written.bytes),
        ("records", sidecar.records, written.records),
        ("blake3", sidecar.blake3, written.blake3),
    ):
        if expected != found:
            what = f"{name} are {found}, but the sidecar says {expected}"
            raise ListingError(Fault.NOT_AS_ITS_SIDECAR_SAYS, written.bytes, what)
