"""Media: a disk, an image, a folder or a listing, what is found on it, what was copied, and where all of that lies.

Paths of files are bytes below the root of their file system, without a slash at either end; the root itself is `.`.
JSON carries bytes as base64. Types are the letters of `find -printf %y`.

Slices of media (`contracts/slices.py`, schema `media/1`) have a header more, `attempt`: the attempt at ingesting the
medium that the lines are of, decimal. Their positions are the numbers of the lines, from 0 in each attempt.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
from blake3 import blake3

from tallystick.contracts import slices
from tallystick.contracts.pipelines import Balance, Inspected, Pipeline, Stage
from tallystick.contracts.slices import Headers
from tallystick.contracts.topics import Topic
from tallystick.errors import ContractError

SCHEMA = b"media/1"


class Form(StrEnum):
    """What a medium was taken from, which decides its pipeline."""

    DEVICE = "device"
    IMAGE = "image"
    TREE = "tree"
    LISTING = "listing"

    @property
    def kind(self) -> str:
        """The kind of source."""
        return f"media.{self.value}"


MEDIA = Topic(
    name="media.media",
    key="medium",
    value="Medium",
    owner="producers/media",
    summary="Every medium that was identified: what it is, and where it lies.",
    cleanup="compact",
)
INODES = Topic(
    name="media.inodes",
    key="medium",
    value="Slice of JSON lines, each a Found or a Problem",
    owner="producers/media",
    summary="Every path that an enumeration found on a medium, and every place that it could not read.",
)
BLOBS = Topic(
    name="media.blobs",
    key="medium",
    value="Slice of JSON lines, each a Copied",
    owner="producers/media",
    summary="What became of every file: the digest of its content in the store, or why it could not be copied.",
)
RUNS = Topic(
    name="media.runs",
    key="medium",
    value="Run",
    owner="producers/media",
    summary="Every process that worked on a stage of a medium: when, how it ended, what it had to show.",
)
TOPICS = (MEDIA, INODES, BLOBS, RUNS)

MediumId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$", max_length=32)]
"""32 hexadecimal digits: see `medium_id`."""


class Medium(msgspec.Struct, frozen=True, omit_defaults=True):
    """A medium as `attempt` identified it: the value of `media.media`.

    `root` is the device, image file, folder or listing; `image` the file that holds its bytes (a device's may still
    have to be made), `map` what ddrescue left beside it; both are empty where there is none. `digest` is the BLAKE3 of
    the whole image or listing, empty for devices and folders. `size` is in bytes. `acknowledged` says why losses are
    accepted, empty where they are not. `grows` allows an enumeration that differs from the last one.
    """

    medium: MediumId
    form: Form
    attempt: int
    name: str
    root: bytes
    at: str
    image: bytes = b""
    map: bytes = b""
    size: int = 0
    digest: str = ""
    model: str = ""
    serial: str = ""
    message: str = ""
    acknowledged: str = ""
    grows: bool = False


class Found(msgspec.Struct, frozen=True, omit_defaults=True, tag="found", tag_field="event", gc=False):
    """One path of a medium.

    `part` tells the file systems of a medium apart: 0 is the one at offset 0 (or a folder's own device), others are
    numbers of partitions. Of an inode with several paths all records agree in what belongs to the inode.
    `mtime` is in seconds, may be negative; `mtime_ns` are the nanoseconds in it. `allocated` bytes are fewer than
    `size` in a sparse file, -1 where it is not known. `excluded` is `pattern:<id>` where a rule excludes the path.
    `marks` are words of `Mark`.
    """

    part: int
    ino: int
    type: str
    nlink: int
    size: int
    mtime: int
    path: bytes
    dev: int = 0
    mtime_ns: int = 0
    allocated: int = -1
    mode: int = -1
    uid: int = -1
    gid: int = -1
    rdev: int = 0
    target: bytes = b""
    excluded: str = ""
    marks: tuple[str, ...] = ()


class Mark(StrEnum):
    """What must be known of a file beside its attributes."""

    METADATA = "fs_metadata"
    """The file system made it for itself, such as `$MFT`."""
    DAMAGED = "damaged"
    """Some of its bytes lie where the medium could not be read, so they were filled with zeros."""


class ProblemKind(StrEnum):
    """What an enumeration could not do."""

    FOLDER_UNREADABLE = "dir_error"
    ATTRIBUTES_UNREADABLE = "stat_error"
    INODE_UNREACHABLE = "unreachable_inode"
    FILE_DAMAGED = "damaged"
    FILE_SYSTEM_UNSUPPORTED = "unsupported_fs"
    PARTITION_UNREADABLE = "partition_unreadable"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, tag="problem", tag_field="event", gc=False):
    """One place of a medium that could not be read as it should."""

    part: int
    kind: ProblemKind
    detail: str
    path: bytes = b""
    ino: int = 0


Entry = Found | Problem
"""A line of `media.inodes`."""


class CopyStatus(StrEnum):
    """What became of a file."""

    SUCCESS = "success"
    RETRYABLE = "failed_retryable"
    PERMANENT = "failed_permanent"


class CopyError(StrEnum):
    """Why a file could not be copied."""

    PATH = "path_error"
    IO = "io_error"
    HASH = "hash_error"
    PERMISSION = "permission_error"
    CHANGED = "changed_while_read"
    UNKNOWN = "unknown"


class Copied(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of the content of one inode: a line of `media.blobs`.

    `run` is the fencing token of the process that copied: the word of a later one counts. `path` is the one that was
    read. `blobid` is the BLAKE3 of the content, `sha256` its SHA-256; both are empty unless it is a success, and the
    latter where it is not known, as of an import. `created` says that the store did not have it before. `size` are the
    bytes that were read, `mtime` and `mtime_ns` the inode's at that time, as in `Found`; where `mtime` is None, a file
    that has changed since is only told by its size.
    """

    part: int
    ino: int
    run: int
    status: CopyStatus
    at: str
    path: bytes = b""
    blobid: str = ""
    sha256: str = ""
    size: int = 0
    mtime: int | None = None
    mtime_ns: int = 0
    created: bool = False
    error: CopyError | None = None
    detail: str = ""
    tries: int = 1


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """A process that worked on a stage: the value of `media.runs`, once when it began and once when it ended.

    `run` is its fencing token, which only ever grows for a medium. `exit_code` is negative for a signal, None while it
    runs. `seconds` are of a monotonic clock. `evidence` is what it had to show, beside `counts`.
    """

    medium: MediumId
    run: int
    stage: str
    attempt: int
    worker: str
    started_at: str
    ended_at: str = ""
    seconds: float = 0.0
    exit_code: int | None = None
    detail: str = ""
    counts: dict[str, int] = {}
    evidence: dict[str, str] = {}


class ExitCode:
    """What the exit code of every media command says. Any other is a failure."""

    DONE = 0
    OTHER = 1
    USAGE = 2
    LOSSES = 3
    """Done, with losses that are recorded."""
    PRECONDITION = 4
    LOCKED = 5
    """Another run holds the medium."""
    UNVERIFIED = 6
    """What was claimed was not found."""
    MALFORMED = 7
    INTERRUPTED = 130


CLAIMING = (ExitCode.DONE, ExitCode.LOSSES)
"""The exit codes of a stage's process with which it may claim."""

IDENTIFIED, IMAGED, ENUMERATED, LOADED, COPIED, ARCHIVED = (
    "identified",
    "imaged",
    "enumerated",
    "loaded",
    "copied",
    "archived",
)
RECORD_COUNTS = ("records", "inodes", "files", "folders", "links", "others", "excluded", "problems")
"""What an enumeration claims: paths, distinct inodes, paths by type, paths that rules exclude, problems."""
ENUMERATION_LOSSES = ("problems",)
COPY_COUNTS = ("inodes", "copied", "failed", "excluded", "bytes")
"""What a copy claims: regular inodes, how many of them are in the store, failed, need no copy; bytes in the store."""
COPY_LOSSES = ("failed",)
IMAGE_COUNTS = ("bytes", "bad_bytes")
"""What an imager claims: the size of the image, and how much of it could not be read."""
IMAGE_LOSSES = ("bad_bytes",)
ARCHIVE_COUNTS = ("members", "bytes", "archive_bytes")
"""What an archive claims: its members, their bytes together, and its own size."""

_IMAGED = Stage(IMAGED, Inspected(claim=IMAGED, counts=IMAGE_COUNTS, losses=IMAGE_LOSSES))
_REST = (
    Stage(ENUMERATED, Inspected(claim=ENUMERATED, counts=RECORD_COUNTS, losses=ENUMERATION_LOSSES)),
    Stage(LOADED, Inspected(claim=ENUMERATED, counts=RECORD_COUNTS, observers=(("media_inodes", INODES.name),))),
    Stage(
        COPIED,
        Inspected(claim=COPIED, counts=COPY_COUNTS, losses=COPY_LOSSES, observers=(("media_copies", BLOBS.name),)),
    ),
    Stage(ARCHIVED, Inspected(claim=ARCHIVED, counts=ARCHIVE_COUNTS)),
)
PIPELINES = tuple(
    Pipeline(
        kind=form.kind,
        stages=(Stage(IDENTIFIED, Balance()), *((_IMAGED,) if form is Form.DEVICE else ()), *_REST),
    )
    for form in Form
)


def medium_id(*, size: int, first: bytes, last: bytes, model: str = "", serial: str = "") -> str:
    """Return the id of a device or an image: the first 32 hex digits of a BLAKE3.

    Over `SIZE:n|MODEL:m|SERIAL:s|` and the first and last MiB, each padded with zeros to a full MiB: the second version
    of ntt's hash (github.com/vm-wylbur/ntt), so that media keep the names that they have there.
    """
    head = f"SIZE:{size}|MODEL:{model}|SERIAL:{serial}|".encode()
    return blake3(head + first.ljust(ENDS_BYTES, b"\0") + last.ljust(ENDS_BYTES, b"\0")).hexdigest()[:32]


ARCHIVE_SUFFIX, LISTING_SUFFIX, RESCUE_LOG_SUFFIX = ".tar.zst", ".raw", "-ddrescue.log"
"""What the names of a medium's archive, of its listing, and of what ddrescue had to say end with."""


def archive_name(medium: str) -> str:
    """Return the name of a medium's archive, in the folder of archives."""
    return medium + ARCHIVE_SUFFIX


def listing_name(medium: str) -> str:
    """Return the name of a medium's listing, in the folder of listings and in an archive."""
    return medium + LISTING_SUFFIX


ENDS_BYTES = 1024 * 1024
"""How much of either end of a medium goes into its id."""


def set_digest(records: Iterable[Found]) -> str:
    """Return the digest of a set of records, whatever their order: the sum of their BLAKE3 digests modulo 2^256.

    What is covered is what the database holds of each: part, inode, type, links, size, time, path. (AdHash: Bellare and
    Micciancio, "A New Paradigm for Collision-Free Hashing", 1997.)
    """
    total = 0
    for record in records:
        total += record_digest(record)
    return f"{total % _MODULUS:064x}"


_MODULUS = 1 << 256


def record_digest(record: Found) -> int:
    """Return what one record adds to `set_digest`."""
    text = b"%d %d %s %d %d %d %d %s" % (
        record.part,
        record.ino,
        record.type.encode(),
        record.nlink,
        record.size,
        record.mtime,
        record.mtime_ns,
        record.path,
    )
    return int.from_bytes(blake3(text).digest(), "big")


def entries_record(
    medium: str, *, attempt: int, low: int, positions: Sequence[int], entries: Sequence[Entry]
) -> tuple[bytes, Headers]:
    """Return value and headers of the record of `media.inodes` that carries `entries`; its key is the medium.

    `positions` are the entries' numbers in the enumeration, see `slices.encode`.
    """
    return _lines_record(medium, attempt, low, positions, entries)


def copies_record(
    medium: str, *, attempt: int, low: int, positions: Sequence[int], copies: Sequence[Copied]
) -> tuple[bytes, Headers]:
    """Return value and headers of the record of `media.blobs` that carries `copies`; its key is the medium.

    `positions` are the numbers of what the attempt's runs said, see `slices.encode`; one may come again.
    """
    return _lines_record(medium, attempt, low, positions, copies)


def _lines_record(
    medium: str, attempt: int, low: int, positions: Sequence[int], lines: Sequence[Entry | Copied]
) -> tuple[bytes, Headers]:
    value, headers = slices.encode(medium.encode(), SCHEMA, low, positions, [encode(line) for line in lines])
    return value, [*headers, (ATTEMPT, b"%d" % attempt)]


def attempt_of(headers: Headers) -> int:
    """Return the attempt that the lines of a slice are of. Raises ContractError where the headers don't tell."""
    found = dict(headers).get(ATTEMPT)
    if not isinstance(found, bytes) or not found.isdigit() or len(found) > _LONGEST_NUMBER:
        raise ContractError(f"not a slice of a medium: its header {ATTEMPT} is {found!r}, and must be a number")
    return int(found)


ATTEMPT = "attempt"
_LONGEST_NUMBER = 18
"""So many digits always are a number of 64 bits."""

encode = msgspec.json.Encoder().encode
decode_medium = msgspec.json.Decoder(Medium).decode
decode_entry = msgspec.json.Decoder(Found | Problem).decode
decode_copied = msgspec.json.Decoder(Copied).decode
decode_run = msgspec.json.Decoder(Run).decode
