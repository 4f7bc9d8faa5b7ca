"""The rows of an enumeration: recounted, and the digest of the set taken anew from what the tables hold."""

from typing import Any

import sqlalchemy as sa

from sinks import schema
from sinks.looking import Look, Question
from tallystick.contracts.media import RECORD_COUNTS, Found, record_digest
from tallystick.database.engine import snapshot

_ROWS_AT_ONCE = 5_000
_MODULUS = 1 << 256
_COUNT_OF_TYPE = {"f": "files", "d": "folders", "l": "links"}
_inodes, _paths = schema.media_inodes, schema.media_paths


def look_at_rows(question: Question) -> Look:
    """Return the RECORD_COUNTS of the rows of the attempt, and the digest of the set. A path counts with its inode."""
    counts = dict.fromkeys(RECORD_COUNTS, 0)
    total = 0
    with snapshot(question.engine) as connection:
        rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(_records(question))
        for row in rows:
            if counts["records"] % _ROWS_AT_ONCE == 0:
                question.progress()
            total += record_digest(_found(row))
            counts["records"] += 1
            counts[_COUNT_OF_TYPE.get(row.type, "others")] += 1
            counts["excluded"] += row.excluded != ""
        counts["inodes"] = _count(connection, _inodes, question)
        counts["problems"] = _count(connection, schema.media_problems, question)
        alone = _count(connection, _paths, question) - counts["records"]
    return Look(counts, f"{total % _MODULUS:064x}", f"{alone} paths have no inode" if alone else "")


def _found(row: "sa.Row[Any]") -> Found:
    return Found(
        part=row.part,
        ino=row.ino,
        type=row.type,
        nlink=row.nlink,
        size=row.size,
        mtime=row.mtime,
        mtime_ns=row.mtime_ns,
        path=bytes(row.path),
    )


def _records(question: Question) -> "sa.Select[Any]":
    i, p = _inodes.c, _paths.c
    return (
        sa.select(p.excluded, p.part, p.ino, i.type, i.nlink, i.size, i.mtime, i.mtime_ns, p.path)
        .select_from(_paths.join(_inodes, sa.and_(i.medium == p.medium, i.part == p.part, i.ino == p.ino)))
        .where(p.medium == question.source, p.revision == question.attempt, i.revision == question.attempt)
    )


def _count(connection: sa.Connection, table: sa.Table, question: Question) -> int:
    query = sa.select(sa.func.count()).select_from(table)
    found = connection.scalar(query.where(table.c.medium == question.source, table.c.revision == question.attempt))
    return int(found or 0)
