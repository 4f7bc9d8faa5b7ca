"""Rows into PostgreSQL by COPY: straight into the table while nothing is there yet, else by a staging table."""

import functools
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any, cast

import psycopg
import sqlalchemy as sa

from sinks.counting import INSERTED, MISSING, PRESENT
from sinks.writers import copy_fields
from sinks.writers import target as sql
from sinks.writers.base import Cell, Key, Row, Writer
from sinks.writers.target import Target, listed, same
from sinks.writers.totals import Functions

CAUTIOUS_BATCHES = 20
"""For so many batches after a conflict rows are staged, as a repeat seldom comes alone."""
_AT_ONCE = 512
"""So many rows are sent at once: some 200 KiB, which the system takes although the server is still busy."""
_SENT_AS = {sa.Integer: "int8", sa.Float: "float8", sa.Boolean: "bool", sa.LargeBinary: "bytea"}
"""The types as which values of these columns are sent; all others are text."""


class PostgresqlWriter(Writer):
    """See Writer. Cells are fields of COPY's binary format."""

    distinct = "IS DISTINCT FROM"
    functions = Functions(least="LEAST({0}, {1})", greatest="GREATEST({0}, {1})")
    text = staticmethod(copy_fields.text)
    json = staticmethod(copy_fields.jsonb)
    binary = staticmethod(copy_fields.text)
    moment = staticmethod(copy_fields.timestamptz)
    number = staticmethod(copy_fields.bigint)
    small = staticmethod(copy_fields.integer)
    flag = staticmethod(copy_fields.boolean)
    null = copy_fields.NULL
    common = staticmethod(b"".join)
    event_row = staticmethod(copy_fields.event_row)

    def __init__(self) -> None:
        self._cautious = 0

    def insert_new(self, connection: sa.Connection, target: Target, rows: Sequence[tuple[Cell, ...]]) -> bytes:
        """See Writer."""
        if self._cautious:
            self._cautious -= 1
        elif (inserted := self._copy_into_table(connection, target, rows)) is None:
            self._cautious = CAUTIOUS_BATCHES
        else:
            return bytes([INSERTED]) * len(rows) if inserted == len(rows) else self._fates(connection, target, rows)
        self._stage_numbered(connection, target, rows)
        inserted = connection.exec_driver_sql(sql.insert_new(target)).rowcount
        return bytes([INSERTED]) * len(rows) if inserted == len(rows) else self._look_up(connection, target, len(rows))

    def insert(self, connection: sa.Connection, target: Target, rows: Collection[Row]) -> None:
        """See Writer."""
        if rows:
            _copy_rows(connection, target.name, target, rows)

    def alone(self, connection: sa.Connection, name: str) -> None:
        """See Writer."""
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext(current_schema()), hashtext(%s))", (name,))

    def stage(self, connection: sa.Connection, target: Target, rows: Collection[Row]) -> None:
        """See Writer."""
        _clear_stage(connection, target)
        if rows:
            _copy_rows(connection, target.stage, target, rows)

    def keys(self, names: tuple[str, ...], keys: Sequence[Key]) -> tuple[str, tuple[Any, ...]]:
        """See Writer."""
        # In binary form, as psycopg needs a third of the time for it.
        arrays = ", ".join(["%b::text[]"] * len(names))
        columns = tuple(list(column) for column in zip(*keys, strict=True))
        return f"SELECT * FROM unnest({arrays})", columns  # noqa: S608

    @staticmethod
    def _copy_into_table(connection: sa.Connection, target: Target, rows: Sequence[tuple[Cell, ...]]) -> int | None:
        """Return how many rows COPY says that it stored, None where one of them was there."""
        try:
            with connection.begin_nested():
                return _copy(connection, target.name, target.columns, rows)
        except psycopg.errors.UniqueViolation:
            return None

    def _fates(self, connection: sa.Connection, target: Target, rows: Sequence[tuple[Cell, ...]]) -> bytes:
        self._stage_numbered(connection, target, rows)
        return self._look_up(connection, target, len(rows))

    @staticmethod
    def _stage_numbered(connection: sa.Connection, target: Target, rows: Sequence[tuple[Cell, ...]]) -> None:
        _clear_stage(connection, target)
        numbered = ((copy_fields.integer(place), *row) for place, row in enumerate(rows))
        _copy(connection, target.stage, ("stage_ordinal", *target.columns), numbered)

    @staticmethod
    def _look_up(connection: sa.Connection, target: Target, size: int) -> bytes:
        fates = bytearray([MISSING]) * size
        found = connection.exec_driver_sql(
            f"SELECT s.stage_ordinal, {same(target.own, 's', 't') or 'true'}"  # noqa: S608
            f" FROM {target.stage} s JOIN {target.name} t ON {same(target.key, 's', 't')}"
        )
        for ordinal, own in found:
            fates[ordinal] = INSERTED if own else PRESENT
        return bytes(fates)


def _cursor(connection: sa.Connection) -> psycopg.Cursor[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection), "the engine uses psycopg"  # noqa: S101 - made by make_engine
    return driver.cursor()


def _copy(connection: sa.Connection, table: str, columns: tuple[str, ...], rows: Iterable[tuple[Cell, ...]]) -> int:
    """Copy `rows`, of cells, and return how many the server says that it stored.

    They are sent while they are made: the server stores the first ones meanwhile.
    """
    waiting = iter(cast(Iterable[tuple[bytes, ...]], rows))
    with _cursor(connection) as cursor:
        with cursor.copy(f"COPY {table} ({listed(columns)}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
            copy.write(copy_fields.BEGIN)
            while block := copy_fields.encoded(islice(waiting, _AT_ONCE), len(columns)):
                copy.write(block)
            copy.write(copy_fields.END)
        return cursor.rowcount


def _copy_rows(connection: sa.Connection, table: str, target: Target, rows: Iterable[Row]) -> None:
    statement = f"COPY {table} ({listed(target.columns)}) FROM STDIN".encode()
    with _cursor(connection) as cursor, cursor.copy(statement) as copy:
        # psycopg then needs half the time, as it doesn't ask of each value what it is.
        copy.set_types(_types_of_values(target))
        for row in rows:
            copy.write_row(row)


@functools.cache
def _types_of_values(target: Target) -> list[str]:
    """Return as what the values of each column are sent: times and JSON are text, which the server reads."""
    types = [target.table.c[name].type for name in target.columns]
    return [next((sent for kind, sent in _SENT_AS.items() if isinstance(of, kind)), "text") for of in types]


def _clear_stage(connection: sa.Connection, target: Target) -> None:
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {target.stage} ON COMMIT DELETE ROWS"  # noqa: S608
        f" AS SELECT 0 AS stage_ordinal, {listed(target.columns)} FROM {target.name} WITH NO DATA"
    )
    # A commit empties it, so there is seldom anything to delete; TRUNCATE would make a new file each time.
    connection.exec_driver_sql(f"DELETE FROM pg_temp.{target.stage}")  # noqa: S608
