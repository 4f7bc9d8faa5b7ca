"""Marking letters whose content has come again as an event, in the transaction that stores the event.

A database may be filled in any order: the event may come before its letter. So what was answered is written down, and
whoever comes second, the sink of events or that of letters, marks the letter. Both take the same lock first, so that
neither can miss the other; nobody holds it who waits for anything but the commit.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from sinks.counting import INSERTED, PRESENT
from sinks.schema import dead_letter_events, dead_letter_retries
from sinks.sink import Decoded, Record
from tallystick.contracts import retries
from tallystick.contracts.dead_letters import LetterRef, decode_ref
from tallystick.contracts.text import printable
from tallystick.contracts.timestamps import now
from tallystick.errors import ContractError
from tallystick.logs import get_logger

log = get_logger(__name__)

_LETTERS, _RETRIES = dead_letter_events, dead_letter_retries
_PLACE = ("source_id", "source_offset", "origin", "topic", "partition")
"""The columns that all pieces of a letter share."""
_SOURCES_AT_ONCE = 500
_LONGEST_REFERENCE = 2_000
"""In bytes: a longer one is of no letter, as PostgreSQL's index would not have taken that either."""


class Answer(msgspec.Struct, frozen=True):
    """A letter, and the retry that has brought its content."""

    letter: LetterRef
    source: str
    position: int


def answers(records: Sequence[Record], decoded: Sequence[Decoded[Any]], fates: bytes) -> Iterator[Answer]:
    """Yield the letters that the stored events of a batch answer. Cheap where there are none."""
    start = 0
    for record, found in zip(records, decoded, strict=True):
        stop = start + len(found.entries)
        if found.source.startswith(retries.SOURCE_PREFIX) and (answer := _answer(record, found, fates[start:stop])):
            yield answer
        start = stop


def _answer(record: Record, found: Decoded[Any], fates: bytes) -> Answer | None:
    header = dict(record.headers).get(retries.HEADER)
    if len(found.positions) != 1 or fates[0] not in {INSERTED, PRESENT} or header is None:
        return None
    try:
        if len(header) > _LONGEST_REFERENCE:
            raise ContractError(f"the reference has {len(header)} bytes")
        return Answer(decode_ref(header), found.source, found.positions[0])
    except (ContractError, msgspec.MsgspecError) as error:
        where = {"partition": record.partition, "offset": record.offset}
        log.warning("a retry names no letter; its event is stored", **where, error=str(error))
        return None


def mark_answered(connection: sa.Connection, found: Sequence[Answer]) -> None:
    """Write down what was answered, and mark those of the letters that are there."""
    if not found:
        return
    lock_marking(connection)
    rows = [
        {
            **_place(answer.letter),
            "piece": answer.letter.piece,
            "digest": answer.letter.digest,
            "retry_id": answer.source,
            "retry_offset": answer.position,
        }
        for answer in found
    ]
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(_RETRIES).on_conflict_do_nothing(), rows)
    _mark(connection, {printable(answer.letter.source) for answer in found})


def mark_awaited(connection: sa.Connection, sources: Collection[str]) -> None:
    """Mark those letters of `sources` that were answered before they came."""
    lock_marking(connection)
    _mark(connection, sources)


def _mark(connection: sa.Connection, sources: Collection[str]) -> None:
    """Mark the answered letters of `sources` with all their pieces; a piece may lead up to two letters."""
    same_place = [_LETTERS.c[name] == _RETRIES.c[name] for name in _PLACE]
    is_last = sa.and_(_LETTERS.c.piece == _RETRIES.c.piece, _LETTERS.c.digest == _RETRIES.c.digest)
    leads_up = sa.and_(_LETTERS.c.piece < _RETRIES.c.piece, sa.not_(_LETTERS.c.last))
    every = sorted(sources)
    for start in range(0, len(every), _SOURCES_AT_ONCE):
        connection.execute(
            _LETTERS.update()
            .where(*same_place, sa.or_(is_last, leads_up), sa.not_(_LETTERS.c.resolved))
            .where(_RETRIES.c.source_id.in_(every[start : start + _SOURCES_AT_ONCE]))
            .values(resolved=sa.true(), resolved_at=now(), resolved_by=_RETRIES.c.retry_id)
        )


def lock_marking(connection: sa.Connection) -> None:
    """Wait for whoever else marks letters, until the transaction ends. SQLite has one writer at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"LOCK TABLE {_RETRIES.name} IN SHARE ROW EXCLUSIVE MODE"))


def _place(letter: LetterRef) -> dict[str, str | int]:
    return {
        "source_id": printable(letter.source),
        "source_offset": letter.position,
        "origin": printable(letter.origin),
        "topic": printable(letter.topic),
        "partition": letter.partition,
    }
