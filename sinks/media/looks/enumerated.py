"""The listing of an enumeration: the file is read back, and what can be counted in it is counted.

Which paths are excluded, what problems there were, and the digest of the set (which covers nanoseconds) only its
sidecar tells; they are looked at in the database, once it is `loaded`.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from sinks.looking import Look, Question
from sinks.media.looks.reading import read_file
from tallystick.contracts import listings
from tallystick.contracts.listings import Sidecar, Written
from tallystick.contracts.media import RECORD_COUNTS, listing_name
from tallystick.errors import ContractError
from tallystick.storage.disk import open_for_reading, read_blocks, storage_errors
from tallystick.storage.sorting import SortedKeys

_SIDECAR_BYTES = 1 << 28
_INODE = struct.Struct(">QQ")
_COUNT_OF_TYPE = {"f": "files", "d": "folders", "l": "links"}
_TOLD = ("excluded", "problems")
"""What only the sidecar knows."""


def listing_of(medium: str, folder: Path) -> Path:
    """Return where the listing of a medium lies."""
    return folder / listing_name(medium)


def sidecar_of(medium: str, folder: Path) -> Path:
    """Return where that lies what tells of the listing."""
    return folder / f"{listing_name(medium)}.json"


def look_at_listing(question: Question) -> Look:
    """Return the RECORD_COUNTS of the listing, and the digest of the set.

    Raises StorageError where it can't be read, ContractError (ListingError) where it is not what its sidecar tells of,
    or is of another attempt.
    """
    folder = question.settings.media_listings
    try:
        sidecar = listings.decode_sidecar(read_file(sidecar_of(question.source, folder), most=_SIDECAR_BYTES))
    except ValueError as error:
        raise ContractError(f"the sidecar of the listing can't be read: {error}; enumerate the medium again") from error
    if (sidecar.medium, sidecar.attempt) != (question.source, question.attempt):
        raise ContractError(
            f"the listing is of attempt {sidecar.attempt} at medium {sidecar.medium}, not of {question.attempt} at"
            f" {question.source}; enumerate the medium again"
        )
    return Look(_count(question, sidecar), sidecar.digest)


def _count(question: Question, sidecar: Sidecar) -> dict[str, int]:
    told = {name: sidecar.counts[name] for name in _TOLD if name in sidecar.counts}
    counts = dict.fromkeys((name for name in RECORD_COUNTS if name not in _TOLD), 0) | told
    file = _File(listing_of(question.source, question.settings.media_listings), question)
    with SortedKeys(_INODE.size) as inodes:
        for record in listings.parse(file.chunks()):
            counts["records"] += 1
            counts[_COUNT_OF_TYPE.get(record.type, "others")] += 1
            inodes.add(_INODE.pack(record.dev, record.ino))
        listings.compare(sidecar, Written(counts["records"], file.size, file.digest))
        before = b""
        for inode in inodes:
            counts["inodes"] += inode != before
            before = inode
    return counts


class _File:
    """A listing that is read once, and hashed meanwhile."""

    def __init__(self, path: Path, question: Question) -> None:
        self._path, self._question = path, question
        self._hash, self.size = blake3(), 0

    @property
    def digest(self) -> str:
        """The BLAKE3 of what was read."""
        return self._hash.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Yield the content. Raises StorageError."""
        with storage_errors("read", self._path), open_for_reading(self._path) as opened:
            for block in read_blocks(opened):
                self._hash.update(block)
                self.size += len(block)
                self._question.progress()
                yield block
