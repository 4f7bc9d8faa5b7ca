"""Healing: a content that the store lost, or has wrong, is copied once more from any medium that has it."""

from collections.abc import Iterable
from itertools import islice

import msgspec
from blake3 import blake3

from producers.media.contents import ChangedError, Contents, Work
from producers.media.errors import MediaError
from producers.media.opening import open_contents
from tallystick.contracts.media import Medium
from tallystick.storage.store import Store, WrongSizeError

_FAULTS = (OSError, ChangedError, WrongSizeError, MediaError)
"""What may be wrong with a medium; an error of the store is none of these."""


class Holder(msgspec.Struct, frozen=True):
    """A file of a medium that had the content when it was copied."""

    medium: Medium
    work: Work


class Healed(msgspec.Struct, frozen=True):
    """A content that the store has again, and the file that it came from."""

    blobid: str
    medium: str
    path: bytes


class Unhealed(msgspec.Struct, frozen=True):
    """A content that could not be got, and why not from each of the files that were tried."""

    blobid: str
    reasons: tuple[str, ...]


def heal(blobid: str, holders: Iterable[Holder], store: Store, *, tries: int) -> Healed | Unhealed:
    """Put a content into the store again, from the first file that still has it; at most `tries` files are read.

    Each is read twice: what it holds by now is hashed before any of it goes into the store, which then replaces what
    it has in its place, if that is something else. Raises StorageError for what is the store's fault.
    """
    reasons: list[str] = []
    for holder in islice(holders, tries):
        work = holder.work
        try:
            with open_contents(holder.medium) as contents:
                if path := _path_to(blobid, work, contents):
                    store.publish(contents.blocks(work, path), size=work.size)
                    return Healed(blobid, holder.medium.medium, path)
                reasons.append(f"{holder.medium.medium}: its inode {work.ino} has another content by now")
        except _FAULTS as error:
            reasons.append(f"{holder.medium.medium}: {error}")
    return Unhealed(blobid, tuple(reasons))


def _path_to(blobid: str, work: Work, contents: Contents) -> bytes:
    """Return the path by which a file has this content, empty where it has another. Raises the last path's error."""
    wrong: Exception | None = None
    for path in work.paths:
        digest = blake3()
        try:
            for block in contents.blocks(work, path):
                digest.update(block)
        except _FAULTS as error:
            wrong = error
        else:
            return path if digest.hexdigest() == blobid else b""
    if wrong is not None:
        raise wrong
    return b""
