"""Recounting a source in the database, in one snapshot: what the tables hold against what the sinks say they hold.

An event that the database refuses is no row but a dead letter, while its session counts it. So of a session, rows and
refused events together must be what its summary counts; a row that is missing without a letter stays a difference.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from sinks.dead_letters import DeadLetters
from sinks.raw_events import RawEvents
from sinks.schema import dead_letter_events, raw_events, session_sources, session_summaries, sink_counters
from sinks.sessions import Sessions
from tallystick.contracts import cowrie
from tallystick.contracts.dead_letters import NO_RECORD, READ, REFUSED

Session = tuple[str, str]
"""Sensor and session id."""

T = TypeVar("T")
COUNTED = frozenset({RawEvents.name, Sessions.name, DeadLetters.name})
"""The sinks whose tables are counted."""

_KEYS_AT_ONCE = 500
_NAMED = 5


class Events(msgspec.Struct, frozen=True):
    """The events of one session: those that its summary counts, its rows, and others that the database refuses."""

    counted: int
    rows: int
    refused: int = 0

    @property
    def held(self) -> int:
        """All that is known to be there."""
        return self.rows + self.refused

    def __str__(self) -> str:
        """In words."""
        refused = f", {self.refused} refused by the database" if self.refused else ""
        return f"{self.counted} events counted, {self.rows} rows{refused}"


class Refused(msgspec.Struct, frozen=True):
    """Events of one source that the sink of events has refused: by its counters, and by its dead letters.

    Letters are of the log: there may be more of them, of another database that takes less.
    """

    reported: int = 0
    letters: int = 0

    @property
    def found(self) -> int:
        """How many of those that were refused here have a letter."""
        return min(self.reported, self.letters)

    @property
    def differ(self) -> bool:
        """Whether a letter is missing, or is still on its way."""
        return self.found != self.reported


class Recount(msgspec.Struct):
    """What was found.

    `agreed` is the number of events of the sessions that hold what they count; `differing` holds the others.
    """

    agreed: int
    differing: dict[Session, Events]
    rows: int
    rows_reported: int
    dead: int
    dead_reported: int
    refused: Refused = Refused()

    @property
    def expected(self) -> dict[str, int]:
        """What the summaries and the counters say, and that no session differs."""
        return {
            "session events": self.agreed + sum(events.counted for events in self.differing.values()),
            "rows": self.rows_reported,
            "dead letters": self.dead_reported,
            "refused events": self.refused.reported,
            "sessions that differ": 0,
        }

    @property
    def found(self) -> dict[str, int]:
        """What the tables hold, under the names of `expected`."""
        return {
            "session events": self.agreed + sum(events.held for events in self.differing.values()),
            "rows": self.rows,
            "dead letters": self.dead,
            "refused events": self.refused.found,
            "sessions that differ": len(self.differing),
        }

    @property
    def is_settled(self) -> bool:
        """Whether nothing differs that events or letters on their way could still mend."""
        return not (self.differing or self.refused.differ)

    @property
    def detail(self) -> str:
        """The first few sessions that differ, in words, and what the database would not take."""
        named = [
            f"session {session!r} of {sensor!r}: {events}"
            for (sensor, session), events in sorted(self.differing.items(), key=lambda item: item[0])[:_NAMED]
        ]
        if number := self.refused.found:
            events = "1 event is a dead letter" if number == 1 else f"{number} events are dead letters"
            named.append(f"{events}: {REFUSED}")
        return "; ".join(named)

    def take(self, again: dict[Session, Events], refused: Refused) -> bool:
        """Take the present counts of what differed; return whether anything has changed."""
        before = self.differing, self.refused
        self.agreed += sum(events.held for events in again.values() if events.counted == events.held)
        self.differing = _differing(again)
        self.refused = refused
        return (self.differing, self.refused) != before


def recount(connection: sa.Connection, source: str, *, cluster: str) -> Recount:
    """Recount `source`; what the sinks reported is of the Kafka cluster `cluster`. `connection` shows one snapshot.

    A session is looked at where the source brought one of its rows, or its summary says that the source is part of it;
    events without a session have no summary and are only counted as rows.
    """
    counters = _counters(connection, source, cluster)
    rows, letters = (counters.get(name, _Counters()) for name in (RawEvents.name, DeadLetters.name))
    agreed, differing = _sessions(connection, source)
    suspects = _with_refused(connection, differing)
    return Recount(
        agreed=agreed + sum(events.held for events in suspects.values() if events.counted == events.held),
        differing=_differing(suspects),
        rows=_count(connection, raw_events, raw_events.c.source_id == source),
        rows_reported=rows.inserted,
        dead=_count_letters(connection, source, READ),
        dead_reported=letters.inserted + letters.present,
        refused=Refused(rows.dead, _count_letters(connection, source, RawEvents.name)),
    )


def look_again(connection: sa.Connection, sessions: Collection[Session]) -> dict[Session, Events]:
    """Return, for each of `sessions`, the events that its summary counts and those that there are now."""
    found = {}
    for keys in _some(sorted(sessions)):
        counted = _by_session(connection, session_summaries, session_summaries.c.event_count, keys)
        held = _by_session(connection, raw_events, sa.func.count(), keys)
        found.update({key: Events(counted.get(key, 0), held.get(key, 0)) for key in keys})
    return _with_refused(connection, found)


def look_at_refused(connection: sa.Connection, source: str, *, cluster: str) -> Refused:
    """Return what the sink of events has refused of `source`, by its counters and by its letters."""
    counters = _counters(connection, source, cluster).get(RawEvents.name, _Counters())
    return Refused(counters.dead, _count_letters(connection, source, RawEvents.name))


def _differing(found: dict[Session, Events]) -> dict[Session, Events]:
    return {session: events for session, events in found.items() if events.counted != events.held}


def _with_refused(connection: sa.Connection, found: dict[Session, Events]) -> dict[Session, Events]:
    """Return `found` with the events that are dead letters of the sink of events, and not stored from elsewhere."""
    refused = {
        session: len(digests - _stored(connection, session, digests))
        for session, digests in _refused_digests(connection, found).items()
    }
    return {
        session: msgspec.structs.replace(events, refused=refused.get(session, 0)) for session, events in found.items()
    }


def _refused_digests(connection: sa.Connection, sessions: Collection[Session]) -> dict[Session, set[int]]:
    table, found = dead_letter_events, dict[Session, set[int]]()
    by_key = {cowrie.session_key(*session).decode(): session for session in sessions}
    for keys in _some(sorted(by_key)):
        query = sa.select(table.c.record_key, table.c.payload, table.c.piece, table.c.last).where(
            table.c.record_key.in_(keys), table.c.origin == RawEvents.name, table.c.reason == REFUSED
        )
        place = (table.c.source_id, table.c.source_offset, table.c.topic, table.c.partition, table.c.piece)
        content = b""
        for row in connection.execute(query.order_by(table.c.record_key, *place)):
            content = row.payload if row.piece == 0 else content + row.payload
            if row.last:
                found.setdefault(by_key[row.record_key], set()).add(cowrie.event_digest(content))
    return found


def _stored(connection: sa.Connection, session: Session, digests: Collection[int]) -> set[int]:
    """Return those of `digests` that are rows of `session`."""
    table, stored = raw_events, set[int]()
    for some in _some(sorted(digests)):
        stored |= set(
            connection.scalars(
                sa.select(table.c.digest).where(
                    table.c.sensor == session[0], table.c.session_id == session[1], table.c.digest.in_(some)
                )
            )
        )
    return stored


def _some(every: list[T]) -> Iterator[list[T]]:
    return (every[start : start + _KEYS_AT_ONCE] for start in range(0, len(every), _KEYS_AT_ONCE))


def _sessions(connection: sa.Connection, source: str) -> tuple[int, dict[Session, Events]]:
    ours = sa.union(
        sa.select(session_sources.c.sensor, session_sources.c.session_id).where(session_sources.c.source_id == source),
        sa.select(raw_events.c.sensor, raw_events.c.session_id).where(
            raw_events.c.source_id == source, raw_events.c.session_id != ""
        ),
    ).cte("ours")
    held = (
        sa.select(ours.c.sensor, ours.c.session_id, sa.func.count(raw_events.c.digest).label("held"))
        .select_from(ours.outerjoin(raw_events, _same_session(ours, raw_events)))
        .group_by(ours.c.sensor, ours.c.session_id)
        .cte("held")
    )
    counted = sa.func.coalesce(session_summaries.c.event_count, 0).label("counted")
    compared = (
        sa.select(held.c.sensor, held.c.session_id, counted, held.c.held)
        .select_from(held.outerjoin(session_summaries, _same_session(held, session_summaries)))
        .cte("compared")
    )
    equal = compared.c.counted == compared.c.held
    # One statement, so that the rows are counted once: the sum of those that agree, and each that differs.
    query = sa.union_all(
        sa.select(sa.null(), sa.null(), sa.func.coalesce(sa.func.sum(compared.c.held), 0), sa.literal(0)).where(equal),
        sa.select(compared.c.sensor, compared.c.session_id, compared.c.counted, compared.c.held).where(~equal),
    )
    agreed, differing = 0, dict[Session, Events]()
    for sensor, session, counted_events, rows in connection.execute(query):
        if sensor is None:
            agreed = int(counted_events)
        else:
            differing[sensor, session] = Events(int(counted_events), int(rows))
    return agreed, differing


def _same_session(left: sa.CTE, right: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(left.c.sensor == right.c.sensor, left.c.session_id == right.c.session_id)


def _by_session(
    connection: sa.Connection, table: sa.Table, value: sa.ColumnElement[int], keys: Iterable[Session]
) -> dict[Session, int]:
    columns = (table.c.sensor, table.c.session_id)
    query = sa.select(*columns, value).where(sa.tuple_(*columns).in_(keys))
    if table is raw_events:
        query = query.group_by(*columns)
    return {(sensor, session): number for sensor, session, number in connection.execute(query)}


class _Counters(msgspec.Struct, frozen=True):
    inserted: int = 0
    present: int = 0
    dead: int = 0


def _counters(connection: sa.Connection, source: str, cluster: str) -> dict[str, _Counters]:
    table = sink_counters
    sums = (sa.func.sum(column) for column in (table.c.inserted, table.c.present, table.c.dead))
    query = (
        sa.select(table.c.sink, *sums)
        .where(table.c.cluster_id == cluster, table.c.source_id == source)
        .group_by(table.c.sink)
    )
    return {sink: _Counters(*map(int, found)) for sink, *found in connection.execute(query)}


def _count_letters(connection: sa.Connection, source: str, origin: str) -> int:
    """Return at how many positions of `source` there are letters of `origin`: one may hold several in turn."""
    table = dead_letter_events
    query = sa.select(sa.func.count(table.c.source_offset.distinct())).where(
        table.c.source_id == source, table.c.origin == origin, table.c.piece == 0, table.c.reason != NO_RECORD
    )
    return int(connection.scalar(query) or 0)


def _count(connection: sa.Connection, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table).where(*conditions)) or 0)
