"""Filling tables again: what a sink owns is emptied, and its place in Kafka set back to the beginning.

Everything happens in one transaction. A sink that runs finds another offset than it left, writes nothing, joins its
group again and reads from the beginning. Until it is where it was before (`sinks/refills.py`), the recount waits.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from sinks import dead_letters, inventories, raw_events, session_rows, sources
from sinks.atproto import rows as atproto_rows
from sinks.atproto.accounts import Accounts
from sinks.atproto.commits import Commits
from sinks.atproto.identities import Identities
from sinks.atproto.labels import Labels
from sinks.atproto.notices import Notices
from sinks.atproto.repositories import Repositories
from sinks.atproto.snapshots import Snapshots
from sinks.media import rows as media_rows
from sinks.media.copies import Copies
from sinks.media.inodes import Inodes
from sinks.media.media import Media
from sinks.media.runs import Runs
from sinks.schema import dead_letter_retries, sink_counters, sink_offsets
from sinks.schema.base import Now
from sinks.sessions import Sessions
from sinks.writers.target import Target
from tallystick.errors import UsageError


class Owned(msgspec.Struct, frozen=True, eq=False):
    """A table, and the columns of it that its sink fills, or its sink and those of `TOGETHER` with it."""

    table: sa.Table
    filled: tuple[str, ...]

    @property
    def others(self) -> tuple[sa.Column[object], ...]:
        """The columns that somebody else may have filled; neither keys nor times at which rows were written."""
        return tuple(
            column
            for column in self.table.columns
            if column.name not in self.filled and not column.primary_key and not _is_now(column)
        )


class Emptied(msgspec.Struct, frozen=True):
    """A table of `sink`, and how many rows it holds. `lost` of them hold something in `others`, which no sink fills."""

    sink: str
    table: str
    rows: int
    lost: int
    others: tuple[str, ...]


def _owned(*targets: Target) -> tuple[Owned, ...]:
    return tuple(Owned(target.table, target.columns) for target in targets)


OWNED: Mapping[str, tuple[Owned, ...]] = {
    raw_events.RawEvents.name: (
        *_owned(raw_events.TARGET),
        Owned(dead_letter_retries, tuple(column.name for column in dead_letter_retries.columns)),
    ),
    Sessions.name: _owned(
        session_rows.SUMMARIES,
        session_rows.COMMANDS,
        session_rows.LOGINS,
        session_rows.FILES,
        session_rows.SESSION_SOURCES,
    ),
    inventories.Inventories.name: (
        *_owned(*(shares.target for shares in inventories.SHARES)),
        *(
            Owned(total.target.table, (*total.target.columns, *total.columns))
            for shares in inventories.SHARES
            for total in shares.totals
        ),
    ),
    sources.Sources.name: _owned(sources.SOURCES, sources.STAGES),
    dead_letters.DeadLetters.name: _owned(dead_letters.TARGET),
    Media.name: _owned(media_rows.MEDIA),
    Inodes.name: _owned(media_rows.INODES, media_rows.PATHS, media_rows.PROBLEMS),
    Copies.name: _owned(media_rows.COPIES, media_rows.BLOBS),
    Runs.name: _owned(media_rows.RUNS),
    Commits.name: _owned(atproto_rows.RECORDS, atproto_rows.REPOS),
    Snapshots.name: _owned(atproto_rows.SNAPSHOTS, atproto_rows.PARTS),
    Repositories.name: (),
    Accounts.name: _owned(atproto_rows.ACCOUNTS),
    Identities.name: _owned(atproto_rows.IDENTITIES),
    Labels.name: _owned(atproto_rows.LABELS, atproto_rows.HISTORY),
    Notices.name: _owned(atproto_rows.NOTICES),
}
"""What each sink owns."""

TOGETHER = ((Commits.name, Snapshots.name, Repositories.name),)
"""Sinks that write the same tables, which only all of them can fill again."""


def require_known(sinks: Collection[str]) -> None:
    """Raise UsageError where one of `sinks` is none, or lacks those that fill its tables with it."""
    unknown = sorted(set(sinks) - OWNED.keys())
    if unknown:
        raise UsageError(f"no such sink: {', '.join(map(repr, unknown))}; there are {', '.join(OWNED)}")
    for group in TOGETHER:
        if (given := set(sinks) & set(group)) and given != set(group):
            raise UsageError(
                f"{', '.join(group)} fill the same tables, so that none can be filled again alone: give all of them,"
                f" `tally db replay {' '.join(group)}`"
            )


def plan(connection: sa.Connection, sinks: Sequence[str]) -> list[Emptied]:
    """Return what the tables of `sinks` hold now, all of which `empty` would delete."""
    return [
        Emptied(
            sink,
            owned.table.name,
            _count(connection, owned.table),
            _lost(connection, owned),
            tuple(column.name for column in owned.others),
        )
        for sink in sinks
        for owned in OWNED[sink]
    ]


def empty(connection: sa.Connection, sinks: Sequence[str]) -> None:
    """Delete the rows of `sinks` and their counters, and let them read their topics from the beginning.

    Where a sink is at work, this waits for its transaction, and then the sink's next one fails as fenced off. A replay
    of one that is being filled again keeps the end of the first.
    """
    offsets = sink_offsets.c
    farthest = sa.case((offsets.refill_to > offsets.next_offset, offsets.refill_to), else_=offsets.next_offset)
    begin = {"next_offset": 0, "announced_offset": 0, "refill_to": farthest}
    connection.execute(sink_offsets.update().where(offsets.sink.in_(sinks)).values(begin))
    connection.execute(sink_counters.delete().where(sink_counters.c.sink.in_(sinks)))
    tables = [owned.table for sink in sinks for owned in OWNED[sink]]
    for statement in _deletions(connection, tables):
        connection.execute(statement)


def _deletions(connection: sa.Connection, tables: Sequence[sa.Table]) -> Iterator[sa.Executable]:
    if connection.dialect.name == "postgresql":
        yield sa.text(f"TRUNCATE {', '.join(table.name for table in tables)}")
    else:
        yield from (table.delete() for table in tables)


def _count(connection: sa.Connection, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table).where(*conditions)) or 0)


def _lost(connection: sa.Connection, owned: Owned) -> int:
    filled = [
        column.is_not(None) if column.server_default is None else column != _default(column) for column in owned.others
    ]
    return _count(connection, owned.table, sa.or_(*filled)) if filled else 0


def _default(column: sa.Column[object]) -> object:
    return column.server_default.arg if isinstance(column.server_default, sa.DefaultClause) else None


def _is_now(column: sa.Column[object]) -> bool:
    return isinstance(_default(column), Now)
