"""The store against the rows of blobs: what is missing, what is wrong, what nobody knows, and whom it touches.

Everything streams: no more than a batch of rows, and a block of one content, is held at a time.
"""

import random
from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec
import sqlalchemy as sa

from sinks.schema import media, media_blobs, media_copies, media_inodes, media_paths
from tallystick.contracts.media import CopyStatus
from tallystick.errors import StorageError
from tallystick.storage.store import Store

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""What ntt calls the empty content, though all others go by their BLAKE3: read, never written."""

_BATCH = 500


class FaultKind(StrEnum):
    """What can be wrong with a blob."""

    MISSING = "missing"
    CORRUPT = "corrupt"
    UNREADABLE = "unreadable"


class BlobRow(msgspec.Struct, frozen=True):
    """A blob as the database knows it; `size` in bytes, None where it knows only that something was copied into it."""

    blobid: str
    size: int | None


class Fault(msgspec.Struct, frozen=True):
    """A blob that is not as it must be, and where it lies or should."""

    blobid: str
    kind: FaultKind
    detail: str
    path: str


class Touched(msgspec.Struct, frozen=True):
    """A path that a blob is the content of."""

    medium: str
    name: str
    part: int
    ino: int
    path: bytes
    excluded: str


class CopiedFile(msgspec.Struct, frozen=True):
    """An inode that was copied, as it was enumerated, with all its paths. `medium` is an id."""

    medium: str
    part: int
    ino: int
    dev: int
    size: int
    mtime: int
    mtime_ns: int
    paths: tuple[bytes, ...]


def check(store: Store, row: BlobRow, *, digest: bool) -> Fault | None:
    """Return what is wrong with a blob, None where nothing is. With `digest` all of it is read, else its size.

    What differs is looked at twice, as somebody may be mending it just now.
    """
    fault = _look(store, row, digest=digest)
    return _look(store, row, digest=digest) if fault else None


def _look(store: Store, row: BlobRow, *, digest: bool) -> Fault | None:
    try:
        path = str(store.path(row.blobid))
    except ValueError as error:
        return Fault(row.blobid, FaultKind.CORRUPT, str(error), "media_blobs")
    try:
        size = store.find(row.blobid)
        if size is None:
            return Fault(row.blobid, FaultKind.MISSING, "there is no such file", path)
        if row.size is not None and size != row.size:
            return Fault(row.blobid, FaultKind.CORRUPT, f"{size:,} bytes, {row.size:,} were stored", path)
        if digest and not (size == 0 and row.blobid == EMPTY_SHA256):
            found = store.verify(row.blobid)
            if found != row.blobid:
                return Fault(row.blobid, FaultKind.CORRUPT, f"its content has the digest {found}", path)
    except StorageError as error:
        return Fault(row.blobid, FaultKind.UNREADABLE, str(error), path)
    return None


def blob_rows(connection: sa.Connection, ids: Sequence[str] | None = None) -> Iterator[BlobRow]:
    """Yield all blobs, or those that the media with the given ids are copied into, by blob id, a page at a time."""
    after = ""
    while True:
        query = sa.select(media_blobs.c.blobid, media_blobs.c.size).where(media_blobs.c.blobid > after)
        if ids is not None:
            used = sa.exists().where(media_copies.c.blobid == media_blobs.c.blobid, media_copies.c.medium.in_(ids))
            query = query.where(used)
        page = connection.execute(query.order_by(media_blobs.c.blobid).limit(_BATCH)).all()
        if not page:
            return
        yield from (BlobRow(row.blobid, row.size) for row in page)
        after = page[-1].blobid


def sampled(rows: Iterator[BlobRow], *, share: float, seed: int) -> Iterator[BlobRow]:
    """Yield about `share` of `rows`, other ones with another `seed`; at least one, where there are any."""
    chance = random.Random(seed)  # noqa: S311 - which blobs are read is no secret
    first: BlobRow | None = None
    some = False
    for row in rows:
        first = first or row
        if chance.random() < share:
            some = True
            yield row
    if first is not None and not some:
        yield first


def media_of(connection: sa.Connection, blobids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return, by blob id, the media that are copied into it, with the number of their files."""
    found: dict[str, dict[str, int]] = {}
    copy = media_copies
    query = sa.select(copy.c.blobid, copy.c.medium, sa.func.count())
    query = query.where(copy.c.blobid.in_(blobids)).group_by(copy.c.blobid, copy.c.medium).order_by(copy.c.medium)
    for blobid, medium, number in connection.execute(query):
        found.setdefault(blobid, {})[medium] = number
    return found


def touched(connection: sa.Connection, blobid: str) -> Iterator[Touched]:
    """Yield every path of every medium whose content `blobid` is, by medium and path, a page at a time."""
    copy, path = media_copies, media_paths
    same = sa.and_(copy.c.medium == path.c.medium, copy.c.part == path.c.part, copy.c.ino == path.c.ino)
    query = (
        sa.select(path.c.medium, media.c.name, path.c.part, path.c.ino, path.c.path, path.c.excluded)
        .select_from(copy.join(path, same).join(media, media.c.medium == path.c.medium))
        .where(copy.c.blobid == blobid, copy.c.status == CopyStatus.SUCCESS.value)
        .order_by(path.c.medium, path.c.part, path.c.path)
    )
    for row in connection.execution_options(yield_per=_BATCH).execute(query):
        yield Touched(row.medium, row.name, row.part, row.ino, bytes(row.path), row.excluded)


def files_with(connection: sa.Connection, blobid: str) -> Iterator[CopiedFile]:
    """Yield the inodes of all media whose content `blobid` is, by medium, part and inode, as they are asked for."""
    copy, inode, path = media_copies, media_inodes, media_paths
    same = sa.and_(*(copy.c[name] == inode.c[name] for name in ("medium", "part", "ino")))
    columns = (inode.c.medium, inode.c.part, inode.c.ino, inode.c.dev, inode.c.size, inode.c.mtime, inode.c.mtime_ns)
    query = (
        sa.select(*columns)
        .select_from(copy.join(inode, same))
        .where(copy.c.blobid == blobid, copy.c.status == CopyStatus.SUCCESS.value)
        .order_by(inode.c.medium, inode.c.part, inode.c.ino)
    )
    for row in connection.execution_options(yield_per=_BATCH).execute(query):
        of_it = (path.c.medium == row.medium, path.c.part == row.part, path.c.ino == row.ino)
        paths = connection.scalars(sa.select(path.c.path).where(*of_it).order_by(path.c.path))
        yield CopiedFile(*row, paths=tuple(bytes(found) for found in paths))
