"""Totals over shares: the statements that move them by the difference, or take them anew where they can only shrink.

The shares of a batch stand in the staging table of their target (`Writer.stage`), those of the sessions' older states
still in the table itself. The statements are the same for every database but for two functions.
"""

import functools
from collections.abc import Mapping

import msgspec

from sinks.writers.target import Target, listed, same


class Total(msgspec.Struct, frozen=True, eq=False):
    """A table of totals, and how they follow from the shares `of` all sessions.

    `key` maps the key's columns to the shares' columns, of which the first has an index and must be there for a share
    to count. `sums`, `lows` and `highs` map columns to those that are summed, or whose least or
    greatest value is taken; a sum of "1" counts the shares. `distinct` is a column and the one whose values it counts.
    `texts` are columns that follow from the key.
    """

    target: Target
    of: Target
    key: Mapping[str, str]
    sums: Mapping[str, str]
    lows: Mapping[str, str]
    highs: Mapping[str, str]
    distinct: tuple[str, str] | None = None
    texts: tuple[str, ...] = ()

    @property
    def first(self) -> tuple[str, str]:
        """The first column of the key, and that of the shares."""
        return next(iter(self.key.items()))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are aggregated, in the order in which the statements name them."""
        return (*self.sums, *self.lows, *self.highs, *([self.distinct[0]] if self.distinct else []))


class Functions(msgspec.Struct, frozen=True):
    """The lesser and the greater of two values `{0}` and `{1}`, one of which may be NULL, as the database writes it."""

    least: str
    greatest: str


@functools.cache
def grow(total: Total, functions: Functions) -> str:
    """Add the staged shares. What is counted as distinct is what no session's share in the table has yet."""
    table, shares = total.target.name, total.of
    aggregates = list(_aggregates(total, "s"))
    if total.distinct:
        value = total.distinct[1]
        known = f"SELECT 1 FROM {shares.name} c WHERE {_same_key(total, 'c', 's')}"  # noqa: S608
        # No NOT EXISTS: PostgreSQL, which knows nothing of the size of a staging table, would read all shares for it.
        fresh = f'({known} AND c."{value}" = s."{value}" LIMIT 1) IS NULL'
        aggregates.append(f'count(DISTINCT CASE WHEN {fresh} THEN s."{value}" END)')
    summed = (
        f"SELECT {_named(total.key, 's')}, {_as(aggregates, total.columns)} FROM {shares.stage} s"  # noqa: S608
        f' WHERE s."{total.first[1]}" IS NOT NULL GROUP BY {listed(_columns(total), "s.")}'
    )
    names = (*total.key, *total.texts, *total.columns)
    join = f"JOIN {total.target.stage} x ON {same(tuple(total.key), 'x', 'a')}" if total.texts else ""
    values = (listed(tuple(total.key), "a."), listed(total.texts, "x."), listed(total.columns, "a."))
    return (
        f"INSERT INTO {table} ({listed(names)}) SELECT {', '.join(filter(None, values))}"  # noqa: S608
        f" FROM ({summed}) a {join} WHERE true"
        f" ON CONFLICT ({listed(total.target.key)}) DO UPDATE SET {_grown(total, functions)}"
    )


def _grown(total: Total, functions: Functions) -> str:
    table = total.target.name
    added = (*total.sums, *([total.distinct[0]] if total.distinct else []))
    sets = [f'"{name}" = {table}."{name}" + excluded."{name}"' for name in added]
    for names, function in ((total.lows, functions.least), (total.highs, functions.greatest)):
        sets += [f'"{name}" = ' + function.format(f'{table}."{name}"', f'excluded."{name}"') for name in names]
    if "updated_at" in total.target.table.c:
        sets.append('updated_at = excluded."updated_at"')
    return ", ".join(sets)


@functools.cache
def receding(total: Total, parents: str) -> str:
    """Select the keys whose totals can't be moved by a difference, as a share that they rest on is to tell less.

    That is a share in the table, of the sessions that `parents` selects, which no staged one of the same session and
    key covers: where it holds the least or the greatest value of all, or one of those that are counted as distinct.
    """
    shares = total.of
    covered = [same(shares.parent, "s", "c"), _same_key(total, "s", "c")]
    covered += [f'(c."{name}" IS NULL OR s."{name}" <= c."{name}")' for name in total.lows.values()]
    covered += [f'(c."{name}" IS NULL OR s."{name}" >= c."{name}")' for name in total.highs.values()]
    rests = [f'coalesce(c."{share}" <= x."{name}", true)' for name, share in total.lows.items()]
    rests += [f'coalesce(c."{share}" >= x."{name}", true)' for name, share in total.highs.items()]
    if total.distinct:
        value = total.distinct[1]
        covered.append(f'(c."{value}" IS NULL OR s."{value}" = c."{value}")')
        rests.append(f'c."{value}" IS NOT NULL')
    return (
        f"SELECT DISTINCT {_named(total.key, 'c')} FROM {shares.name} c"  # noqa: S608
        f" JOIN {total.target.name} x ON {_same_key(total, 'c', 'x', own=True)}"
        f" WHERE ({listed(shares.parent, 'c.')}) IN ({parents}) AND ({' OR '.join(rests)})"
        f" AND NOT EXISTS (SELECT 1 FROM {shares.stage} s WHERE {' AND '.join(covered)})"
    )


@functools.cache
def subtract(total: Total, parents: str) -> str:
    """Take the shares in the table, of the sessions that `parents` selects, out of the sums."""
    sets = ", ".join(f'"{name}" = {total.target.name}."{name}" - a."{name}"' for name in total.sums)
    sums = ", ".join(f'{_sum(column, "c")} AS "{name}"' for name, column in total.sums.items())
    grouped = (
        f"SELECT {_named(total.key, 'c')}, {sums} FROM {total.of.name} c"  # noqa: S608
        f' WHERE ({listed(total.of.parent, "c.")}) IN ({parents}) AND c."{total.first[1]}" IS NOT NULL'
        f" GROUP BY {listed(_columns(total), 'c.')}"
    )
    return (
        f"UPDATE {total.target.name} SET {sets} FROM ({grouped}) a"  # noqa: S608
        f" WHERE {same(tuple(total.key), total.target.name, 'a')}"
    )


@functools.cache
def recount(total: Total) -> str:
    """Take the totals of the keys in the staging table of the totals anew, from all shares."""
    aggregates = list(_aggregates(total, "c"))
    if total.distinct:
        aggregates.append(f'count(DISTINCT c."{total.distinct[1]}")')
    summed = (
        f"SELECT {_named(total.key, 'c')}, {_as(aggregates, total.columns)} FROM {total.of.name} c"  # noqa: S608
        f' WHERE c."{total.first[1]}" IN (SELECT "{total.first[0]}" FROM {total.target.stage})'
        f" GROUP BY {listed(_columns(total), 'c.')}"
    )
    sets = ", ".join(f'"{name}" = a."{name}"' for name in total.columns)
    return (
        f"UPDATE {total.target.name} SET {sets} FROM ({summed}) a"  # noqa: S608
        f" WHERE {same(tuple(total.key), total.target.name, 'a')}"
    )


@functools.cache
def drop_empty(total: Total) -> str:
    """Delete the totals of the keys in the staging table of the totals that no session has any more."""
    name = total.target.name
    return (
        f"DELETE FROM {name} WHERE ({listed(tuple(total.key))}) IN"  # noqa: S608
        f" (SELECT {listed(tuple(total.key))} FROM {total.target.stage})"
        f" AND NOT EXISTS (SELECT 1 FROM {total.of.name} c WHERE {_same_key(total, 'c', name, own=True)})"
    )


def _columns(total: Total) -> tuple[str, ...]:
    return tuple(total.key.values())


def _aggregates(total: Total, shares: str) -> list[str]:
    return [
        *(_sum(column, shares) for column in total.sums.values()),
        *(f'min({shares}."{column}")' for column in total.lows.values()),
        *(f'max({shares}."{column}")' for column in total.highs.values()),
    ]


def _sum(column: str, shares: str) -> str:
    return "count(*)" if column == "1" else f'sum({shares}."{column}")'


def _named(key: Mapping[str, str], shares: str) -> str:
    return ", ".join(f'{shares}."{column}" AS "{name}"' for name, column in key.items())


def _as(values: list[str], names: tuple[str, ...]) -> str:
    return ", ".join(f'{value} AS "{name}"' for value, name in zip(values, names, strict=True))


def _same_key(total: Total, left: str, right: str, *, own: bool = False) -> str:
    """Return that shares `left` and `right`, or the totals `right` by their own names, are of the same key."""
    return " AND ".join(
        f'{left}."{column}" = {right}."{name if own else column}"' for name, column in total.key.items()
    )
