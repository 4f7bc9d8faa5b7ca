"""Filling tables again: what a sink owns is emptied, and its place in Kafka set back to the beginning.

Everything happens in one transaction. A sink that runs finds another offset than it left, writes nothing, joins its
group again and reads from the beginning. Until it is where it was before (`refill_to`), the recount waits.
"""

from collections.abc import Collection, Iterator, Mapping

import msgspec
import sqlalchemy as sa

from sinks import schema
from sinks.dead_letters import DeadLetters
from sinks.inventories import SHARES, Inventories
from sinks.raw_events import RawEvents
from sinks.schema import sink_counters, sink_offsets
from sinks.sessions import Sessions
from sinks.sources import Sources

TABLES: Mapping[str, tuple[sa.Table, ...]] = {
    RawEvents.name: (schema.raw_events,),
    Sessions.name: (
        schema.session_summaries,
        schema.command_stats,
        schema.login_attempts,
        schema.files,
        schema.session_sources,
    ),
    Inventories.name: tuple(
        table for shares in SHARES for table in (shares.target.table, *(total.target.table for total in shares.totals))
    ),
    Sources.name: (schema.sources, schema.source_stages),
    DeadLetters.name: (schema.dead_letter_events,),
}
"""The tables that each sink owns: nobody else writes rows to them."""


class Emptied(msgspec.Struct, frozen=True):
    """A table of `sink`, and how many rows it held. `others` are its columns that no replay brings back."""

    sink: str
    table: str
    rows: int
    others: tuple[str, ...]


_OTHERS = {
    "session_summaries": ("vt_flagged", "dshield_flagged", "matcher", "snapshot_…", "enrichment", "enrichment_at"),
    "files": ("vt_…", "enrichment_status"),
    "ip_inventory": ("current_asn", "is_…", "geo_country", "ip_types", "enrichment"),
    "password_tracking": ("breached", "breach_prevalence", "last_hibp_check"),
    "dead_letter_events": ("resolved", "resolved_at"),
}


def plan(connection: sa.Connection, sinks: Collection[str]) -> list[Emptied]:
    """Return what `empty` would delete for `sinks`."""
    return [
        Emptied(sink, table.name, _rows(connection, table), _OTHERS.get(table.name, ()))
        for sink in sinks
        for table in TABLES[sink]
    ]


def empty(connection: sa.Connection, sinks: Collection[str]) -> None:
    """Delete the rows of `sinks` and their counters, and let them read their topics from the beginning.

    Where a sink is at work, this waits for its transaction, and then the sink's next one fails as fenced off. A replay
    of one that is being filled again keeps the end of the first.
    """
    offsets = sink_offsets.c
    connection.execute(
        sink_offsets.update()
        .where(offsets.sink.in_(sinks))
        .values(
            next_offset=0,
            refill_to=sa.case((offsets.refill_to > offsets.next_offset, offsets.refill_to), else_=offsets.next_offset),
        )
    )
    connection.execute(sink_counters.delete().where(sink_counters.c.sink.in_(sinks)))
    tables = [table for sink in sinks for table in TABLES[sink]]
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"TRUNCATE {', '.join(table.name for table in tables)} RESTART IDENTITY"))
        return
    for table in tables:
        connection.execute(table.delete())


def refilling(connection: sa.Connection) -> list[str]:
    """Return the sinks that are not yet where they were before their tables were emptied."""
    columns = sink_offsets.c
    query = sa.select(columns.sink).where(columns.next_offset < columns.refill_to).distinct().order_by(columns.sink)
    return list(connection.scalars(query))


def _rows(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def unknown(sinks: Collection[str]) -> Iterator[str]:
    """Yield those of `sinks` that there are not."""
    return (sink for sink in sinks if sink not in TABLES)
