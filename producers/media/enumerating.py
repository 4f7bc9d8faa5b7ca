"""An enumeration becomes a listing on disk and records in Kafka.

1. Everything is walked, into a listing and a spool that have no final name yet; only then its counts and its digest
   are known, and whether it is what was found true before.
2. The records are sent from the spool, so that what is sent is what was counted.
3. The listing and its sidecar get their names, durably.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
from blake3 import blake3

from producers.media.claiming import Outflow, StageClaim
from producers.media.enumeration import Enumeration, tools
from producers.media.errors import PreconditionError
from tallystick.contracts import listings
from tallystick.contracts.media import Entry, Found, Medium, decode_entry, encode, entries_record, listing_name
from tallystick.contracts.text import printable
from tallystick.storage.disk import make_folder, storage_errors, sync_folder

RECORD_ENTRIES = 1_000
RECORD_BYTES = 512 * 1024
"""A record holds at most so many entries, and is sent once they have so many bytes."""


def emit_enumeration(
    outflow: Outflow,
    medium: Medium,
    enumeration: Enumeration,
    *,
    folder: Path,
    before: str,
    advance: Callable[[], None],
) -> StageClaim:
    """Walk `enumeration` to its end, send it, keep it as a listing in `folder`, and return what is to be claimed.

    `before` is the digest of the last enumeration that was found true, empty where there is none. Raises
    PreconditionError where this one differs from it and the medium may not grow, what the enumeration raises,
    StorageError, ServiceError.
    """
    final = folder / listing_name(medium.medium)
    with storage_errors("write", final):
        make_folder(folder)
    with (
        _partial(final.with_suffix(".raw.partial")) as listing,
        _partial(final.with_suffix(".entries.partial")) as spool,
    ):
        written = _walk(enumeration, listing, spool)
        if before and before != enumeration.digest and not medium.grows:
            raise PreconditionError(
                "another_enumeration",
                f"medium {medium.medium} holds something else than when it was enumerated last (digest"
                f" {enumeration.digest[:16]}… instead of {before[:16]}…): if that is right, ingest it with --grow",
            )
        _refuse_to_replace(medium, final, written)
        for entries, low in _batches(spool):
            positions = range(low, low + len(entries))
            outflow.send(
                *entries_record(medium.medium, attempt=medium.attempt, low=low, positions=positions, entries=entries)
            )
            advance()
        ends = outflow.settle(advance)
        sidecar = _sidecar(medium, enumeration, written)
        _publish(final, listing, sidecar)
    counts = enumeration.counts
    return StageClaim(
        counts={**counts, "lines": counts["records"], "events": counts["records"]},
        digest=enumeration.digest,
        ends=ends,
        evidence={
            "listing": final.name,
            "listing_blake3": written.blake3,
            "listing_bytes": str(written.bytes),
            "rules_blake3": sidecar.rules,
            "file_systems": ", ".join(f"{found.part}: {found.kind}" for found in sidecar.file_systems),
            **{f"problems_{kind}": str(number) for kind, number in sidecar.problem_kinds.items()},
            **sidecar.tools,
        },
    )


def _walk(enumeration: Enumeration, listing: BinaryIO, spool: BinaryIO) -> listings.Written:
    digest, records, size = blake3(), 0, 0
    for entry in enumeration:
        spool.write(encode(entry) + b"\n")
        if isinstance(entry, Found):
            record = listings.encode(entry, mount=enumeration.mount(entry.part))
            listing.write(record)
            digest.update(record)
            records, size = records + 1, size + len(record)
    return listings.Written(records=records, bytes=size, blake3=digest.hexdigest())


def _batches(spool: BinaryIO) -> Iterator[tuple[Sequence[Entry], int]]:
    """Yield the entries of the spool in batches, each with the number of its first."""
    spool.seek(0)
    batch: list[Entry] = []
    low = size = 0
    for line in spool:
        batch.append(decode_entry(line))
        size += len(line)
        if len(batch) == RECORD_ENTRIES or size >= RECORD_BYTES:
            yield batch, low
            low, batch, size = low + len(batch), [], 0
    if batch:
        yield batch, low


def _sidecar(medium: Medium, enumeration: Enumeration, written: listings.Written) -> listings.Sidecar:
    return listings.Sidecar(
        medium=medium.medium,
        attempt=medium.attempt,
        records=written.records,
        bytes=written.bytes,
        blake3=written.blake3,
        digest=enumeration.digest,
        counts=enumeration.counts,
        problem_kinds=enumeration.problem_kinds,
        problems=tuple(enumeration.problems),
        file_systems=enumeration.file_systems,
        rules=enumeration.rules.digest,
        source=medium.digest,
        tools=tools(),
    )


def _refuse_to_replace(medium: Medium, final: Path, written: listings.Written) -> None:
    """Raise PreconditionError where the listing that is ingested lies where ours goes, and isn't the same."""
    if medium.root != os.fsencode(final) or medium.digest == written.blake3:
        return
    raise PreconditionError(
        "listing_in_place",
        f"{printable(str(final))} is written otherwise than Tallystick would (records that repeat, numbers with zeros"
        " before them): move it out of the folder of listings, so that it is kept, and ingest it from there",
    )


def _publish(final: Path, listing: BinaryIO, sidecar: listings.Sidecar) -> None:
    beside = final.with_name(f"{final.name}.json")
    with storage_errors("write", final):
        with _partial(beside.with_suffix(".json.partial")) as file:
            file.write(msgspec.json.format(listings.encode_sidecar(sidecar), indent=1) + b"\n")
            _sync(file)
            _sync(listing)
            Path(listing.name).rename(final)
            Path(file.name).rename(beside)
        sync_folder(final.parent)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _partial(path: Path) -> Iterator[BinaryIO]:
    """Give a new file at `path`, which is gone afterwards unless it was renamed."""
    with storage_errors("write", path):
        path.unlink(missing_ok=True)
        file = path.open("w+b", buffering=1024 * 1024)
    try:
        with storage_errors("write", path), file:
            yield file
    finally:
        path.unlink(missing_ok=True)
