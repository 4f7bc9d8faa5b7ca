"""Rows into SQLite."""

from collections.abc import Collection, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from sinks.counting import INSERTED, MISSING, PRESENT
from sinks.writers.base import Cell, Key, Row, Writer
from sinks.writers.target import Target, listed
from sinks.writers.totals import Functions


class SqliteWriter(Writer):
    """See Writer. Cells are Python's own values."""

    distinct = "IS NOT"
    functions = Functions(least="coalesce(min({0}, {1}), {0}, {1})", greatest="coalesce(max({0}, {1}), {0}, {1})")
    text = staticmethod(bytes.decode)
    json = staticmethod(bytes.decode)
    binary = staticmethod(bytes)
    moment = staticmethod(str)
    number = staticmethod(int)
    small = staticmethod(int)
    flag = staticmethod(bool)
    null = None
    common = staticmethod(tuple)

    @staticmethod
    def event_row(
        common: tuple[Cell, ...],
        kind: Cell,
        score: Cell,
        raw: Cell,
        digest: bytes,
        position: int,
        moment: str,
        payload: bytes,
    ) -> tuple[Cell, ...]:
        """See Writer."""
        number = int.from_bytes(digest, "big", signed=True)
        return (*common, kind, score, raw, number, position, moment, payload.decode())

    def insert_new(self, connection: sa.Connection, target: Target, rows: Sequence[tuple[Cell, ...]]) -> bytes:
        """See Writer."""
        cursor = _cursor(connection)
        conflict = f" ON CONFLICT ({listed(target.key)}) DO NOTHING"
        if cursor.executemany(_insert(target.name, target) + conflict, rows).rowcount == len(rows):
            return bytes([INSERTED]) * len(rows)
        keys = [target.columns.index(name) for name in target.key]
        own = [target.columns.index(name) for name in target.own]
        equal = " AND ".join(f'"{name}" = ?' for name in target.own) or "1"
        where = " AND ".join(f'"{name}" = ?' for name in target.key)
        query = f"SELECT {equal} FROM {target.name} WHERE {where}"  # noqa: S608
        fates = bytearray([MISSING]) * len(rows)
        for index, row in enumerate(rows):
            found = cursor.execute(query, [row[place] for place in (*own, *keys)]).fetchone()
            if found is not None:
                fates[index] = INSERTED if found[0] else PRESENT
        return bytes(fates)

    def insert(self, connection: sa.Connection, target: Target, rows: Collection[Row]) -> None:
        """See Writer."""
        _cursor(connection).executemany(_insert(target.name, target), rows)

    def alone(self, connection: sa.Connection, name: str) -> None:
        """See Writer. Every transaction that writes is alone here."""

    def stage(self, connection: sa.Connection, target: Target, rows: Collection[Row]) -> None:
        """See Writer."""
        cursor = _cursor(connection)
        cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {target.stage}"  # noqa: S608
            f" AS SELECT {listed(target.columns)} FROM {target.name} WHERE false"
        )
        if target.parent:
            # What is staged is looked for row by row; without an index that would grow with the square of a batch.
            name = f"temp.ix_{target.stage}"
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {target.stage} ({listed(target.key)})")
        cursor.execute(f"DELETE FROM {target.stage}")  # noqa: S608
        cursor.executemany(_insert(target.stage, target), rows)

    def keys(self, names: tuple[str, ...], keys: Sequence[Key]) -> tuple[str, tuple[Any, ...]]:
        """See Writer."""
        values = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(names)))
        return f"SELECT {values} FROM json_each(?)", (orjson.dumps(keys).decode(),)  # noqa: S608


def _cursor(connection: sa.Connection) -> Any:
    return connection.connection.cursor()


def _insert(table: str, target: Target) -> str:
    marks = ", ".join("?" * len(target.columns))
    return f"INSERT INTO {table} ({listed(target.columns)}) VALUES ({marks})"  # noqa: S608
