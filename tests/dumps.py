"""A database as text that two loads of the same input must share, whatever happened on the way."""

import sqlalchemy as sa

from sinks.schema import metadata
from tallystick.settings import Settings
from tests.engines import kept_engine

BOOKKEEPING = {"tallystick_meta", "sink_offsets", "sink_counters", "media_leases"}
"""Tables that no log fills: offsets in one Kafka, what they count being compared as `counters`; who works on what."""
VOLATILE = {
    "raw_events": {"ingest_at"},
    "session_summaries": {"created_at", "updated_at"},
    "ip_inventory": {"created_at", "updated_at"},
    "password_tracking": {"created_at", "updated_at"},
    "ssh_key_intelligence": {"created_at", "updated_at"},
    "dead_letter_events": {"id", "created_at", "metadata_json", "partition"},
    "sources": {
        "name",
        "revision",
        "attempt",
        "claimed_attempt",
        "confirmed_attempt",
        "heard_at",
        "first_seen",
        "updated_at",
    },
    "source_stages": {"attempt", "reason", "started_at", "ended_at", "evidence"},
}
"""Columns that tell when and how often something was tried, not what came of it."""
COUNTERS = "SELECT sink, source_id, SUM(inserted), SUM(present), SUM(dead) FROM sink_counters GROUP BY sink, source_id"


def dump(settings: Settings) -> dict[str, list[str]]:
    """Return the rows of every table as sorted text, without volatile columns."""
    with kept_engine(settings).connect() as connection:
        tables = {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(_columns(table)))
            for table in metadata.sorted_tables
            if table.name not in BOOKKEEPING
        }
        counters = sorted(repr(tuple(map(str, row))) for row in connection.execute(sa.text(COUNTERS)))
    return {**tables, "counters": counters}


def count(settings: Settings, table: str) -> int:
    """Return the number of rows of `table`; 0 where it isn't there yet or the database is away."""
    try:
        with kept_engine(settings).connect() as connection:
            return int(connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)
    except sa.exc.SQLAlchemyError:
        return 0


def _columns(table: sa.Table) -> sa.Select[tuple[object, ...]]:
    volatile = VOLATILE.get(table.name, set())
    return sa.select(*(column for column in table.columns if column.name not in volatile))
