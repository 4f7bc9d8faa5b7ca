"""Looks at what was claimed of a repository: from the database alone, never from who fetched it.

Each record keeps what the newest snapshot told of it beside what later commits did, so a look finds what was fetched
although the repository goes on meanwhile.
"""

from collections.abc import Iterator

import msgspec
import sqlalchemy as sa
import xxhash

from sinks import schema
from sinks.atproto.commits import Commits
from sinks.atproto.marks import covers
from sinks.atproto.snapshots import Snapshots
from sinks.atproto.tree import cid_bytes, root_of
from sinks.looking import Inspection, Look, Question
from tallystick.contracts.atproto import repository_source_id
from tallystick.database.engine import snapshot
from tallystick.errors import ContractError

PERSISTED = "persisted"
VERIFIED = "verified"
_ROWS_AT_ONCE = 2_000
_records, _snapshots = schema.atproto_records, schema.atproto_snapshots


class _Fetched(msgspec.Struct, frozen=True):
    """The snapshot that an attempt brought."""

    did: str
    attempt: int
    revision: int
    whole: bool
    records: int
    collections: str

    @property
    def own(self) -> sa.ColumnElement[bool]:
        """Which records are its own: of the whole all at its revision, of a part those that this attempt brought."""
        mine = sa.and_(_records.c.did == self.did, _records.c.fetched_revision == self.revision)
        return mine if self.whole else sa.and_(mine, _records.c.fetched_attempt == self.attempt)

    @property
    def stale(self) -> sa.ColumnElement[bool]:
        """Which records should not be there: those that the snapshot doesn't have, and no later commit has brought."""
        return sa.and_(
            _records.c.did == self.did,
            _records.c.revision <= self.revision,
            sa.not_(_records.c.deleted),
            _records.c.fetched_revision.is_distinct_from(self.revision),
        )


def look_at_records(question: Question) -> Look:
    """Return how many `records` of the attempt's snapshot the database has. Raises ContractError where it has none."""
    with snapshot(question.engine) as connection:
        return Look({"records": _count(connection, _fetched(connection, question).own)})


def look_at_tree(question: Question) -> Look:
    """Return the number of `records`, that of `stale` ones, and the digest of the set.

    That is `root:` and the root of the tree of all records, made anew from the rows; of a part `lines:` and the xxh3-64
    of a line `path CID` each, in the order of the paths. Raises ContractError where the database has no snapshot.
    """
    with snapshot(question.engine) as connection:
        found = _fetched(connection, question)
        rows = _Rows(connection, found, question)
        digest = f"root:{root_of(rows.records())}" if found.whole else f"lines:{_digest(rows)}"
        stale = _stale(connection, found)
    return Look({"records": rows.count, "stale": stale}, digest)


class _Rows:
    """The records of a snapshot in the order of their paths, which are counted as they are read."""

    def __init__(self, connection: sa.Connection, found: _Fetched, question: Question) -> None:
        self._connection, self._found, self._question = connection, found, question
        self.count = 0

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield path and CID."""
        for path, cid in self.lines():
            yield path, cid_bytes(cid)

    def lines(self) -> Iterator[tuple[bytes, str]]:
        """Yield path and CID, as text."""
        path_of: sa.ColumnElement[str] = _records.c.collection + sa.literal("/") + _records.c.rkey
        # A path sorts as its bytes do, whatever the database's language is; SQLite knows no other order.
        order = path_of.collate("C") if self._connection.dialect.name == "postgresql" else path_of
        query = sa.select(path_of, _records.c.fetched_cid).where(self._found.own).order_by(order)
        # A cursor of the server's is several questions more, so it is for those only who need one.
        streamed = {"yield_per": _ROWS_AT_ONCE} if self._found.records > _ROWS_AT_ONCE else {}
        for path, cid in self._connection.execute(query, execution_options=streamed):
            if self.count % _ROWS_AT_ONCE == 0:
                self._question.progress()
            self.count += 1
            yield path.encode(), cid


def _digest(rows: _Rows) -> str:
    digest = xxhash.xxh3_64()
    for path, cid in rows.lines():
        digest.update(b"%b %b\n" % (path, cid.encode()))
    return digest.hexdigest()


def _fetched(connection: sa.Connection, question: Question) -> _Fetched:
    """Return the snapshot of the question's attempt. Raises ContractError where the database has none, or another."""
    row = connection.execute(sa.select(_snapshots).where(_snapshots.c.did == _did(question))).first()
    if row is None or row.attempt < question.attempt:
        raise ContractError(
            f"the database has no snapshot of attempt {question.attempt}: see whether the sink `{Snapshots.name}` runs"
        )
    if row.attempt > question.attempt:
        raise ContractError(f"the snapshot of attempt {question.attempt} gave way to that of attempt {row.attempt}")
    return _Fetched(row.did, row.attempt, row.revision, row.whole, row.records, row.collections)


def _stale(connection: sa.Connection, found: _Fetched) -> int:
    """Return how many records are there that the snapshot would have to have, and has not; 0 where nobody knows."""
    if found.whole:
        return _count(connection, found.stale)
    if not found.collections:
        return 0
    query = sa.select(_records.c.collection, sa.func.count()).where(found.stale).group_by(_records.c.collection)
    return sum(int(count) for collection, count in connection.execute(query) if covers(found.collections, collection))


def _did(question: Question) -> str:
    """Return whose repository it is. The id of a source is its DID, unless that is very long: then its name is."""
    return question.name if repository_source_id(question.name) == question.source else question.source


def _count(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(_records).where(condition)) or 0)


def _is_known(connection: sa.Connection, source: str, attempt: int) -> bool:
    """Return True: a look is commanded once the sink has observed the end of the snapshot, which it then has stored."""
    del connection, source, attempt
    return True


INSPECTION = Inspection(
    looks={PERSISTED: look_at_records, VERIFIED: look_at_tree},
    tables=frozenset({Commits.name, Snapshots.name}),
    is_known=_is_known,
)
