"""cowrieprocessor's database, which is only ever read: pages of rows in the order of their ids."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from tallystick.contracts.dead_letters import PIECE_BYTES
from tallystick.database.engine import read_only_engine
from tallystick.errors import ServiceError, UsageError

_PAGE_ROWS = 20_000
_PAGE_SPAN = 1 << 31
"""Positions of a page differ by less: those of a window must lie within what a slice can say."""
_BUFFER_ROWS = 500
_NEEDED = {"id", "ingest_id", "payload", "payload_hash"}


class Table(msgspec.Struct, frozen=True):
    """A table of the old database that holds events; `stored` is the column that says when a row was written.

    A row holds at most so many `parts`. The position of a part is the row's id times `parts`, and its number from 0.
    """

    name: str
    stored: str
    parts: int = 1


RAW_EVENTS = Table("raw_events", "ingest_at")
DEAD_LETTERS = Table("dead_letter_events", "created_at", parts=1024)


class OldRow(msgspec.Struct, frozen=True):
    """One row. `payload` is None where there is none, and where it has more bytes than are read at once; `size` tells.

    `origin` is the path and line that the old tool read it from, `repaired` says that it made the event up itself.
    """

    id: int
    payload: bytes | None
    size: int
    origin: str
    repaired: bool
    stored_at: str


class OldDatabase:
    """Reads the old database, and can't write to it. Methods raise ServiceError where it can't be read.

    `max_bytes` is how long a payload may be that is read as a whole.
    """

    def __init__(self, url: str, *, max_bytes: int) -> None:
        parsed = _parse(url)
        self._postgresql = parsed.get_backend_name() == "postgresql"
        self.address = _address(parsed)
        self._max_bytes = max_bytes
        self._engine = read_only_engine(parsed, pool_size=1) if self._postgresql else _sqlite(parsed)
        # On SQLite text need not be UTF-8, and can then be fetched as bytes only.
        self._kind: type[sa.Text | sa.LargeBinary] = sa.Text if self._postgresql else sa.LargeBinary
        self._columns: dict[str, set[str]] = {}

    def require(self) -> list[Table]:
        """Return the tables that hold events. Raises UsageError where it is no database of cowrieprocessor."""
        with self._plainly(), self._engine.connect() as connection:
            inspector = sa.inspect(connection)
            for table in (RAW_EVENTS, DEAD_LETTERS):
                if inspector.has_table(table.name):
                    self._columns[table.name] = {column["name"] for column in inspector.get_columns(table.name)}
        if not self._columns.get(RAW_EVENTS.name, set()) >= _NEEDED:
            raise UsageError(
                f"{self.address} is no database of cowrieprocessor: it has no table raw_events with the columns"
                f" {', '.join(sorted(_NEEDED))}; check the URL (of another schema than the role's own, add"
                " ?options=-csearch_path%3DNAME)"
            )
        return [table for table in (RAW_EVENTS, DEAD_LETTERS) if table.name in self._columns]

    def first(self, table: Table) -> OldRow | None:
        """Return the row with the lowest id."""
        return next(iter(self.page(table, after=-1, max_bytes=1)), None)

    def last_id(self, table: Table) -> int:
        """Return the highest id, 0 where the table is empty."""
        with self._plainly(), self._engine.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.max(sa.column("id"))).select_from(_table(table))) or 0)

    def page(self, table: Table, *, after: int, max_bytes: int) -> list[OldRow]:
        """Return the next rows whose ids are above `after`: none at the end, else at least one, and then up to a bound.

        The bound is `max_bytes` of payloads, or a number of rows.
        """
        rows: list[OldRow] = []
        held = 0
        with self._plainly(), self._engine.connect() as connection:
            query = self._query(table).where(sa.column("id") > after).order_by(sa.column("id")).limit(_PAGE_ROWS)
            streamed = connection.execution_options(stream_results=True, max_row_buffer=_BUFFER_ROWS)
            with streamed.execute(query) as found:
                for row in found:
                    if rows and (row.id - rows[0].id) * table.parts >= _PAGE_SPAN:
                        break
                    rows.append(_old_row(row))
                    held += len(rows[-1].payload or b"")
                    if held >= max_bytes:
                        break
        return rows

    def pieces(self, table: Table, row: OldRow) -> Iterator[bytes]:
        """Yield a payload that is too long to be read as a whole, PIECE_BYTES at a time."""
        payload: sa.ColumnClause[Any] = sa.column("payload")
        content = (
            sa.func.convert_to(sa.cast(payload, sa.Text), "UTF8")
            if self._postgresql
            else sa.cast(payload, sa.LargeBinary)
        )
        for start in range(0, row.size, PIECE_BYTES):
            piece = sa.func.substr(content, start + 1, PIECE_BYTES, type_=sa.LargeBinary)
            with self._plainly(), self._engine.connect() as connection:
                query = sa.select(piece).select_from(_table(table)).where(sa.column("id") == row.id)
                yield bytes(connection.scalar(query) or b"")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _query(self, table: Table) -> sa.Select[Any]:
        payload: sa.Cast[Any] = sa.cast(sa.column("payload"), self._kind)
        size = sa.func.octet_length(payload) if self._postgresql else sa.func.length(payload)
        known = self._columns[table.name]

        def known_or_null(name: str, kind: type[sa.Text | sa.LargeBinary]) -> sa.ColumnElement[Any]:
            return sa.cast(sa.column(name), kind) if name in known else sa.null()

        return sa.select(
            sa.column("id"),
            sa.case((size <= self._max_bytes, payload)).label("payload"),
            sa.func.coalesce(size, 0).label("size"),
            known_or_null("source", self._kind).label("source"),
            known_or_null("source_inode", self._kind).label("inode"),
            known_or_null("source_offset", sa.Text).label("line"),
            known_or_null(table.stored, sa.Text).label("stored"),
        ).select_from(_table(table))

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            said = " ".join(str(error.orig).split())
            raise ServiceError(
                f"the old database {self.address} can't be read: {said}; check that it is up, and the URL"
            ) from error


def _table(table: Table) -> sa.TableClause:
    return sa.table(table.name)


def _old_row(row: Any) -> OldRow:
    source, inode = _as_bytes(row.source), _as_bytes(row.inode)
    name = (source or b"").decode("utf-8", "backslashreplace")
    return OldRow(
        id=row.id,
        payload=_as_bytes(row.payload),
        size=row.size,
        origin=name if row.line is None else f"{name}:{row.line}",
        # What its repair makes up it stores with the path in place of the inode.
        repaired=source is not None and (source == inode or source == b"dlq-repair"),
        stored_at=row.stored or "",
    )


def _as_bytes(value: str | bytes | None) -> bytes | None:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except ArgumentError as error:
        raise UsageError("that is no database URL such as postgresql://user@host/name or sqlite:///file") from error
    if parsed.drivername.partition("+")[0] not in {"postgresql", "postgres", "sqlite"}:
        raise UsageError(f"the URL names {parsed.drivername!r}; PostgreSQL and SQLite are supported")
    return parsed.set(drivername="sqlite" if parsed.drivername.startswith("sqlite") else "postgresql+psycopg")


def _address(url: sa.URL) -> str:
    """Return where the database is, without the names and secrets that one logs in with."""
    named = sa.URL.create(url.get_backend_name(), host=url.host, port=url.port, database=url.database)
    return named.render_as_string()


def _sqlite(url: sa.URL) -> sa.Engine:
    path = Path(url.database or "")
    if not path.is_file():
        raise UsageError(f"no such file: {path}; write sqlite:///relative/path or sqlite:////absolute/path")

    def connect() -> sqlite3.Connection:
        # `check_same_thread`: the pool may close a connection in another thread than the one that opened it.
        return sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=60, check_same_thread=False
        )

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool, pool_size=1)
