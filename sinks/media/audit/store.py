"""I6, I7 and I8: the store's files against the rows of blobs."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from sinks.media.audit.contents import Fault, FaultKind, blob_rows, check, media_of
from sinks.media.audit.violations import Code, Mend, Violation, again
from sinks.schema import media_blobs
from tallystick.errors import ServiceError
from tallystick.storage.store import Blob, Store, Stray

T = TypeVar("T")
_BATCH = 500


class StoreLook(msgspec.Struct):
    """What an audit has seen of the store so far, and how many bad blobs each medium has."""

    blobs: int = 0
    files: int = 0
    bad: dict[str, int] = {}


def require_store(connection: sa.Connection, store: Store) -> None:
    """Raise ServiceError where the store can't be looked at: the folder is not there, but the database has blobs."""
    some = connection.scalar(sa.select(media_blobs.c.blobid).limit(1))
    if some is not None and not store.root.is_dir():
        raise ServiceError(
            f"the store {store.root} is not there, but the database has blobs: mount it, or set media.store"
        )


def check_blobs(
    connection: sa.Connection, store: Store, look: StoreLook, ids: Sequence[str] | None = None
) -> Iterator[Violation]:
    """Yield I6 and I7: blobs whose file is missing or has another size. Digests are for `tally media verify`."""
    for batch in _batches(blob_rows(connection, ids)):
        look.blobs += len(batch)
        faults = [fault for row in batch if (fault := check(store, row, digest=False))]
        yield from _told(connection, faults, look)


def _told(connection: sa.Connection, faults: Sequence[Fault], look: StoreLook) -> Iterator[Violation]:
    users = media_of(connection, [fault.blobid for fault in faults]) if faults else {}
    for fault in faults:
        of = users.get(fault.blobid, {})
        for medium, number in of.items():
            look.bad[medium] = look.bad.get(medium, 0) + number
        missing = fault.kind is FaultKind.MISSING
        code = Code.BLOB_WITHOUT_FILE if missing else Code.FILE_DIFFERS
        what = f"{fault.detail}; {sum(of.values()):,} files of {len(of):,} media need it"
        only = next(iter(of)) if len(of) == 1 else ""
        mend = Mend.HEAL if of else Mend.PERSON
        advice = again(only).strip() if of else "no file needs it: see whether it was lost on purpose"
        yield Violation(code, what, fault.path, mend, advice, medium=only, blob=fault.blobid)


def unknown_contents(
    connection: sa.Connection, store: Store, look: StoreLook, *, known_since: Callable[[Sequence[str]], set[str]]
) -> Iterator[Violation]:
    """Yield I8: files of the store without a row. `known_since` says which of some have got a row meanwhile."""
    if not store.root.is_dir():
        return
    for batch in _batches(store.entries()):
        look.files += len(batch)
        blobs = [entry.blobid for entry in batch if isinstance(entry, Blob)]
        orphans = set(blobs) - known_blobs(connection, blobs)
        orphans -= known_since(sorted(orphans)) if orphans else set()
        for entry in batch:
            if isinstance(entry, Stray):
                path = str(store.root / os.fsdecode(entry.path))
                yield _unknown("no blob, but it lies among them", path, "see what it is, and put it elsewhere")
            elif entry.blobid in orphans:
                what = f"{entry.size:,} bytes that no row of media_blobs knows"
                advice = "nothing is lost by it: the next copy of a file with this content takes it up"
                yield _unknown(what, str(store.path(entry.blobid)), advice, blob=entry.blobid)


def known_blobs(connection: sa.Connection, blobids: Sequence[str]) -> set[str]:
    """Return those of `blobids` that have a row."""
    return set(connection.scalars(sa.select(media_blobs.c.blobid).where(media_blobs.c.blobid.in_(blobids))))


def _unknown(what: str, where: str, advice: str, *, blob: str = "") -> Violation:
    return Violation(Code.FILE_WITHOUT_BLOB, what, where, Mend.PERSON, advice, blob=blob)


def _batches(found: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(found)
    while batch := list(islice(rest, _BATCH)):
        yield batch
