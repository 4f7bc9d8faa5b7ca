"""Whose database this is: one that another program has made is told from an empty one before anything is written."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from sinks.schema import atproto, metadata, ntt
from sinks.schema.compatibility import VIEWS
from sinks.schema.inventories import PASSWORD_STATISTICS
from tallystick.errors import ForeignDatabaseError

Columns = Mapping[str, frozenset[str]]
"""The columns of each table or view, by its name."""

_MARKS = {
    "raw_events": frozenset({"ingest_id", "payload_hash", "source_inode"}),
    "ingest_cursors": frozenset({"last_offset", "last_ingest_id"}),
    "schema_state": frozenset({"key", "value"}),
}
"""Columns that cowrieprocessor's tables have in all of its versions, and ours never."""
_NEEDED = 2
_OURS = metadata.tables.keys() | VIEWS.keys() | ntt.VIEWS.keys() | atproto.VIEWS.keys() | {PASSWORD_STATISTICS}


def refuse_foreign_database(connection: sa.Connection) -> None:
    """Raise ForeignDatabaseError where tables or views of our names are there; call it where our revision is not.

    The message says whose they are, where they are, and what to do. Writes nothing.
    """
    held = _look(connection)
    taken = sorted(held.keys() & _OURS)
    where = _where(connection)
    if is_cowrieprocessor(held):
        version = _version(connection, held)
        raise ForeignDatabaseError(
            f"{where} holds a database that cowrieprocessor made{version}, with {', '.join(taken) or 'its tables'};"
            f" nothing in it was changed. {_instead(connection)}; then `tally import cowrieprocessor URL`, with the"
            " URL of this one, brings its events over"
        )
    if taken:
        raise ForeignDatabaseError(
            f"{where} already holds {', '.join(taken)}, which Tallystick didn't make;"
            f" nothing in it was changed. {_instead(connection)}"
        )


def refuse_taken_names(connection: sa.Connection, names: Collection[str]) -> None:
    """Raise ForeignDatabaseError where our own database holds what is called by `names`, which ours are to be called.

    So it is where somebody else's tables lie beside ours, from before these names were ours. Writes nothing.
    """
    if taken := sorted(_look(connection).keys() & set(names)):
        raise ForeignDatabaseError(
            f"{_where(connection)} holds {', '.join(taken)}, which Tallystick didn't make, and which it needs as names"
            " now; nothing in it was changed. Rename them, or move them to another schema or database"
        )


def is_cowrieprocessor(held: Columns) -> bool:
    """Return whether the tables are those that cowrieprocessor makes: at least two of those that only it has so."""
    return sum(columns <= held.get(name, frozenset()) for name, columns in _MARKS.items()) >= _NEEDED


def _look(connection: sa.Connection) -> dict[str, frozenset[str]]:
    inspector = sa.inspect(connection)
    names = (_OURS | _MARKS.keys()) & {
        *inspector.get_table_names(),
        *inspector.get_view_names(),
    }
    return {name: frozenset(column["name"] for column in inspector.get_columns(name)) for name in names}


def _where(connection: sa.Connection) -> str:
    url = connection.engine.url
    if connection.dialect.name == "sqlite":
        return f"the file {url.database}"
    schema = connection.scalar(sa.select(sa.func.current_schema()))
    return f"schema {schema} of database {url.database} at {url.host or 'the local socket'}"


def _instead(connection: sa.Connection) -> str:
    if connection.dialect.name == "sqlite":
        return "Name another file in database.url"
    return "Name another schema in database.schema_name, or another database in database.url"


def _version(connection: sa.Connection, held: Columns) -> str:
    if not _MARKS["schema_state"] <= held.get("schema_state", frozenset()):
        return ""
    table = sa.table("schema_state", sa.column("key"), sa.column("value"))
    found = connection.scalar(sa.select(table.c.value).where(table.c.key == "schema_version"))
    return f" (its schema version {found})" if found else ""
