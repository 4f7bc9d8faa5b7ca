"""Which source a table of an old database is, and where to go on in it: decided by its content, as for a log file."""

import re
from collections.abc import Callable, Iterable, Mapping

import msgspec
import xxhash

from producers.cowrie.importing.database import OldRow
from tallystick.contracts import timestamps
from tallystick.contracts.sources import Checkpoint, log_source_id
from tallystick.errors import UsageError

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

BEGINNING = -1
"""The position before the first row: ids begin at 0 or above."""


class Selection(msgspec.Struct, frozen=True):
    """What is wanted: events from `since` on and before `until`, canonical times; empty where there is no such bound.

    Another selection of the same table is another source: it has other counts.
    """

    table: str
    since: str = ""
    until: str = ""

    def takes(self, moment: str) -> bool:
        """Return whether an event of that time is wanted."""
        return self.since <= moment and (not self.until or moment < self.until)


def bound(text: str) -> str:
    """Return a bound of a selection in canonical form, empty where it is empty. A day is its beginning, in UTC.

    Raises UsageError where it is no time.
    """
    if not text:
        return ""
    try:
        return timestamps.canonical(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    except ValueError as error:
        raise UsageError(f"{error}; write it like 2026-01-31 or 2026-01-31T12:00:00Z") from error


class Place(msgspec.Struct, frozen=True):
    """A source that has been recognised: go on after the row `position`; `digest` covers all rows up to it.

    `checkpoint` is that of the source, none where it is a new one.
    """

    source: str
    position: int
    digest: str
    checkpoint: Checkpoint | None


def recognise(
    selection: Selection,
    first: OldRow | None,
    known: Mapping[str, Checkpoint],
    rows: Callable[[], Iterable[OldRow]],
) -> Place:
    """Recognise the source that `selection` of a table is whose lowest row is `first`.

    It is one that is known where the rows up to its checkpoint are the same as then: none changed, missing or added.
    `rows` gives all rows of the table, in order; they are read as far as the furthest checkpoint.
    """
    candidates: list[Checkpoint] = []
    while checkpoint := known.get(source := _source_id(selection, first, len(candidates))):
        candidates.append(checkpoint)
    digests = _digests(rows, {candidate.position for candidate in candidates})
    for candidate in candidates:
        if digests.get(candidate.position) == candidate.digest:
            return Place(candidate.source, candidate.position, candidate.digest, candidate)
    return Place(source, BEGINNING, "", None)


def chained(digest: str, row: OldRow) -> str:
    """Return the digest of all rows up to `row`, where `digest` is that of the rows before it.

    Of a payload that is too long to be read as a whole only the length counts.
    """
    content = b"%d" % row.size if row.payload is None else row.payload
    return xxhash.xxh3_128_hexdigest(b"%b %d %b" % (digest.encode(), row.id, content))


def _digests(rows: Callable[[], Iterable[OldRow]], positions: set[int]) -> dict[int, str]:
    digest = ""
    found = {BEGINNING: digest} if BEGINNING in positions else {}
    last = max(positions, default=BEGINNING)
    if last == BEGINNING:
        return found
    for row in rows():
        if row.id > last:
            break
        digest = chained(digest, row)
        if row.id in positions:
            found[row.id] = digest
    return found


def _source_id(selection: Selection, first: OldRow | None, variant: int) -> str:
    row = b"" if first is None else b"%d %b" % (first.id, first.payload or b"")
    named = f"cowrieprocessor\n{selection.table}\n{selection.since}\n{selection.until}".encode()
    return log_source_id(named + b"\n" + row, variant)
