"""The name of a database in stage events: made once, when its tables are."""

import secrets

import sqlalchemy as sa

from sinks.schema import meta
from tallystick.database.engine import snapshot
from tallystick.errors import ConfigurationError


def projection_id(engine: sa.Engine) -> str:
    """Return the database's name, 12 hex digits. Raises ConfigurationError where it has none yet."""
    with snapshot(engine) as connection:
        found = connection.scalar(sa.select(meta.c.projection))
    if found is None:
        raise ConfigurationError("the database has no name yet: run `tally db upgrade`")
    return str(found)


def name_projection(connection: sa.Connection) -> None:
    """Give the database a name, if it has none. The caller holds the migration's lock."""
    if connection.scalar(sa.select(meta.c.projection)) is None:
        connection.execute(meta.insert().values(id=1, projection=secrets.token_hex(6)))
