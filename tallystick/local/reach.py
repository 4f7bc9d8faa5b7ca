"""Whether servers answer: any Kafka, any PostgreSQL, any SQLite file, ours or configured ones."""

import os
from pathlib import Path

import psycopg
import sqlalchemy as sa
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr
from sqlalchemy.exc import ArgumentError


def kafka(bootstrap_servers: str, *, seconds: float, client: dict[str, str] | None = None) -> bool:
    """Tell whether a broker answers and may work, within `seconds`. `client`: further librdkafka properties."""
    config: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap_servers,
        "log_level": 0,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
        **(client or {}),
    }
    try:
        return bool(AdminClient(config).list_topics(timeout=seconds).brokers)
    except KafkaException:
        return False


def postgresql(url: str, *, seconds: int) -> bool:
    """Tell whether the PostgreSQL at `url` answers a statement; connecting may take `seconds` (at least 2)."""
    try:
        with psycopg.connect(url, connect_timeout=seconds) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def database(url: SecretStr, *, seconds: int) -> bool:
    """Tell whether the configured database answers; an SQLite one does if its file is there or can be made."""
    try:
        parsed = sa.make_url(url.get_secret_value())
    except ArgumentError:
        return False
    if parsed.get_backend_name() == "sqlite":
        file = Path(parsed.database or "")
        return not parsed.database or os.access(file if file.exists() else file.absolute().parent, os.R_OK | os.W_OK)
    plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    return postgresql(plain, seconds=seconds)


def without_password(url: SecretStr) -> str:
    """Return a database URL that may be shown: without password and options; a fixed text if it is no URL at all."""
    try:
        parsed = sa.make_url(url.get_secret_value())
    except ArgumentError:
        return "(not a database URL)"
    return sa.URL.create(
        parsed.drivername, username=parsed.username, host=parsed.host, port=parsed.port, database=parsed.database
    ).render_as_string()
