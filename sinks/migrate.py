"""Bringing a database to the present schema, and telling how far it is. PostgreSQL and SQLite.

The tables live in the schema that `database.schema_name` names (PostgreSQL), which is created where it is missing.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from sinks.foreign import refuse_foreign_database, refuse_taken_names
from sinks.projection import name_projection
from sinks.schema import metadata, ntt
from tallystick.database.engine import snapshot
from tallystick.errors import ConfigurationError
from tallystick.settings import Settings

VERSION_TABLE = "tallystick_version"
_LOCK = 0x7A11_571C


def head() -> str:
    """Return the revision that this code needs."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def current(engine: sa.Engine) -> str | None:
    """Return the revision of the database, None where it holds none of our tables."""
    with snapshot(engine) as connection:
        return _context(connection).get_current_revision()


def upgrade(engine: sa.Engine, settings: Settings) -> str:
    """Bring the database to `head()`, in one transaction, and return it. Safe to repeat, and to race.

    Raises ConfigurationError, having changed nothing, where the database was made by a newer version, and its kind
    ForeignDatabaseError where another program has made tables or views of our names in it.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            if settings.database.schema_name:
                connection.execute(sa.schema.CreateSchema(settings.database.schema_name, if_not_exists=True))
        found = _context(connection).get_current_revision()
        if found is None:
            refuse_foreign_database(connection)
        elif found not in _revisions():
            raise ConfigurationError(
                f"the database is at revision {found}, which this version of Tallystick doesn't know: use a newer one"
            )
        elif ntt.SINCE in _to_come(found):
            refuse_taken_names(connection, ntt.VIEWS)
        command.upgrade(alembic_config(connection), "head")
        name_projection(connection)
    return head()


def require_head(engine: sa.Engine) -> None:
    """Raise ConfigurationError where the database is not at `head()`, or is another program's (see `upgrade`)."""
    with snapshot(engine) as connection:
        if (found := _context(connection).get_current_revision()) is None:
            refuse_foreign_database(connection)
    if found != head():
        raise ConfigurationError(
            f"the database is at revision {found or 'none'}, {head()} is needed: run `tally db upgrade`"
        )


def check(engine: sa.Engine) -> list[str]:
    """Return how the database differs from the tables of this code, one sentence each; empty where it doesn't.

    Raises ForeignDatabaseError as `upgrade` does.
    """
    with snapshot(engine) as connection:
        if (found := _context(connection).get_current_revision()) is None:
            refuse_foreign_database(connection)
            return ["the database holds no tables of Tallystick: run `tally db upgrade`"]
        behind = [] if found == head() else [f"revision is {found}, {head()} is needed"]
        return behind + [
            _describe(difference) for difference in _flat(compare_metadata(_context(connection), metadata))
        ]


def alembic_config(connection: sa.Connection | None = None) -> Config:
    """Return what Alembic's own commands need; without a `connection` only those that touch no database."""
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}


def _to_come(found: str) -> set[str]:
    """Return the revisions that a database at `found` lacks."""
    script = ScriptDirectory.from_config(alembic_config())
    return {each.revision for each in script.iterate_revisions("head", found)}


def _context(connection: sa.Connection) -> MigrationContext:
    options = {"version_table": VERSION_TABLE, "compare_type": True, "include_name": _is_ours}
    return MigrationContext.configure(connection, opts=options)


def _is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    return kind != "table" or name in metadata.tables


def _flat(differences: Iterable[Any]) -> Iterable[tuple[Any, ...]]:
    for difference in differences:
        if isinstance(difference, list):
            yield from difference
        else:
            yield difference


def _describe(difference: tuple[Any, ...]) -> str:
    kind, *rest = difference
    names = [
        part.name if isinstance(part, sa.Table | sa.Column | sa.Index | sa.Constraint) else str(part)
        for part in rest
        if part is not None
    ]
    return f"{kind.replace('_', ' ')}: {', '.join(map(str, names))}"
