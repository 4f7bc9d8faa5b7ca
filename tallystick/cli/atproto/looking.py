"""`tally atproto repos` and `notices`: how repositories stand, and what happened to streams, as the database has it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.table import Table

from producers.atproto.hosts import host_of
from sinks import migrate, schema
from sinks.schema.base import MOMENT
from sinks.standing import read_time
from tallystick.cli.terminal import console, print_json, safe
from tallystick.contracts.atproto import RepositoryState
from tallystick.database.engine import make_engine, snapshot
from tallystick.database.errors import told_plainly
from tallystick.local import stack
from tallystick.settings import load_settings

_REPOSITORIES, _NOTICES = schema.atproto_repos, schema.atproto_notices
REPOSITORY_COLUMNS = (
    _REPOSITORIES.c.did,
    _REPOSITORIES.c.state,
    _REPOSITORIES.c.rev,
    _REPOSITORIES.c.known_rev,
    _REPOSITORIES.c.fetched_rev,
    _REPOSITORIES.c.account_status,
    _REPOSITORIES.c.fetches,
    _REPOSITORIES.c.problem,
    _REPOSITORIES.c.changed_at,
)
NOTICE_COLUMNS = (
    _NOTICES.c.at,
    _NOTICES.c.host,
    _NOTICES.c.stream,
    _NOTICES.c.kind,
    _NOTICES.c.action,
    _NOTICES.c.before_seq,
    _NOTICES.c.after_seq,
    _NOTICES.c.detail,
)
_TIMES = {column.name for column in (*REPOSITORY_COLUMNS, *NOTICE_COLUMNS) if column.type is MOMENT}

Row = Mapping[str, Any]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Limit = Annotated[int, typer.Option(min=1, help="Show so many at most.")]


def register(group: typer.Typer) -> None:
    """Add the commands of this module to those of AT Protocol."""
    for command in (repos, notices):
        group.command()(command)


def repos(
    *,
    state: Annotated[RepositoryState | None, typer.Option(help="Only those that stand so.")] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Show how repositories stand: how many in each state, and the first of them by DID, with what they lack."""
    with told_plainly(), _connection() as connection:
        counts = read_states(connection)
        rows = read_repositories(connection, state, limit=limit)
    if as_json:
        print_json({"states": counts, "repositories": rows})
        return
    if not counts:
        typer.echo("no repositories yet: `tally atproto firehose` or `backfill` brings some")
        return
    typer.echo(", ".join(f"{number:,} {name}" for name, number in counts.items()))
    _print(REPOSITORY_COLUMNS, rows)


def notices(
    *,
    host: Annotated[str | None, typer.Option(help="Only what happened to the streams of this host.")] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Show what happened to streams of hosts, the newest first: gaps, refused cursors, silence; and what was done."""
    name = host_of(host).name if host is not None else None
    with told_plainly(), _connection() as connection:
        rows = read_notices(connection, name, limit=limit)
    if as_json:
        print_json(rows)
    elif rows:
        _print(NOTICE_COLUMNS, rows)
    else:
        typer.echo("nothing has happened to any stream" if name is None else f"nothing has happened to {safe(name)}")


def read_states(connection: sa.Connection) -> dict[str, int]:
    """Return how many repositories there are by their state; `unknown` are those that no agent has looked at yet."""
    state = sa.func.coalesce(_REPOSITORIES.c.state, "unknown").label("state")
    query = sa.select(state, sa.func.count()).select_from(_REPOSITORIES).group_by("state").order_by("state")
    return {str(name): int(number) for name, number in connection.execute(query)}


def read_repositories(connection: sa.Connection, state: RepositoryState | None, *, limit: int) -> list[Row]:
    """Return the first repositories by DID, those of one `state` or all."""
    query = sa.select(*REPOSITORY_COLUMNS).order_by(_REPOSITORIES.c.did).limit(limit)
    if state is not None:
        query = query.where(_REPOSITORIES.c.state == str(state))
    return _rows(connection, query)


def read_notices(connection: sa.Connection, host: str | None, *, limit: int) -> list[Row]:
    """Return the newest notices, of one `host` or all."""
    query = sa.select(*NOTICE_COLUMNS).order_by(_NOTICES.c.at.desc(), _NOTICES.c.host).limit(limit)
    if host is not None:
        query = query.where(_NOTICES.c.host == host)
    return _rows(connection, query)


@contextmanager
def _connection() -> Iterator[sa.Connection]:
    """Open the database, which is brought up to date first."""
    settings = stack.resolve(load_settings())
    engine = make_engine(settings)
    try:
        migrate.upgrade(engine, settings)
        with snapshot(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[Row]:
    return [
        {name: read_time(value) if name in _TIMES else value for name, value in row.items()}
        for row in connection.execute(query).mappings()
    ]


def _print(columns: Sequence[sa.Column[Any]], rows: Sequence[Row]) -> None:
    table, names = Table(box=None, pad_edge=False), [column.name for column in columns]
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(safe("-" if row[name] in {None, ""} else str(row[name])) for name in names))
    console().print(table)
