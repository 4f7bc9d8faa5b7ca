"""What a writer must know of a table, and the statements that are the same for every database."""

import functools

import msgspec
import sqlalchemy as sa


class Target(msgspec.Struct, frozen=True, eq=False):
    """A table, and the columns that a sink fills; rows are tuples in the order of `columns`.

    `key` identifies a row. `own` are the columns that tell from where a row came. `parent` is the part of the key that
    names what a child row belongs to. Columns that are not listed keep what they hold, whatever is written.
    """

    table: sa.Table
    columns: tuple[str, ...]
    key: tuple[str, ...]
    own: tuple[str, ...] = ()
    parent: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name

    @property
    def stage(self) -> str:
        """The name of its staging table."""
        return f"stage_{self.table.name}"


@functools.cache
def listed(names: tuple[str, ...], prefix: str = "") -> str:
    """Return `names` as SQL, each quoted and after `prefix`."""
    return ", ".join(f'{prefix}"{name}"' for name in names)


def same(names: tuple[str, ...], left: str, right: str) -> str:
    """Return the SQL condition that the columns `names` of two tables are equal."""
    return " AND ".join(f'{left}."{name}" = {right}."{name}"' for name in names)


@functools.cache
def insert_new(target: Target) -> str:
    """Insert staged rows whose key is not there yet."""
    columns = listed(target.columns)
    return (
        f"INSERT INTO {target.name} ({columns}) SELECT {columns} FROM {target.stage} WHERE true"  # noqa: S608
        f" ON CONFLICT ({listed(target.key)}) DO NOTHING"
    )


@functools.cache
def insert_forward(target: Target) -> str:
    """Insert staged rows; those that are there move forward to a higher revision, never back."""
    return _upsert(target, f"excluded.revision > {target.name}.revision")


@functools.cache
def insert_latest(target: Target) -> str:
    """Insert staged rows; those that are there give way, unless they are of a higher revision."""
    return _upsert(target, f"excluded.revision >= {target.name}.revision")


@functools.cache
def insert_greatest(target: Target, by: tuple[str, ...]) -> str:
    """Insert staged rows; those that are there give way to those that are greater by the columns `by`, never NULL."""
    return _upsert(target, f"({listed(by, 'excluded.')}) > ({listed(by, target.name + '.')})")


@functools.cache
def insert_changed(target: Target, distinct: str) -> str:
    """Insert staged rows; those that are there and differ are changed. `distinct` is the operator for "differs"."""
    rest = (name for name in target.columns if name not in target.key)
    differs = " OR ".join(f'{target.name}."{name}" {distinct} excluded."{name}"' for name in rest)
    return _upsert(target, differs)


@functools.cache
def delete_absent(target: Target, parents: str) -> str:
    """Delete the rows of the given parents that are not staged. `parents` is a query of their keys."""
    return (
        f"DELETE FROM {target.name} AS t WHERE ({listed(target.parent, 't.')}) IN ({parents})"  # noqa: S608
        f" AND NOT EXISTS (SELECT 1 FROM {target.stage} s WHERE {same(target.key, 't', 's')})"
    )


@functools.cache
def revisions(target: Target, keys: str) -> str:
    """Select key and revision of the rows of the given keys. `keys` is a query of them."""
    return (
        f"SELECT {listed(target.key, 't.')}, t.revision FROM {target.name} t"  # noqa: S608
        f" WHERE ({listed(target.key, 't.')}) IN ({keys})"
    )


def _upsert(target: Target, condition: str) -> str:
    columns = listed(target.columns)
    sets = [f'"{name}" = excluded."{name}"' for name in target.columns if name not in target.key]
    if "updated_at" in target.table.c:
        sets.append(f"updated_at = {_NOW}")
    return (
        f"INSERT INTO {target.name} ({columns}) SELECT {columns} FROM {target.stage} WHERE true"  # noqa: S608
        f" ON CONFLICT ({listed(target.key)}) DO UPDATE SET {', '.join(sets)} WHERE {condition}"
    )


_NOW = "excluded.updated_at"
"""The default of the row that was to be inserted, which is the present time on every database."""
