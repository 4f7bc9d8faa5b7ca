"""ntt's PostgreSQL database, which is only ever read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
import sqlalchemy as sa
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import ArgumentError, DBAPIError

from producers.media.ntt.tables import Tables, candidates, everything, rows_of
from tallystick.contracts.timestamps import render
from tallystick.database.engine import read_only_engine
from tallystick.errors import ServiceError, UsageError

_ROWS_AT_ONCE = 2_000
_NEEDED = {"medium_hash", "image_path", "enum_done", "copy_done"}
_SAID = ("added_at", "enum_done", "copy_done", "health", "problems", "diagnostics")
"""The columns of `medium` that are ntt's own word on it."""


class NttMedium(msgspec.Struct, frozen=True):
    """A row of `medium`. `said` is what ntt says of it, as text, times in canonical form; what is NULL is left out."""

    medium_hash: str
    name: str
    message: str
    image_path: str
    said: dict[str, str]


class NttPath(msgspec.Struct, frozen=True):
    """A path with its inode, as far as ntt knows them. `path` is absolute; None of an inode without any path."""

    path: bytes | None
    dev: int
    ino: int
    nlink: int | None
    size: int | None
    mtime: int | None
    type: str
    blobid: str
    status: str
    error: str
    claimed_by: str
    excluded: str


class NttDatabase:
    """Reads the database. Methods raise ServiceError where it can't be read."""

    def __init__(self, url: str) -> None:
        """Raises UsageError where `url` is none of PostgreSQL's."""
        parsed = _parse(url)
        named = sa.URL.create("postgresql", host=parsed.host, port=parsed.port, database=parsed.database)
        self.address = named.render_as_string()
        """Where the database is, without the names and secrets that one logs in with."""
        self._engine = read_only_engine(parsed, pool_size=2)
        self._catalogue: dict[str, dict[str, str]] = {}

    def require(self) -> None:
        """Look what tables there are. Raises UsageError where it is no database of ntt."""
        with self._connected() as connection:
            inspector = sa.inspect(connection)
            for table in inspector.get_table_names():
                columns = inspector.get_columns(table)
                self._catalogue[table] = {str(column["name"]): str(column["type"]) for column in columns}
        has_media = self._catalogue.get("medium", {}).keys() >= _NEEDED
        if not has_media or next(candidates(self._catalogue, ""), None) is None:
            raise UsageError(
                f"{self.address} is no database of ntt: it has no table medium with {', '.join(sorted(_NEEDED))}, or"
                " neither inode and path, nor inode_p_…, nor paths; check the URL (of another schema than the role's"
                " own, add ?options=-csearch_path%3DNAME)"
            )

    def media(self) -> list[NttMedium]:
        """Return all rows of `medium`, those whose hash is malformed among them, in the order of their hashes."""
        with self._connected() as connection:
            rows = connection.execute(sa.text("SELECT * FROM medium ORDER BY medium_hash")).mappings().all()
        return [_medium(row) for row in rows]

    def counts(self, medium_hash: str) -> dict[str, int]:
        """Return how many paths and inodes the tables hold of a medium, by the database's own count."""
        with self._connected() as connection:
            tables = self._tables_of(connection, medium_hash)
            if tables is None:
                return {"paths": 0, "inodes": 0}
            found = everything(self._catalogue, tables, medium_hash)
            distinct = sa.select(found.c.dev, found.c.ino).distinct()
            inodes = rows_of(tables.inode, medium_hash) if tables.inode else distinct
            queries = {"paths": rows_of(tables.path, medium_hash), "inodes": inodes}
            return {name: connection.scalar(_count(query)) or 0 for name, query in queries.items()}

    def devices(self, medium_hash: str) -> list[int]:
        """Return the devices that the files of a medium were on, in order."""
        with self._found(medium_hash) as (connection, found):
            query = sa.select(sa.func.coalesce(found.c.dev, 0)).distinct() if found is not None else None
            return [] if query is None else sorted(connection.scalars(query))

    def root(self, medium_hash: str) -> bytes:
        """Return the folder that all paths of a medium are told below of; empty where nothing tells which it is.

        That is the folder that is named after the medium, else the one that holds all the others, if it is listed.
        """
        with self._found(medium_hash) as (connection, found):
            if found is None:
                return b""
            path = found.c.path
            some = sa.select(path).where(path.is_not(None)).limit(1)
            ends = [connection.scalar(some.order_by(order)) for order in (path.asc(), path.desc())]
            common = _common_folder([bytes(end) for end in ends if end is not None])
            before, named, _ = (common + b"/").partition(f"/{medium_hash}/".encode())
            if named:
                return before + named[:-1]
            folder = sa.select(path).where(path == common, found.c.fs_type == "d").limit(1)
            return common if common and connection.scalar(folder) is not None else b""

    def paths(self, medium_hash: str) -> Iterator[NttPath]:
        """Yield all that is known of a medium, by device, inode and path, as it is taken."""
        with self._found(medium_hash) as (connection, found):
            if found is None:
                return
            query = sa.select(found).order_by(found.c.dev, found.c.ino, found.c.path)
            for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query):
                yield _path(row)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _found(self, medium_hash: str) -> Iterator[tuple[sa.Connection, sa.Subquery | None]]:
        """Give the query of all that is known of a medium, None where that is nothing."""
        with self._connected() as connection:
            tables = self._tables_of(connection, medium_hash)
            yield connection, None if tables is None else everything(self._catalogue, tables, medium_hash)

    def _tables_of(self, connection: sa.Connection, medium_hash: str) -> Tables | None:
        """Return the tables that hold rows of a medium, None where none does."""
        for tables in candidates(self._catalogue, medium_hash):
            names = filter(None, (tables.path, tables.inode))
            # A hash may be empty, so it is not by its truth that a row is told.
            if any(connection.scalar(rows_of(name, medium_hash).limit(1)) is not None for name in names):
                return tables
        return None

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            said = " ".join(str(error.orig).split())
            raise ServiceError(
                f"the database of ntt {self.address} can't be read: {said}; check that it is up, and the URL"
            ) from error


def _count(query: sa.Select[Any]) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(query.subquery())


def _common_folder(paths: list[bytes]) -> bytes:
    try:
        return os.path.commonpath(paths) if paths else b""
    except ValueError:  # some are absolute, others aren't
        return b""


def _path(row: Any) -> NttPath:
    return NttPath(
        path=None if row.path is None else bytes(row.path),
        dev=row.dev or 0,
        ino=row.ino,
        nlink=row.nlink,
        size=row.size,
        mtime=row.mtime,
        type=(row.fs_type or "").strip(),
        blobid=(row.blobid or "").strip(),
        status=row.status or "",
        error=row.error or "",
        claimed_by=row.claimed_by or "",
        excluded=row.exclude_reason or "",
    )


def _medium(row: RowMapping) -> NttMedium:
    return NttMedium(
        medium_hash=_text(row["medium_hash"]),
        name=_text(row.get("medium_human")),
        message=_text(row.get("message")),
        image_path=_text(row["image_path"]),
        said={name: _text(row[name]) for name in _SAID if row.get(name) is not None},
    )


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return render(value if value.tzinfo else value.replace(tzinfo=UTC))
        case dict() | list():
            return orjson.dumps(value).decode()
    return str(value)


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except ArgumentError as error:
        raise UsageError("that is no database URL such as postgresql://user@host/copyjob") from error
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise UsageError(f"the URL names {parsed.drivername!r}; ntt's database is PostgreSQL")
    return parsed.set(drivername="postgresql+psycopg")
