"""Fixity: blobs are read and hashed, archives decoded, and what is wrong names all that it touches."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import sqlalchemy as sa

from sinks.media.audit.contents import BlobRow, Fault, check
from sinks.media.audit.folders import Places
from sinks.media.audit.holdings import find_holdings
from tallystick.contracts.media import ARCHIVED, archive_name
from tallystick.errors import StorageError
from tallystick.storage.archives import decode
from tallystick.storage.store import Store


class Verified(msgspec.Struct):
    """What was read so far."""

    blobs: int = 0
    bytes: int = 0
    archives: int = 0


class ArchiveFault(msgspec.Struct, frozen=True):
    """An archive that is not what it was, or is not there."""

    medium: str
    name: str
    path: str
    detail: str


def verify_blobs(store: Store, rows: Iterator[BlobRow], verified: Verified) -> Iterator[Fault]:
    """Read every blob of `rows` in the store, and yield those that are not what their names say."""
    for row in rows:
        fault = check(store, row, digest=True)
        verified.blobs += 1
        if fault:
            yield fault
        else:
            verified.bytes += row.size or 0


def verify_archives(
    connection: sa.Connection, places: Places, verified: Verified, ids: Sequence[str] | None = None
) -> Iterator[ArchiveFault]:
    """Decode every archive to its last byte, and compare it with the digest that was found when it was made."""
    for holding in find_holdings(connection, ids):
        path = places.archives / archive_name(holding.medium)
        done = holding.stages[ARCHIVED].digest if holding.done(ARCHIVED) and ARCHIVED in holding.stages else ""
        if not path.exists() and not holding.done(ARCHIVED):
            continue
        verified.archives += 1
        if wrong := _wrong(path, digest=done):
            yield ArchiveFault(holding.medium, holding.name, str(path), wrong)


def _wrong(path: Path, *, digest: str) -> str:
    try:
        found = decode(path)
    except StorageError as error:
        return str(error)
    if digest and found.digest != digest:
        return f"its digest is {found.digest}, and was {digest} when it was made"
    return "" if found.members else "it is empty"
