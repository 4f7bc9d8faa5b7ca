"""Alembic's entry point: it migrates the connection that `sinks/migrate.py` hands over, within its transaction."""

from alembic import context

from sinks.migrate import VERSION_TABLE
from sinks.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
