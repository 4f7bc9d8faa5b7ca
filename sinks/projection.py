"""Which database this is, and of which log it is a projection."""

import secrets

import sqlalchemy as sa

from sinks.schema import meta
from tallystick.database.engine import snapshot
from tallystick.errors import ConfigurationError
from tallystick.kafka.topics import cluster_id
from tallystick.settings import Settings


def projection_id(engine: sa.Engine) -> str:
    """Return the database's name, 12 hex digits. Raises ConfigurationError where it has none yet."""
    with snapshot(engine) as connection:
        found = connection.scalar(sa.select(meta.c.projection))
    if found is None:
        raise ConfigurationError("the database has no name yet: run `tally db upgrade`")
    return str(found)


def bind_to_log(engine: sa.Engine, settings: Settings) -> str:
    """Make the database a projection of the configured Kafka, if it is of none yet, and return the cluster's id.

    Offsets, counters and verdicts of one log say nothing of another: with them, a load could end in the success of an
    earlier one. Raises ConfigurationError where the database belongs to another cluster or to other topics.
    """
    cluster = cluster_id(settings)
    log = f"{cluster}/{settings.kafka.topic_prefix}"
    with engine.begin() as connection:
        connection.execute(meta.update().where(meta.c.log.is_(None)).values(log=log))
        bound = connection.scalar(sa.select(meta.c.log))
    if bound != log:
        raise ConfigurationError(
            f"this database is filled from Kafka cluster and topic prefix {bound!r}, but {log!r} is configured;"
            " use another database or database.schema_name for it, or the Kafka that this one was filled from"
        )
    return cluster


def name_projection(connection: sa.Connection) -> None:
    """Give the database a name, if it has none. The caller holds the migration's lock."""
    if connection.scalar(sa.select(meta.c.projection)) is None:
        connection.execute(meta.insert().values(id=1, projection=secrets.token_hex(6)))
