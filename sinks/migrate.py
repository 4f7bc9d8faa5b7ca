"""Bringing a database to the present schema, and telling how far it is. PostgreSQL and SQLite.

The tables live in the schema that `database.schema_name` names (PostgreSQL), which is created where it is missing.
Alembic is imported only where it has something to do: every process that uses a database looks how far it is, and
would start a fifth slower with it.
"""

import sqlalchemy as sa

from sinks.foreign import refuse_foreign_database, refuse_taken_names
from sinks.projection import name_projection
from sinks.schema import ntt
from tallystick.database.engine import snapshot
from tallystick.errors import ConfigurationError
from tallystick.settings import Settings

HEAD = "0011"
"""The revision that this code needs: that of the last step in `sinks/migrations/versions`."""
VERSION_TABLE = "tallystick_version"
_LOCK = 0x7A11_571C


def current(engine: sa.Engine) -> str | None:
    """Return the revision of the database, None where it holds none of our tables."""
    with snapshot(engine) as connection:
        return _revision(connection)


def upgrade(engine: sa.Engine, settings: Settings) -> str:
    """Bring the database to `HEAD`, in one transaction, and return it. Safe to repeat, and to race.

    Raises ConfigurationError, having changed nothing, where the database was made by a newer version, and its kind
    ForeignDatabaseError where another program has made tables or views of our names in it.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            if settings.database.schema_name:
                connection.execute(sa.schema.CreateSchema(settings.database.schema_name, if_not_exists=True))
        found = _revision(connection)
        if found is None:
            refuse_foreign_database(connection)
        if found != HEAD:
            _take_steps(connection, found)
        name_projection(connection)
    return HEAD


def require_head(engine: sa.Engine) -> None:
    """Raise ConfigurationError where the database is not at `HEAD`, or is another program's (see `upgrade`)."""
    with snapshot(engine) as connection:
        if (found := _revision(connection)) is None:
            refuse_foreign_database(connection)
    if found != HEAD:
        raise ConfigurationError(
            f"the database is at revision {found or 'none'}, {HEAD} is needed: run `tally db upgrade`"
        )


def check(engine: sa.Engine) -> list[str]:
    """Return how the database differs from the tables of this code, one sentence each; empty where it doesn't.

    Raises ForeignDatabaseError as `upgrade` does.
    """
    from sinks.migrations.steps import differences

    with snapshot(engine) as connection:
        if (found := _revision(connection)) is None:
            refuse_foreign_database(connection)
            return ["the database holds no tables of Tallystick: run `tally db upgrade`"]
        behind = [] if found == HEAD else [f"revision is {found}, {HEAD} is needed"]
        return behind + differences(connection, version_table=VERSION_TABLE)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE)))
    return found


def _take_steps(connection: sa.Connection, found: str | None) -> None:
    from sinks.migrations import steps

    if found is not None and found not in steps.revisions():
        raise ConfigurationError(
            f"the database is at revision {found}, which this version of Tallystick doesn't know: use a newer one"
        )
    if found is not None and ntt.SINCE in steps.to_come(found):
        refuse_taken_names(connection, ntt.VIEWS)
    steps.take(connection, to=HEAD)
