"""What those who work on media must know from the database: what a medium is, and what of it is still to be done."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import msgspec
import sqlalchemy as sa

from sinks import schema
from sinks.standing import read_time
from tallystick.contracts.media import CLAIMING, COPY_COUNTS, ENUMERATED, CopyStatus, Form, Medium, ProblemKind
from tallystick.contracts.stages import Claimed

_ROWS_AT_ONCE = 2_000
_media, _inodes, _paths, _copies = schema.media, schema.media_inodes, schema.media_paths, schema.media_copies


class Pending(msgspec.Struct, frozen=True, gc=False):
    """A regular file that still needs a copy: one inode as it was enumerated, and its paths that no rule excludes."""

    part: int
    ino: int
    dev: int
    size: int
    mtime: int
    mtime_ns: int
    nlink: int
    paths: tuple[bytes, ...]


class Enumeration(msgspec.Struct, frozen=True):
    """What an attempt found, which a look then found to be true: RECORD_COUNTS, and the digest of the set."""

    attempt: int
    counts: dict[str, int]
    digest: str


def read_medium(connection: sa.Connection, medium: str) -> Medium | None:
    """Return the medium as it was identified last, None where the database does not know it."""
    row = connection.execute(sa.select(_media).where(_media.c.medium == medium)).mappings().first()
    return None if row is None else _medium(row)


def find_media(connection: sa.Connection, word: str) -> list[Medium]:
    """Return the media that `word` may mean, in the order of their ids.

    That is the one with this id, else those with this name, else those whose id or name begins so.
    """
    begins = (sa.func.substr(column, 1, len(word)) == word for column in (_media.c.medium, _media.c.name))
    for condition in (_media.c.medium == word, _media.c.name == word, sa.or_(*begins)):
        query = sa.select(_media).where(condition).order_by(_media.c.medium)
        if found := [_medium(row) for row in connection.execute(query).mappings()]:
            return found
    return []


def pending(connection: sa.Connection, medium: str, attempt: int, *, run: int) -> Iterator[Pending]:
    """Yield the files of `attempt` that need a copy, by part and inode; not those that `run` has tried already.

    No copy is needed where all paths of an inode are excluded, or it was copied and has not changed since. Rows are
    fetched as they are taken, so `connection` is in use until the end.
    """
    i, p, c = _inodes.c, _paths.c, _copies.c
    query = (
        sa.select(i.part, i.ino, i.dev, i.size, i.mtime, i.mtime_ns, i.nlink, p.path)
        .select_from(_inodes.join(_paths, _same_inode(_paths)).outerjoin(_copies, _same_inode(_copies)))
        .where(i.medium == medium, i.revision == attempt, i.type == "f")
        .where(p.revision == attempt, p.excluded == "")
        .where(sa.or_(c.status.is_(None), sa.and_(~_is_current(), c.revision < run)))
        .order_by(i.part, i.ino, p.path)
    )
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)
    for (part, ino, dev, size, mtime, mtime_ns, nlink), group in groupby(rows, key=lambda row: tuple(row[:7])):
        paths = tuple(bytes(row.path) for row in group)
        yield Pending(part, ino, dev, size, mtime, mtime_ns, nlink, paths)


def copy_counts(connection: sa.Connection, medium: str, attempt: int) -> dict[str, int]:
    """Return the COPY_COUNTS of `attempt` as the database holds them; what was not tried is in `inodes` alone."""
    files = copied_files(medium, attempt).subquery()
    f = files.c
    kept = f.excluded == 0
    numbers = (
        sa.func.count(),
        _number_where(kept & (f.copied == 1)),
        _number_where(kept & (f.status != CopyStatus.SUCCESS.value)),
        _number_where(f.excluded == 1),
        sa.func.coalesce(sa.func.sum(sa.case((kept & (f.copied == 1), f.size), else_=0)), 0),
    )
    row = connection.execute(sa.select(*numbers).select_from(files)).one()
    return dict(zip(COPY_COUNTS, map(int, row), strict=True))


def copied_files(medium: str, attempt: int) -> "sa.Select[Any]":
    """Return a query of the regular inodes of `attempt`: `part`, `ino`, `size`, and what became of each.

    `excluded` is 1 where all of its paths are, `copied` 1 where its last copy is a success and it has not changed
    since, `status` and `blobid` are those of the copy, NULL where there is none.
    """
    i, p, c = _inodes.c, _paths.c, _copies.c
    paths = (
        sa.select(p.part, p.ino, sa.func.min(sa.case((p.excluded == "", 0), else_=1)).label("excluded"))
        .where(p.medium == medium, p.revision == attempt)
        .group_by(p.part, p.ino)
        .subquery()
    )
    same_paths = sa.and_(paths.c.part == i.part, paths.c.ino == i.ino)
    return (
        sa.select(
            i.part,
            i.ino,
            i.size,
            sa.func.coalesce(paths.c.excluded, 0).label("excluded"),
            sa.case((_is_current(), 1), else_=0).label("copied"),
            c.status,
            c.blobid,
        )
        .select_from(_inodes.outerjoin(paths, same_paths).outerjoin(_copies, _same_inode(_copies)))
        .where(i.medium == medium, i.revision == attempt, i.type == "f")
    )


def count_records(connection: sa.Connection, medium: str, attempt: int) -> int:
    """Return how many paths of `attempt` the database holds."""
    query = sa.select(sa.func.count()).select_from(_paths)
    return int(connection.scalar(query.where(_paths.c.medium == medium, _paths.c.revision == attempt)) or 0)


def unacknowledged(connection: sa.Connection, medium: Medium) -> dict[str, int]:
    """Return the number of problems of each kind because of which something is not even enumerated.

    Empty where the medium was identified with a word that accepts them. Files that are damaged are enumerated.
    """
    if medium.acknowledged:
        return {}
    c = schema.media_problems.c
    query = (
        sa.select(c.kind, sa.func.count())
        .where(c.medium == medium.medium, c.revision == medium.attempt, c.kind != ProblemKind.FILE_DAMAGED.value)
        .group_by(c.kind)
        .order_by(c.kind)
    )
    return {row.kind: int(row[1]) for row in connection.execute(query)}


def is_settled(connection: sa.Connection, medium: str, stage: str, *, attempt: int) -> bool:
    """Return whether a stage of `attempt` has its verdict, or a run of it has claimed what it did."""
    r, s = schema.media_runs.c, schema.source_stages.c
    claimed = sa.exists().where(
        r.medium == medium, r.stage == stage, r.attempt == attempt, r.exit_code.in_(CLAIMING), r.detail == ""
    )
    judged = sa.exists().where(s.source_id == medium, s.stage == stage, s.attempt == attempt, s.verdict.is_not(None))
    return bool(connection.scalar(sa.select(sa.or_(claimed, judged))))


def last_enumeration(connection: sa.Connection, medium: str) -> Enumeration | None:
    """Return the newest enumeration that was found to be true, None where there is none.

    It is of the state of the medium that the database holds, which may be of an attempt before the newest.
    """
    table = schema.source_stages
    query = sa.select(table.c.evidence).where(table.c.source_id == medium, table.c.stage == ENUMERATED)
    evidence = connection.scalar(query)
    if not evidence or not evidence.get("succeeded"):
        return None
    # JSON has text for keys, also for the numbers of partitions.
    claim = msgspec.convert(evidence["succeeded"], Claimed, strict=False)
    return Enumeration(attempt=claim.attempt, counts=claim.counts, digest=claim.digest)


def _medium(row: Any) -> Medium:
    return Medium(
        medium=row["medium"],
        form=Form(row["form"]),
        attempt=row["revision"],
        name=row["name"],
        root=bytes(row["root"]),
        at=read_time(row["identified_at"]),
        image=bytes(row["image"]),
        map=bytes(row["map"]),
        size=row["size"],
        digest=row["digest"],
        model=row["model"],
        serial=row["serial"],
        message=row["message"],
        acknowledged=row["acknowledged"],
        grows=bool(row["grows"]),
    )


def _same_inode(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == _inodes.c[name] for name in ("medium", "part", "ino")))


def _is_current() -> sa.ColumnElement[bool]:
    """Whether a copy is a success, and of the inode as it was enumerated."""
    c, i = _copies.c, _inodes.c
    same_time = sa.or_(c.mtime.is_(None), sa.and_(c.mtime == i.mtime, c.mtime_ns == i.mtime_ns))
    return sa.and_(c.status == CopyStatus.SUCCESS.value, c.size == i.size, same_time)


def _number_where(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)
