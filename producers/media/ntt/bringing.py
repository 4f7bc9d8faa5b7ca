"""Bringing media of ntt into the log: what was found on them, what became of their files, and what ntt says of that.

They become media, but no sources: nothing of ntt's word turns into a verdict of ours. What ntt said stands beside, as
the evidence of a run of the stage `imported`, and `tally media audit` judges it by what is there. Everything is of
attempt and run 0, so that it never counts for more than what is found here.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from blake3 import blake3

from producers.media.ntt.database import NttDatabase, NttMedium, NttPath
from producers.media.ntt.rows import BEFORE_ALL, copied, entry, is_blobid
from tallystick.contracts import dead_letters, media
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.media import (
    BLOBS,
    INODES,
    MEDIA,
    RUNS,
    Copied,
    CopyStatus,
    Entry,
    Form,
    Found,
    Medium,
    Run,
    listing_name,
)
from tallystick.contracts.slices import Headers
from tallystick.contracts.sources import Ends
from tallystick.contracts.text import printable
from tallystick.contracts.timestamps import now
from tallystick.contracts.topics import DEAD_LETTERS, Topic
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tallystick.storage.store import Store

T = TypeVar("T")
STAGE = "imported"
WORKER = "tally media import-ntt"
MALFORMED = "not the hash of a medium"
_HASH = re.compile(r"[0-9a-f]{32}")
_LINES = 500
_BLOCK = 1024 * 1024


class Brought(msgspec.Struct, frozen=True):
    """A medium that was brought, or `refused`, which then says why; `counts` are those of its run."""

    medium: str
    name: str
    counts: dict[str, int]
    refused: str = ""


class Bringing:
    """One import. `ends` tells, once `run` has come to its end, up to where Kafka has what was sent."""

    def __init__(
        self, settings: Settings, publisher: Publisher, database: NttDatabase, *, store: Store, listings: Path
    ) -> None:
        """`store` is the folder of ntt's contents, `listings` that of its `.raw` files."""
        self.ends: Ends = {}
        self._settings, self._publisher, self._database = settings, publisher, database
        self._store, self._listings = store, listings
        self._source = f"ntt-{blake3(database.address.encode()).hexdigest()[:16]}"

    def run(self) -> Iterator[Brought]:
        """Bring all media, and yield each once Kafka has all of it. Raises ServiceError, StorageError."""
        for number, found in enumerate(self._database.media()):
            known = _HASH.fullmatch(found.medium_hash)
            brought = self._bring(found) if known else self._refuse(found, number)
            self._publisher.flush()
            yield brought

    def _bring(self, found: NttMedium) -> Brought:
        started_at, began = now(), time.monotonic()
        listing = self._listings / listing_name(found.medium_hash)
        counts = self._database.counts(found.medium_hash) | self._send_files(found.medium_hash)
        if listing.is_file():
            counts["raw_records"] = _count_records(listing)
        # The medium comes last, so that nobody judges it by a part of its files.
        self._publisher.flush()
        done = Run(
            medium=found.medium_hash,
            run=BEFORE_ALL,
            stage=STAGE,
            attempt=BEFORE_ALL,
            worker=WORKER,
            started_at=started_at,
            ended_at=now(),
            seconds=time.monotonic() - began,
            exit_code=0,
            detail=f"from {self._database.address}",
            counts=counts,
            evidence={"program": "ntt", **{name: printable(said) for name, said in found.said.items()}},
        )
        self._send(RUNS, found.medium_hash, media.encode(done))
        self._send(MEDIA, found.medium_hash, media.encode(_medium(found, listing)))
        return Brought(found.medium_hash, found.name, counts)

    def _send_files(self, medium: str) -> dict[str, int]:
        """Send what was found and what became of it, and return what it came to."""
        root = self._database.root(medium)
        parts = {device: part for part, device in enumerate(self._database.devices(medium))}
        counts = dict.fromkeys(("files", "blobs", "copied", "failed", "incomplete"), 0)
        entries, copies = _Lines(partial(self._send_entries, medium)), _Lines(partial(self._send_copies, medium))
        before: tuple[int, int] | None = None
        for row in self._database.paths(medium):
            found = entry(row, root=root, part=parts[row.dev])
            entries.add(found)
            if not isinstance(found, Found):
                counts["incomplete"] += 1
            elif found.type == "f" and (row.dev, row.ino) != before:
                before = (row.dev, row.ino)
                self._tell(copies, found, row, counts)
        entries.flush()
        copies.flush()
        return counts

    def _tell(self, copies: "_Lines[Copied]", found: Found, row: NttPath, counts: dict[str, int]) -> None:
        stored = self._store.find(row.blobid) if is_blobid(row.blobid) else None
        told = copied(found, row, stored=stored, at=now())
        counts["files"] += 1
        counts["blobs"] += bool(row.blobid)
        if told is not None:
            counts["copied" if told.status is CopyStatus.SUCCESS else "failed"] += 1
            copies.add(told)

    def _refuse(self, found: NttMedium, number: int) -> Brought:
        counts = self._database.counts(found.medium_hash)
        letter = DeadLetter(
            source=self._source,
            position=number,
            reason=MALFORMED,
            payload=media.encode({"medium": found, "rows": counts}),
            detail=f"it needs 32 hexadecimal digits; its {counts['paths']} paths are left in {self._database.address}",
            at=now(),
        )
        for piece in dead_letters.pieces(letter):
            self._send(DEAD_LETTERS, self._source, dead_letters.encode(piece))
        return Brought(found.medium_hash, found.name, counts, refused=MALFORMED)

    def _send_entries(self, medium: str, first: int, entries: Sequence[Entry]) -> None:
        places = range(first, first + len(entries))
        value, headers = media.entries_record(medium, attempt=BEFORE_ALL, low=first, positions=places, entries=entries)
        self._send(INODES, medium, value, headers)

    def _send_copies(self, medium: str, first: int, copies: Sequence[Copied]) -> None:
        places = range(first, first + len(copies))
        value, headers = media.copies_record(medium, attempt=BEFORE_ALL, low=first, positions=places, copies=copies)
        self._send(BLOBS, medium, value, headers)

    def _send(self, topic: Topic, key: str, value: bytes, headers: Headers | None = None) -> None:
        ends = self.ends.setdefault(topic.name, {})

        def delivered(partition: int, offset: int) -> None:
            ends[partition] = max(ends.get(partition, 0), offset + 1)

        name = self._settings.kafka.topic(topic)
        self._publisher.send(name, key=key.encode(), value=value, headers=headers, on_delivery=delivered)


class _Lines(Generic[T]):
    """Lines of one topic and medium, which are sent so many at a time, with the number of the first."""

    def __init__(self, send: Callable[[int, Sequence[T]], None]) -> None:
        self._send = send
        self._first, self._waiting = 0, list[T]()

    def add(self, line: T) -> None:
        self._waiting.append(line)
        if len(self._waiting) == _LINES:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._send(self._first, self._waiting)
            self._first, self._waiting = self._first + len(self._waiting), []


def _medium(found: NttMedium, listing: Path) -> Medium:
    """Return a medium: of its image, where ntt knows of one, else of its listing, where that is there."""
    image = Path(found.image_path) if found.image_path else None
    log = image.with_suffix(".map") if image else None
    return Medium(
        medium=found.medium_hash,
        form=Form.IMAGE if image else Form.LISTING,
        attempt=BEFORE_ALL,
        name=printable(found.name or found.medium_hash),
        root=bytes(image) if image else bytes(listing) if listing.is_file() else b"",
        at=found.said.get("added_at") or now(),
        image=bytes(image) if image else b"",
        map=bytes(log) if log and log.is_file() else b"",
        size=image.stat().st_size if image and image.is_file() else 0,
        message=printable(found.message),
    )


def _count_records(listing: Path) -> int:
    number = 0
    with listing.open("rb") as file:
        while part := file.read(_BLOCK):
            number += part.count(b"\0")
    return number
