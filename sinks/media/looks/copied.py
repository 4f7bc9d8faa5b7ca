"""The copies of an attempt: a row says success, a row knows the content, and a file of its size lies in the store.

That is looked at for every file; of the contents a sample is read again, `media.sample_files` of them, chosen anew for
each run but always the same for one.
"""

import heapq
from typing import Any

import sqlalchemy as sa
from blake3 import blake3

from sinks import schema
from sinks.looking import Look, Question, Troubles
from sinks.media.reading import copied_files
from tallystick.contracts.media import COPY_COUNTS
from tallystick.database.engine import snapshot
from tallystick.errors import StorageError
from tallystick.storage.store import Store

_ROWS_AT_ONCE = 2_000


def look_at_copies(question: Question) -> Look:
    """Return the COPY_COUNTS: of what is neither copied, nor known to have failed, nor excluded, `inodes` alone tells.

    Raises StorageError where the store can't be looked into.
    """
    counts = dict.fromkeys(COPY_COUNTS, 0)
    store, troubles = Store(question.settings.media_store), Troubles()
    sample = Sample(question.settings.media.sample_files, salt=f"{question.source} {question.run} ")
    with snapshot(question.engine) as connection:
        rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(_files(question))
        for row in rows:
            if counts["inodes"] % _ROWS_AT_ONCE == 0:
                question.progress()
            counts["inodes"] += 1
            if row.excluded:
                counts["excluded"] += 1
            elif row.copied:
                if trouble := _trouble(store, row.blobid, size=row.size, known=row.known):
                    troubles.add(f"inode {row.ino} of part {row.part}: {trouble}")
                    continue
                counts["copied"] += 1
                counts["bytes"] += row.size
                sample.offer(row.blobid, row.size)
            elif row.status is None or row.blobid is not None:
                troubles.add(f"inode {row.ino} of part {row.part} was not copied")
            else:
                counts["failed"] += 1
    for blobid, size in sample.chosen:
        if trouble := _unsound(store, blobid, question):
            troubles.add(trouble)
            counts["copied"] -= 1
            counts["bytes"] -= size
    return Look(counts, detail=str(troubles))


class Sample:
    """A few of many contents: those whose ids have the least digests, together with a salt."""

    def __init__(self, most: int, *, salt: str) -> None:
        self._most, self._salt = most, salt
        self._heap: list[tuple[int, str, int]] = []
        self._held: set[str] = set()

    def offer(self, blobid: str, size: int) -> None:
        """Consider a content, which may have been offered before."""
        if blobid in self._held:
            return
        rank = int.from_bytes(blake3(f"{self._salt}{blobid}".encode()).digest(8), "big")
        heapq.heappush(self._heap, (-rank, blobid, size))
        self._held.add(blobid)
        if len(self._heap) > self._most:
            self._held.discard(heapq.heappop(self._heap)[1])

    @property
    def chosen(self) -> list[tuple[str, int]]:
        """The contents that are in the sample, with their sizes, in the order of their ids."""
        return sorted((blobid, size) for _, blobid, size in self._heap)


def _files(question: Question) -> "sa.Select[Any]":
    files, blobs = copied_files(question.source, question.attempt).subquery(), schema.media_blobs
    return sa.select(files, blobs.c.size.label("known")).select_from(
        files.outerjoin(blobs, blobs.c.blobid == files.c.blobid)
    )


def _trouble(store: Store, blobid: str, *, size: int, known: int | None) -> str:
    """Return what is wrong with a content, as far as its row and its size tell; empty where nothing is."""
    if known is None:
        return f"no row knows its content {blobid}"
    if known != size:
        return f"it has {size} bytes, its content {blobid} is said to have {known}"
    match store.find(blobid):
        case None:
            return f"its content {blobid} is not in the store"
        case found if found != size:
            return f"it has {size} bytes, its content {blobid} has {found} in the store"
    return ""


def _unsound(store: Store, blobid: str, question: Question) -> str:
    try:
        found = store.verify(blobid, progress=question.progress)
    except StorageError as error:
        return f"content {blobid}: {error}"
    return "" if found == blobid else f"content {blobid} was read again and is {found or 'gone'}"
