"""Writers: one interface to put rows into tables, one implementation a database."""

import sqlalchemy as sa

from sinks.writers.base import Writer
from sinks.writers.postgresql import PostgresqlWriter
from sinks.writers.sqlite import SqliteWriter


def make_writer(engine: sa.Engine) -> Writer:
    """Return the writer for the database of `engine`. A writer belongs to one thread."""
    return PostgresqlWriter() if engine.dialect.name == "postgresql" else SqliteWriter()
