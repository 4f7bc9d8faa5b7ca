"""The interface of all writers, and what is the same for every database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any

import sqlalchemy as sa

from sinks.writers import target as sql
from sinks.writers import totals
from sinks.writers.target import Target
from sinks.writers.totals import Functions, Total

Cell = bytes | str | int | None
"""A value as the database's bulk interface takes it; only a writer makes and reads them."""
Row = tuple[Any, ...]
Key = tuple[str, ...]


class Writer(ABC):
    """Puts rows into tables, within the transaction of the connection that it is given. Commits nothing.

    Every method raises what the database raises, and then leaves the transaction to the caller, who must go back to a
    savepoint or to its beginning. What is told of rows is what the database did, never what was asked of it.
    """

    distinct: str
    functions: Functions
    text: Callable[[bytes], Cell]
    """Makes a cell of UTF-8 text."""
    json: Callable[[bytes], Cell]
    """Makes a cell of JSON."""
    binary: Callable[[bytes], Cell]
    """Makes a cell of any bytes."""
    moment: Callable[[str], Cell]
    """Makes a cell of a canonical time."""
    number: Callable[[int], Cell]
    """Makes a cell of a column of large integers (`NUMBER`)."""
    small: Callable[[int], Cell]
    """Makes a cell of a column of integers."""
    flag: Callable[[bool], Cell]
    """Makes a cell of a truth value."""
    null: Cell

    common: Callable[..., Any]
    """Makes of a list of cells, with which many rows begin, what `event_row` takes."""
    event_row: Callable[..., tuple[Cell, ...]]
    """Makes a row for `insert_new` faster than cell by cell; what it holds may be several cells in one.

    Of `common`, three cells (kind, score, exact bytes), two large integers (the digest, packed with its highest byte
    first, and the position), a canonical time, and JSON.
    """

    @abstractmethod
    def insert_new(self, connection: sa.Connection, target: Target, rows: Sequence[tuple[Cell, ...]]) -> bytes:
        """Insert those of `rows` whose key is not there yet, and return the fate of each (`counting.INSERTED` …).

        A row is `INSERTED` where it is in the table with its own values in the columns `target.own`, `PRESENT` where
        its key is there from elsewhere, `MISSING` where the database kept neither. The same key may come twice.
        """

    @abstractmethod
    def insert(self, connection: sa.Connection, target: Target, rows: Collection[Row]) -> None:
        """Insert `rows`, none of which may be there."""

    @abstractmethod
    def alone(self, connection: sa.Connection, name: str) -> None:
        """Wait until no other transaction of this database has asked for `name`; hold it until this one ends."""

    @abstractmethod
    def stage(self, connection: sa.Connection, target: Target, rows: Collection[Row]) -> None:
        """Fill the staging table of `target` with `rows` alone."""

    @abstractmethod
    def keys(self, names: tuple[str, ...], keys: Sequence[Key]) -> tuple[str, tuple[Any, ...]]:
        """Return a query that yields `keys`, and its parameters. `names` are their columns."""

    def revisions(self, connection: sa.Connection, target: Target, keys: Sequence[Key]) -> dict[Key, int]:
        """Return the revision of each of `keys` that the table holds."""
        query, parameters = self.keys(target.key, keys)
        found = connection.exec_driver_sql(sql.revisions(target, query), parameters)
        return {tuple(key): revision for *key, revision in found}

    def move_forward(self, connection: sa.Connection, target: Target, rows: Collection[Row]) -> None:
        """Insert `rows`, or replace those of a lower revision. No key may come twice."""
        self.stage(connection, target, rows)
        connection.exec_driver_sql(sql.insert_forward(target))

    def take_latest(self, connection: sa.Connection, target: Target, rows: Collection[Row]) -> None:
        """Insert `rows`, or replace those of the same or a lower revision. No key may come twice."""
        self.stage(connection, target, rows)
        connection.exec_driver_sql(sql.insert_latest(target))

    def take_greatest(
        self, connection: sa.Connection, target: Target, rows: Collection[Row], by: tuple[str, ...]
    ) -> None:
        """Insert `rows`, or replace those that are less by the columns `by`, in their order. No key may come twice."""
        self.stage(connection, target, rows)
        connection.exec_driver_sql(sql.insert_greatest(target, by))

    def replace_children(
        self, connection: sa.Connection, target: Target, parents: Sequence[Key], rows: Collection[Row]
    ) -> None:
        """Make `rows` the only ones of `parents`; a row that is there keeps its columns that `target` doesn't list."""
        self.stage(connection, target, rows)
        self.replace_by_staged(connection, target, parents)

    def replace_by_staged(self, connection: sa.Connection, target: Target, parents: Sequence[Key]) -> None:
        """Do as `replace_children` does, with the rows that are staged; there may be others than of `parents`."""
        if parents:
            query, parameters = self.keys(target.parent, parents)
            connection.exec_driver_sql(sql.delete_absent(target, query), parameters)
        connection.exec_driver_sql(sql.insert_changed(target, self.distinct))

    def add(self, connection: sa.Connection, target: Target, rows: Collection[Row]) -> None:
        """Insert those of `rows` that are not there."""
        self.stage(connection, target, rows)
        connection.exec_driver_sql(sql.insert_new(target))

    def move_totals(
        self, connection: sa.Connection, total: Total, parents: Sequence[Key], texts: Collection[Row]
    ) -> list[Row]:
        """Move `total` by the shares that are staged, less those that the table has of the sessions `parents`.

        `texts` are rows of `total.target` for all staged keys, where it has texts. The caller is `alone`, and writes
        the shares after all of their totals. Returns the keys of what must then be `recount`ed.
        """
        receding: list[Row] = []
        if parents:
            query, parameters = self.keys(total.of.parent, parents)
            found = connection.exec_driver_sql(totals.receding(total, query), parameters)
            receding = [tuple(row) for row in found]
            connection.exec_driver_sql(totals.subtract(total, query), parameters)
        if total.texts:
            self.stage(connection, total.target, texts)
        connection.exec_driver_sql(totals.grow(total, self.functions))
        return receding

    def recount(self, connection: sa.Connection, total: Total, keys: Sequence[Row]) -> None:
        """Take the totals of `keys` anew from all shares, and delete those that have none any more."""
        self.stage(connection, total.target, [(*key, *[None] * len(total.texts)) for key in keys])
        connection.exec_driver_sql(totals.recount(total))
        connection.exec_driver_sql(totals.drop_empty(total))
