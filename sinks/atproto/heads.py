"""The row of each repository in `atproto_repos`: the lock under which its records are written, and what it tells.

Two sinks write the records of a repository, each from a topic of its own. So each of them first locks the rows of all
repositories of its batch, always in the same order, before it looks which snapshot is the newest; where there is no row
it makes one. On SQLite a transaction that writes is alone.
"""

import functools
from collections.abc import Collection

import sqlalchemy as sa

from sinks.atproto import rows
from sinks.atproto.marks import ALL, Mark, Marks
from sinks.writers.base import Row, Writer
from sinks.writers.target import Target

_FOUND = "SELECT did, fetched_revision, fetched_rev FROM atproto_repos WHERE did IN ({keys})"
_LOCKED = _FOUND + ' ORDER BY did COLLATE "C" FOR UPDATE'
_PARTS = "SELECT did, collections, revision, rev FROM atproto_fetched_parts WHERE did IN ({keys})"
_NEWEST_COMMIT = "s.revision > t.revision"
_NEWEST_SNAPSHOT = (
    "(s.fetched_revision, s.fetched_attempt) > (coalesce(t.fetched_revision, -1), coalesce(t.fetched_attempt, -1))"
)


def lock(connection: sa.Connection, writer: Writer, dids: Collection[str]) -> Marks:
    """Hold the rows of `dids` until the transaction ends; return up to which revisions all is known of them."""
    if not dids:
        return Marks()
    query, parameters = writer.keys(("did",), [(did,) for did in sorted(dids)])
    connection.exec_driver_sql(
        f"INSERT INTO atproto_repos (did) SELECT * FROM ({query}) AS k WHERE true ON CONFLICT (did) DO NOTHING",  # noqa: S608
        parameters,
    )
    look = _LOCKED if connection.dialect.name == "postgresql" else _FOUND
    found = connection.exec_driver_sql(look.format(keys=query), parameters)
    marks = Marks((did, ALL, Mark(revision, rev)) for did, revision, rev in found if revision is not None)
    for did, part, revision, rev in connection.exec_driver_sql(_PARTS.format(keys=query), parameters):
        marks.take(did, part, Mark(revision, rev))
    return marks


def move_heads(connection: sa.Connection, writer: Writer, heads: Collection[Row]) -> None:
    """Let the rows tell of the newest of the commits `heads`; all of them are locked."""
    newest = rows.greatest(rows.REPOS, heads, ("revision",))
    _update(connection, writer, newest, columns=rows.HEAD_COLUMNS, condition=_NEWEST_COMMIT)


def move_fetched(connection: sa.Connection, writer: Writer, fetched: Collection[Row]) -> None:
    """Let the rows tell of the newest of the snapshots `fetched`; all of them are locked."""
    newest = rows.greatest(rows.REPOS, fetched, ("fetched_revision", "fetched_attempt"))
    _update(connection, writer, newest, columns=rows.FETCHED_COLUMNS, condition=_NEWEST_SNAPSHOT)


def keep_parts(connection: sa.Connection, writer: Writer, marks: Marks) -> None:
    """Keep the marks of collections; the rows of their repositories are locked, and no later mark is there."""
    parts = [rows.fetched_part(did, part, mark) for did, part, mark in marks if part != ALL]
    if parts:
        writer.take_latest(connection, rows.PARTS, parts)


def set_states(connection: sa.Connection, writer: Writer, states: Collection[Row]) -> None:
    """Let the rows tell of `states`, one a repository; all of them are locked."""
    _update(connection, writer, states, columns=rows.STATE_COLUMNS, condition="true")


def _update(
    connection: sa.Connection, writer: Writer, told: Collection[Row], *, columns: tuple[str, ...], condition: str
) -> None:
    if told:
        writer.stage(connection, rows.REPOS, told)
        connection.exec_driver_sql(_statement(rows.REPOS, columns, condition))


@functools.cache
def _statement(target: Target, columns: tuple[str, ...], condition: str) -> str:
    sets = ", ".join(f"{name} = s.{name}" for name in columns)
    return f"UPDATE {target.name} AS t SET {sets} FROM {target.stage} s WHERE s.did = t.did AND {condition}"  # noqa: S608
