"""What Alembic does for `sinks/migrate.py`: taking the steps in `versions`, and comparing tables."""

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

from sinks.schema import metadata


def revisions() -> list[str]:
    """Return the revisions that there are steps to, the last one first."""
    return [step.revision for step in ScriptDirectory.from_config(config()).walk_revisions()]


def to_come(found: str) -> set[str]:
    """Return the revisions that a database at `found` lacks."""
    return {step.revision for step in ScriptDirectory.from_config(config()).iterate_revisions("head", found)}


def take(connection: sa.Connection, *, to: str) -> None:
    """Take all steps up to the revision `to`, within the transaction of `connection`."""
    command.upgrade(config(connection), to)


def differences(connection: sa.Connection, *, version_table: str) -> list[str]:
    """Return how the tables of the database differ from those of this code, one sentence each."""
    options = {"version_table": version_table, "compare_type": True, "include_name": _is_ours}
    context = MigrationContext.configure(connection, opts=options)
    return [_describe(difference) for difference in _flat(compare_metadata(context, metadata))]


def config(connection: sa.Connection | None = None) -> Config:
    """Return what Alembic's own commands need; without a `connection` only those that touch no database."""
    made = Config(stdout=io.StringIO())
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def _is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    return kind != "table" or name in metadata.tables


def _flat(found: Iterable[Any]) -> Iterable[tuple[Any, ...]]:
    for difference in found:
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
