"""Recounting a source in the database, in one snapshot: what the tables hold against what the sinks say they hold."""

from collections.abc import Collection, Iterable

import msgspec
import sqlalchemy as sa

from sinks.dead_letters import DeadLetters
from sinks.raw_events import RawEvents
from sinks.schema import dead_letter_events, raw_events, session_sources, session_summaries, sink_counters
from sinks.sessions import Sessions

Session = tuple[str, str]
"""Sensor and session id."""

COUNTED = frozenset({RawEvents.name, Sessions.name, DeadLetters.name})
"""The sinks whose tables are counted."""

_KEYS_AT_ONCE = 500
_NAMED = 5


class Recount(msgspec.Struct):
    """What was found.

    `agreed` is the number of events of the sessions whose count and rows agree; `differing` holds, for each of the
    others, the events that its summary counts and the rows that there are.
    """

    agreed: int
    differing: dict[Session, tuple[int, int]]
    rows: int
    rows_reported: int
    dead: int
    dead_reported: int

    @property
    def expected(self) -> dict[str, int]:
        """What the summaries and the counters say, and that no session differs."""
        events = self.agreed + sum(counted for counted, _ in self.differing.values())
        return {
            "session events": events,
            "rows": self.rows_reported,
            "dead letters": self.dead_reported,
            "sessions that differ": 0,
        }

    @property
    def found(self) -> dict[str, int]:
        """What the tables hold, under the names of `expected`."""
        events = self.agreed + sum(held for _, held in self.differing.values())
        return {
            "session events": events,
            "rows": self.rows,
            "dead letters": self.dead,
            "sessions that differ": len(self.differing),
        }

    @property
    def detail(self) -> str:
        """The first few sessions that differ, in words."""
        return "; ".join(
            f"session {session!r} of {sensor!r}: {counted} events counted, {held} rows"
            for (sensor, session), (counted, held) in sorted(self.differing.items())[:_NAMED]
        )

    def take(self, again: dict[Session, tuple[int, int]]) -> bool:
        """Take the present counts of the sessions that differed; return whether anything has changed."""
        before = self.differing
        self.agreed += sum(held for counted, held in again.values() if counted == held)
        self.differing = {session: counts for session, counts in again.items() if counts[0] != counts[1]}
        return self.differing != before


def recount(connection: sa.Connection, source: str, *, cluster: str) -> Recount:
    """Recount `source`; what the sinks reported is of the Kafka cluster `cluster`. `connection` shows one snapshot.

    A session is looked at where the source brought one of its rows, or its summary says that the source is part of it;
    events without a session have no summary and are only counted as rows.
    """
    counters = _counters(connection, source, cluster)
    inserted = counters.get(RawEvents.name, (0, 0))[0]
    agreed, differing = _sessions(connection, source)
    return Recount(
        agreed=agreed,
        differing=differing,
        rows=_count(connection, raw_events, raw_events.c.source_id == source),
        rows_reported=inserted,
        dead=_count(
            connection,
            dead_letter_events,
            dead_letter_events.c.source_id == source,
            dead_letter_events.c.origin == "read",
            dead_letter_events.c.piece == 0,
        ),
        dead_reported=sum(counters.get(DeadLetters.name, (0, 0))),
    )


def look_again(connection: sa.Connection, sessions: Collection[Session]) -> dict[Session, tuple[int, int]]:
    """Return, for each of `sessions`, the events that its summary counts and the rows that there are now."""
    found = {}
    every = sorted(sessions)
    for start in range(0, len(every), _KEYS_AT_ONCE):
        keys = every[start : start + _KEYS_AT_ONCE]
        counted = _by_session(connection, session_summaries, session_summaries.c.event_count, keys)
        held = _by_session(connection, raw_events, sa.func.count(), keys)
        found.update({key: (counted.get(key, 0), held.get(key, 0)) for key in keys})
    return found


def _sessions(connection: sa.Connection, source: str) -> tuple[int, dict[Session, tuple[int, int]]]:
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
    agreed, differing = 0, {}
    for sensor, session, counted_events, rows in connection.execute(query):
        if sensor is None:
            agreed = int(counted_events)
        else:
            differing[sensor, session] = (int(counted_events), int(rows))
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


def _counters(connection: sa.Connection, source: str, cluster: str) -> dict[str, tuple[int, int]]:
    table = sink_counters
    query = (
        sa.select(table.c.sink, sa.func.sum(table.c.inserted), sa.func.sum(table.c.present))
        .where(table.c.cluster_id == cluster, table.c.source_id == source)
        .group_by(table.c.sink)
    )
    return {sink: (int(inserted), int(present)) for sink, inserted, present in connection.execute(query)}


def _count(connection: sa.Connection, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table).where(*conditions)) or 0)
