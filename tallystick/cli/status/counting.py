"""What the database holds of the sources of a load, in the words of status files."""

from collections.abc import Collection

import msgspec
import sqlalchemy as sa

from sinks.schema import dead_letter_events, session_sources, sink_counters
from sinks.standing import read_time
from tallystick.cli.status.documents import DeadLetters


class Held(msgspec.Struct):
    """What the database holds of one source."""

    inserted: int = 0
    present: int = 0
    dead: int = 0
    sessions: int = 0
    letters: DeadLetters = DeadLetters()


def read_held(connection: sa.Connection, sources: Collection[str]) -> dict[str, Held]:
    """Return what is there of each of `sources`. Raises SQLAlchemyError."""
    held = {source: Held() for source in sources}
    counters = (
        sa.select(
            sink_counters.c.source_id,
            sa.func.sum(sink_counters.c.inserted),
            sa.func.sum(sink_counters.c.present),
            sa.func.sum(sink_counters.c.dead),
        )
        .where(sink_counters.c.sink == "raw_events", sink_counters.c.source_id.in_(sources))
        .group_by(sink_counters.c.source_id)
    )
    for source, inserted, present, dead in connection.execute(counters):
        found = held[source]
        found.inserted, found.present, found.dead = int(inserted), int(present), int(dead)
    sessions = (
        sa.select(session_sources.c.source_id, sa.func.count())
        .where(session_sources.c.source_id.in_(sources))
        .group_by(session_sources.c.source_id)
    )
    for source, number in connection.execute(sessions):
        held[source].sessions = number
    for source, letters in _letters(connection, sources).items():
        held[source].letters = letters
    return held


def _letters(connection: sa.Connection, sources: Collection[str]) -> dict[str, DeadLetters]:
    table = dead_letter_events
    newest = (
        sa.select(
            table.c.source_id,
            sa.func.count().label("letters"),
            sa.func.max(table.c.id).label("newest"),
        )
        .where(table.c.source_id.in_(sources), table.c.piece == 0)
        .group_by(table.c.source_id)
        .subquery()
    )
    query = sa.select(newest.c.source_id, newest.c.letters, table.c.reason, table.c.created_at).join(
        table, table.c.id == newest.c.newest
    )
    return {
        source: DeadLetters(letters, reason, source, read_time(created_at))
        for source, letters, reason, created_at in connection.execute(query)
    }
