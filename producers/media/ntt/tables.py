"""Where ntt keeps paths and inodes, which has changed over time, and one query for all of it.

Names of tables and columns are those of https://github.com/vm-wylbur/ntt at 7d7f54e. Three forms are known:

| form       | tables                                                                                |
|------------|---------------------------------------------------------------------------------------|
| flat       | one table `paths`                                                                     |
| split      | `inode` and `path`, whether they are partitioned by medium or not                     |
| partitions | `inode_p_xxxxxxxx` and `path_p_xxxxxxxx` alone, by the first 8 digits of the medium   |

Which tables there are is told by the catalogue, and rows are chosen by the whole hash: 8 digits name no medium.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA

Catalogue = Mapping[str, Mapping[str, str]]
"""The tables, and of each the columns with their types, as PostgreSQL calls these."""

_INODE, _PATH = {"medium_hash", "ino", "size"}, {"medium_hash", "ino", "path"}
_OF_INODE = ("nlink", "size", "mtime", "fs_type", "blobid", "status", "error", "claimed_by")
_NUMBERS = frozenset({"ino", "dev", "nlink", "size", "mtime"})


class Tables(msgspec.Struct, frozen=True):
    """A table of paths, and one of inodes; no name of the latter where paths tell all of them."""

    path: str
    inode: str = ""


def candidates(catalogue: Catalogue, medium_hash: str) -> Iterator[Tables]:
    """Yield the tables that may hold what is on a medium."""
    if catalogue.get("paths", {}).keys() >= _INODE | _PATH:
        yield Tables("paths")
    if _is_pair(catalogue, "inode", "path"):
        yield Tables("path", "inode")
        return
    begin = f"inode_p_{medium_hash[:8]}"
    for inode in sorted(name for name in catalogue if name.startswith(begin)):
        path = "path_p_" + inode.removeprefix("inode_p_")
        if _is_pair(catalogue, inode, path):
            yield Tables(path, inode)


def everything(catalogue: Catalogue, tables: Tables, medium_hash: str) -> sa.Subquery:
    """Return the query of all that is known of a medium: each path with its inode, and those without the other half.

    Its columns are `path` (bytes), `exclude_reason`, `ino`, `dev`, and those of `_OF_INODE`, whatever the form.
    """
    path = _of(catalogue, tables.path, medium_hash)
    if not tables.inode:
        names = ("path", "exclude_reason", "ino", "dev", *_OF_INODE)
        return sa.select(*(_column(path, name) for name in names)).subquery("found")
    inode = _of(catalogue, tables.inode, medium_hash)
    same = inode.c.ino == path.c.ino
    dev = _column(inode, "dev")
    if "dev" in inode.c and "dev" in path.c:
        same, dev = same & (inode.c.dev == path.c.dev), sa.func.coalesce(inode.c.dev, path.c.dev).label("dev")
    ino = sa.func.coalesce(inode.c.ino, path.c.ino).label("ino")
    of_path = (_column(path, name) for name in ("path", "exclude_reason"))
    columns = (*of_path, ino, dev, *(_column(inode, name) for name in _OF_INODE))
    return sa.select(*columns).select_from(inode.join(path, same, full=True)).subquery("found")


def rows_of(name: str, medium_hash: str) -> sa.Select[tuple[str]]:
    """Return the query of the rows of a table that are of a medium."""
    table = sa.table(name, sa.column("medium_hash", sa.Text))
    return sa.select(table.c.medium_hash).where(table.c.medium_hash == medium_hash)


def _is_pair(catalogue: Catalogue, inode: str, path: str) -> bool:
    return catalogue.get(inode, {}).keys() >= _INODE and catalogue.get(path, {}).keys() >= _PATH


def _of(catalogue: Catalogue, name: str, medium_hash: str) -> sa.Subquery:
    types = {column: BYTEA() if kind == "BYTEA" else None for column, kind in catalogue[name].items()}
    table = sa.table(name, *(sa.column(column, kind) for column, kind in types.items()))
    return sa.select(table).where(table.c.medium_hash == medium_hash).subquery()


def _column(table: sa.Subquery, name: str) -> sa.Label[Any]:
    """Return a column under its name of today; NULL where the table has none."""
    columns = table.c
    found: sa.ColumnElement[Any]
    match name:
        case "path":
            is_bytes = isinstance(columns.path.type, BYTEA)
            found = columns.path if is_bytes else sa.func.convert_to(columns.path, "UTF8", type_=BYTEA())
        case "blobid" if "blobid" not in columns and "hash" in columns:
            found = sa.func.encode(columns.hash, "hex")
        case "error":
            terms: list[sa.ColumnElement[Any]] = [columns.error_type] if "error_type" in columns else []
            terms += [sa.func.array_to_string(columns.errors, "; ")] if "errors" in columns else []
            found = sa.func.concat_ws(": ", *terms) if terms else sa.cast(sa.null(), sa.Text)
        case _:
            kind: type[sa.BigInteger | sa.Text] = sa.BigInteger if name in _NUMBERS else sa.Text
            found = sa.cast(columns[name] if name in columns else sa.null(), kind)
    return found.label(name)
