"""What the tests of media share: media at random, with hostile names, and records of them."""

from collections.abc import Iterable, Sequence
from random import Random

import sqlalchemy as sa

from sinks.media.copies import Copies
from sinks.media.inodes import Inodes
from sinks.media.media import Media
from sinks.sink import AnySink, Record
from sinks.writers import make_writer
from tallystick.contracts import media
from tallystick.contracts.media import (
    Copied,
    CopyError,
    CopyStatus,
    Entry,
    Form,
    Found,
    Mark,
    Medium,
    Problem,
    ProblemKind,
)
from tallystick.contracts.slices import Headers
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings

MEDIUM, OTHER = "da69350a" + "0" * 24, "da69350a" + "f" * 24
"""Two media whose ids begin alike."""
AT = "2026-11-25T12:00:00.000000Z"
HOSTILE = (
    b"a\nb",
    b"c\rd",
    b"\x1c",
    rb"\n",
    rb"\.",
    rb"\x41",
    b"\xff\xfe",
    b"\xed\xb3\xbf",
    "e\u0301".encode(),
    "\u00e9".encode(),
    b"-rf",
    b"#",
    b"\t'\";--",
    b"deep/" * 2_000 + b"end",
    bytes(range(1, 256)),
)
"""Names and paths that go wrong where they are taken for text; one is longer than an index entry of PostgreSQL."""


def medium(attempt: int = 1, *, id_: str = MEDIUM, form: Form = Form.IMAGE, **more: object) -> Medium:
    """Return a medium as `attempt` identified it."""
    fields = {"name": "disk", "root": b"/x/\xff.img", "image": b"/x/\xff.img", "size": 10, "at": AT} | more
    return Medium(id_, form, attempt, **fields)  # type: ignore[arg-type]


def file(ino: int, path: bytes, **more: object) -> Found:
    """Return a regular file."""
    fields = {"part": 0, "type": "f", "nlink": 1, "size": ino, "mtime": -ino} | more
    return Found(ino=ino, path=path, **fields)  # type: ignore[arg-type]


def random_entries(random: Random, count: int) -> list[Entry]:
    """Return what an enumeration may find: each path once, hard links, two parts with the same inode numbers."""
    names = [*HOSTILE, *(b"f%d" % number for number in range(count))]
    paths = random.sample(names, count)
    found: list[Entry] = []
    for path in paths:
        ino, part = random.randrange(1, count), random.randrange(2)
        kind = "fdl"[(ino + part) % 3]
        found.append(
            Found(
                part=part,
                ino=ino,
                type=kind,
                nlink=2,
                size=ino * 7,
                mtime=ino - 5,
                mtime_ns=ino,
                path=path,
                target=b"\xfe" if kind == "l" else b"",
                excluded="pattern:1" if len(path) % 3 == 0 else "",
                marks=(Mark.METADATA.value,) if ino % 5 == 0 else (),
            )
        )
    found += [Problem(0, ProblemKind.FOLDER_UNREADABLE, "why\x00", path, 3) for path in random.sample(HOSTILE, 3)]
    random.shuffle(found)
    return found


def copied(ino: int, run: int, *, part: int = 0, **more: object) -> Copied:
    """Return a success."""
    blobid = f"{ino:064x}"
    fields = {"status": CopyStatus.SUCCESS, "at": AT, "blobid": blobid, "sha256": blobid, "size": ino} | more
    return Copied(part, ino, run, **fields)  # type: ignore[arg-type]


def failed(ino: int, run: int, **more: object) -> Copied:
    """Return a failure."""
    fields = {"part": 0, "status": CopyStatus.RETRYABLE, "at": AT, "error": CopyError.IO, "path": b"\xff"} | more
    return Copied(ino=ino, run=run, **fields)  # type: ignore[arg-type]


def entries(found: Sequence[Entry], *, attempt: int = 1, id_: str = MEDIUM, first: int = 0) -> tuple[bytes, Headers]:
    """Return value and headers of a slice of `media.inodes`."""
    places = range(first, first + len(found))
    return media.entries_record(id_, attempt=attempt, low=first, positions=places, entries=found)


def copies(found: Sequence[Copied], *, attempt: int = 1, id_: str = MEDIUM, first: int = 0) -> tuple[bytes, Headers]:
    """Return value and headers of a slice of `media.blobs`."""
    places = range(first, first + len(found))
    return media.copies_record(id_, attempt=attempt, low=first, positions=places, copies=found)


def record(made: tuple[bytes, Headers], *, id_: str = MEDIUM) -> Record:
    """Return a record as a sink gets it."""
    return Record(0, 7, id_.encode(), *made)


def send_entries(
    publisher: Publisher,
    place: Settings,
    found: Sequence[Entry],
    *,
    attempt: int = 1,
    id_: str = MEDIUM,
    most: int = 50,
) -> None:
    """Send all that an enumeration found, in slices of `most` lines."""
    topic = place.kafka.topic(media.INODES)
    for first in range(0, len(found), most):
        value, headers = entries(found[first : first + most], attempt=attempt, id_=id_, first=first)
        publisher.send(topic, key=id_.encode(), value=value, headers=headers)
    publisher.flush()


def send_copies(publisher: Publisher, place: Settings, found: Sequence[Copied], *, id_: str = MEDIUM) -> None:
    """Send what became of files, as one slice."""
    value, headers = copies(found, id_=id_)
    publisher.send(place.kafka.topic(media.BLOBS), key=id_.encode(), value=value, headers=headers)
    publisher.flush()


def send_media(publisher: Publisher, place: Settings, found: Iterable[Medium]) -> None:
    """Send media."""
    for one in found:
        publisher.send(place.kafka.topic(media.MEDIA), key=one.medium.encode(), value=media.encode(one))
    publisher.flush()


def store(engine: sa.Engine, sink: AnySink, *records: Record) -> None:
    """Put records into the tables of `sink`, as its loop does."""
    with engine.begin() as connection:
        for found in records:
            sink.write(connection, sink.decode(found).entries)


def store_entries(engine: sa.Engine, *found: Entry, attempt: int = 1) -> None:
    """Store what an enumeration found."""
    store(engine, Inodes(make_writer(engine)), record(entries(found, attempt=attempt)))


def store_copies(engine: sa.Engine, *found: Copied) -> None:
    """Store what became of files."""
    store(engine, Copies(make_writer(engine)), record(copies(found)))


def store_media(engine: sa.Engine, *found: Medium) -> None:
    """Store media."""
    sink = Media(make_writer(engine))
    store(engine, sink, *(Record(0, 0, one.medium.encode(), media.encode(one), []) for one in found))
