"""What a medium came to, as data that two runs of it must share, whatever happened on the way."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa
from blake3 import blake3

from tallystick.contracts import listings
from tallystick.database.engine import snapshot
from tallystick.settings import Settings
from tallystick.storage.archives import decode
from tallystick.storage.store import TEMPORARY, Store

ROWS = """
SELECT p.path, i.type, i.nlink, i.size, p.excluded, c.status, c.blobid, b.size, b.sha256
FROM media_paths p
JOIN media_inodes i ON (i.medium, i.part, i.ino) = (p.medium, p.part, p.ino) AND i.revision = p.revision
LEFT JOIN media_copies c ON (c.medium, c.part, c.ino) = (p.medium, p.part, p.ino)
LEFT JOIN media_blobs b ON b.blobid = c.blobid
WHERE p.medium = :medium AND p.revision = (SELECT revision FROM media WHERE medium = :medium)
"""


def dump(settings: Settings, engine: sa.Engine, medium: str, root: Path) -> dict[str, Sequence[object]]:
    """Return rows, contents of the store, listing and members of the archive of a folder that was ingested.

    Fails where a content, the listing or the archive isn't what the rows say. Inodes and devices are left out, and
    what tells the place of the folder.
    """
    with snapshot(engine) as connection:
        rows = [
            tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
            for row in connection.execute(sa.text(ROWS), {"medium": medium})
        ]
    store = Store(settings.media_store)
    blobs = {str(row[6]) for row in rows if row[6]}
    assert all(store.verify(blobid) == blobid for blobid in blobs)
    assert list(_leftovers(settings)) == []
    listing = settings.media_listings / f"{medium}.raw"
    archive = decode(settings.media_archives / f"{medium}.tar.zst")
    digests = {member.name.decode(): member.digest for member in archive.members}
    assert digests == {listing.name: blake3(listing.read_bytes()).hexdigest()}
    return {
        "rows": sorted(rows, key=repr),
        "listing": sorted(
            (record.type, record.nlink, record.size * (record.type != "d"), os.path.relpath(record.path, bytes(root)))
            for record in listings.parse([listing.read_bytes()])
        ),
        "members": sorted(name.replace(medium, "") for name in digests),
    }


def _leftovers(settings: Settings) -> Iterator[Path]:
    """Yield what only a process that is at work may have: temporary files, and partial ones."""
    yield from (settings.media_store / TEMPORARY).glob("*")
    for folder in (settings.media_listings, settings.media_archives):
        yield from folder.glob("*.partial")
