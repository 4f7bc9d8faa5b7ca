"""Engines for PostgreSQL and SQLite."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from tallystick.errors import ConfigurationError
from tallystick.settings import Settings

MIN_SQLITE = (3, 35, 0)
_READ_ONLY = "tallystick_read_only"


def make_engine(settings: Settings) -> sa.Engine:
    """Return an engine for the configured database. It connects lazily; every connection is checked before use.

    Raises ConfigurationError where no database is configured or the URL is neither PostgreSQL's nor SQLite's.
    """
    url = database_url(settings)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    options = "-c timezone=UTC"
    if settings.database.schema_name:
        options += f" -c search_path={settings.database.schema_name}"
    return sa.create_engine(
        url, pool_pre_ping=True, pool_size=4, connect_args={"options": options, "connect_timeout": 10}
    )


def read_only_engine(url: sa.URL, *, pool_size: int) -> sa.Engine:
    """Return an engine for a PostgreSQL of another program, which no session of it can change."""
    asked = url.query.get("options", "")
    options = (
        f"{asked if isinstance(asked, str) else ' '.join(asked)} -c timezone=UTC -c default_transaction_read_only=on"
    )
    return sa.create_engine(
        url.difference_update_query(["options"]),
        pool_size=pool_size,
        pool_pre_ping=True,
        connect_args={"options": options.strip(), "connect_timeout": 10},
    )


def database_url(settings: Settings) -> sa.URL:
    """Return the configured URL with the driver that we use: psycopg 3, or Python's own SQLite."""
    if settings.database.url is None:
        raise ConfigurationError(
            "no database is configured: set database.url in tallystick.toml, or TALLY_DATABASE__URL"
        )
    try:
        url = sa.make_url(settings.database.url.get_secret_value())
    except ArgumentError as error:
        raise ConfigurationError("database.url is not a database URL such as postgresql://user@host/name") from error
    match url.get_backend_name():
        case "postgresql" | "postgres":
            return url.set(drivername="postgresql+psycopg")
        case "sqlite":
            if sqlite3.sqlite_version_info < MIN_SQLITE:
                raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
            return url
        case other:
            raise ConfigurationError(f"database.url names {other!r}; PostgreSQL and SQLite are supported")


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a connection that sees the database as at its first query, changes nothing, and blocks no writer."""
    options: dict[str, Any] = (
        {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        if engine.dialect.name == "postgresql"
        else {_READ_ONLY: True}
    )
    with engine.connect().execution_options(**options) as connection:
        yield connection


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": 60, "isolation_level": None})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        # The mode lasts once it is set, so only a new file needs it; another program's file is not to be changed.
        if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        read_only = connection.get_execution_options().get(_READ_ONLY)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
