"""Dead letters as people look at them: chosen, counted, put together of their pieces, and resolved by hand."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any

import msgspec
import sqlalchemy as sa

from sinks.resolving import lock_marking
from sinks.schema import dead_letter_events, sources
from tallystick.contracts.dead_letters import LetterRef
from tallystick.contracts.text import printable
from tallystick.contracts.timestamps import now, render

_TABLE = dead_letter_events
_IDS_AT_ONCE = 500
_PAGE = 200


class Standing(StrEnum):
    """Which letters are meant: those that wait for somebody, those that don't, or both."""

    OPEN = "open"
    RESOLVED = "resolved"
    ANY = "any"


class Choice(msgspec.Struct, frozen=True):
    """Which letters are chosen. What is empty leaves the choice open; `ids`, where given, are the only ones.

    `source` is a source's id or name. `since` and `until` are canonical times: of letters written from the one on, and
    before the other.
    """

    ids: tuple[int, ...] = ()
    reason: str = ""
    source: str = ""
    since: str = ""
    until: str = ""
    origin: str = ""
    standing: Standing = Standing.OPEN

    @property
    def is_empty(self) -> bool:
        """Whether nothing narrows it down."""
        return self == Choice(standing=self.standing)


class Letter(msgspec.Struct, frozen=True):
    """One letter, without its content. `size` is the length of it all, in bytes; `begins` are its first bytes.

    `id` is its number in this database, that of its last piece; `name` is its source's, where that is known.
    """

    id: int
    source: str
    name: str
    position: int
    origin: str
    reason: str
    detail: str
    at: str
    size: int
    pieces: int
    begins: bytes
    topic: str
    partition: int
    offset: int
    key: str
    sensor: str
    digest: int
    resolved: bool
    resolved_at: str
    resolved_by: str
    note: str

    @property
    def ref(self) -> LetterRef:
        """What it is in every database."""
        return LetterRef(
            self.source, self.position, self.origin, self.topic, self.partition, self.pieces - 1, self.digest
        )


_BEGINS = 80
_PLACE = ("source_id", "source_offset", "origin", "topic", "partition")


def find(connection: sa.Connection, choice: Choice, *, limit: int | None = None) -> list[Letter]:
    """Return the chosen letters, newest first, `limit` at most."""
    return [_letter(row) for row in connection.execute(_query(choice).order_by(_TABLE.c.id.desc()).limit(limit))]


def each(connection: sa.Connection, choice: Choice, *, limit: int | None = None) -> Iterator[Letter]:
    """Yield the chosen letters, oldest first, a page at a time, `limit` at most."""
    after, left = -1, limit
    while left is None or left > 0:
        query = _query(choice).where(_TABLE.c.id > after).order_by(_TABLE.c.id)
        page = [_letter(row) for row in connection.execute(query.limit(_PAGE if left is None else min(_PAGE, left)))]
        if not page:
            return
        yield from page
        after, left = page[-1].id, None if left is None else left - len(page)


def count_by_reason(connection: sa.Connection, choice: Choice) -> dict[tuple[str, str], int]:
    """Return how many letters are chosen, by origin and reason, most first."""
    number = sa.func.count().label("number")
    query = sa.select(_TABLE.c.origin, _TABLE.c.reason, number).where(*_conditions(choice))
    query = query.group_by(_TABLE.c.origin, _TABLE.c.reason)
    found = connection.execute(query.order_by(number.desc(), _TABLE.c.origin, _TABLE.c.reason))
    return {(origin, reason): count for origin, reason, count in found}


def content(connection: sa.Connection, letter: Letter) -> bytes:
    """Return the bytes of `letter`, all pieces joined.

    Raises LookupError where a piece is missing: it is still on its way from Kafka.
    """
    place = _same_place(letter)
    before = sa.select(_TABLE.c.piece, _TABLE.c.payload).where(
        *place, sa.not_(_TABLE.c.last), _TABLE.c.piece < letter.pieces - 1
    )
    found = connection.execute(before) if letter.pieces > 1 else ()
    parts = {row.piece: bytes(row.payload) for row in found}
    if missing := set(range(letter.pieces - 1)) - parts.keys():
        raise LookupError(f"letter {letter.id} lacks piece {min(missing)} of {letter.pieces}")
    last = connection.scalar(sa.select(_TABLE.c.payload).where(_TABLE.c.id == letter.id))
    return b"".join((*(parts[number] for number in sorted(parts)), bytes(last or b"")))


def resolve(connection: sa.Connection, letters: Iterable[Letter], *, by: str, note: str) -> int:
    """Mark `letters` with all their pieces as resolved, and return how many were not yet."""
    lock_marking(connection)
    resolved = 0
    change = _TABLE.update().where(sa.not_(_TABLE.c.resolved))
    change = change.values(
        resolved=sa.true(), resolved_at=now(), resolved_by=printable(by), note=printable(note) or None
    )
    rest = iter(letters)
    while some := list(islice(rest, _PAGE)):
        resolved += connection.execute(change.where(_TABLE.c.id.in_([letter.id for letter in some]))).rowcount
        for letter in some:
            if letter.pieces > 1:
                lead_up = (sa.not_(_TABLE.c.last), _TABLE.c.piece < letter.pieces - 1)
                connection.execute(change.where(*_same_place(letter), *lead_up))
    return resolved


def open_ids(connection: sa.Connection, ids: Collection[int]) -> set[int]:
    """Return those of `ids` that are not resolved."""
    found: set[int] = set()
    every = sorted(ids)
    for start in range(0, len(every), _IDS_AT_ONCE):
        some = every[start : start + _IDS_AT_ONCE]
        query = sa.select(_TABLE.c.id).where(_TABLE.c.id.in_(some), sa.not_(_TABLE.c.resolved))
        found |= set(connection.scalars(query))
    return found


def _query(choice: Choice) -> sa.Select[Any]:
    before = _TABLE.alias("before")
    same_place = [before.c[name] == _TABLE.c[name] for name in _PLACE]
    leads_up = (*same_place, sa.not_(before.c.last), before.c.piece < _TABLE.c.piece)
    length = sa.func.coalesce(sa.func.sum(sa.func.length(before.c.payload)), 0)
    led_up = sa.select(length).where(*leads_up).scalar_subquery()
    start = sa.select(sa.func.substr(before.c.payload, 1, _BEGINS)).where(*leads_up, before.c.piece == 0)
    first = start.order_by(before.c.id).limit(1).scalar_subquery()
    columns = [column for column in _TABLE.c if column.name != "payload"]
    size = sa.func.length(_TABLE.c.payload) + sa.case((_TABLE.c.piece > 0, led_up), else_=0)
    begins = sa.case((_TABLE.c.piece > 0, first), else_=sa.func.substr(_TABLE.c.payload, 1, _BEGINS))
    return (
        sa.select(*columns, sources.c.name.label("source_name"), size.label("size"), begins.label("begins"))
        .select_from(_TABLE.outerjoin(sources, sources.c.source_id == _TABLE.c.source_id))
        .where(*_conditions(choice))
    )


def _conditions(choice: Choice) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [_TABLE.c.last]
    if choice.ids:
        found.append(_TABLE.c.id.in_(choice.ids))
    if choice.reason:
        found.append(_TABLE.c.reason == choice.reason)
    if choice.source:
        named = sa.select(sources.c.source_id).where(sources.c.name == choice.source)
        found.append(sa.or_(_TABLE.c.source_id == choice.source, _TABLE.c.source_id.in_(named)))
    if choice.since:
        found.append(_TABLE.c.created_at >= choice.since)
    if choice.until:
        found.append(_TABLE.c.created_at < choice.until)
    if choice.origin:
        found.append(_TABLE.c.origin == choice.origin)
    if choice.standing is not Standing.ANY:
        found.append(_TABLE.c.resolved if choice.standing is Standing.RESOLVED else sa.not_(_TABLE.c.resolved))
    return found


def _same_place(letter: Letter) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _TABLE.c.source_id == letter.source,
        _TABLE.c.source_offset == letter.position,
        _TABLE.c.origin == letter.origin,
        _TABLE.c.topic == letter.topic,
        _TABLE.c.partition == letter.partition,
    )


def _letter(row: sa.Row[Any]) -> Letter:
    more: Mapping[str, Any] = row.metadata_json
    return Letter(
        id=row.id,
        source=row.source_id,
        name=row.source_name or "",
        position=row.source_offset,
        origin=row.origin,
        reason=row.reason,
        detail=more.get("detail", ""),
        at=_time(row.created_at),
        size=row.size,
        pieces=row.piece + 1,
        begins=bytes(row.begins or b""),
        topic=row.topic,
        partition=row.partition,
        offset=more.get("offset", -1),
        key=row.record_key,
        sensor=more.get("sensor", ""),
        digest=row.digest,
        resolved=bool(row.resolved),
        resolved_at=_time(row.resolved_at),
        resolved_by=row.resolved_by or "",
        note=row.note or "",
    )


def _time(value: Any) -> str:
    return render(value) if isinstance(value, datetime) else value or ""
