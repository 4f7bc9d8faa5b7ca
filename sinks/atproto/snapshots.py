"""Repositories that were fetched: `atproto.snapshots` into `atproto_records`, `atproto_repos` and `atproto_snapshots`.

A record in a snapshot of revision R is what its row holds at R, unless a later commit has changed it. The end of a
snapshot of the whole tells, in the same transaction, that all which is not in it is gone at R; that of one that has all
records of some collections tells it of these. What an older snapshot tells after that is not told any more.
"""

from collections.abc import Iterator, Sequence

import msgspec
import sqlalchemy as sa

from sinks import schema
from sinks.atproto import heads, rows, statements
from sinks.atproto.marks import ALL, Mark, Marks, covers
from sinks.atproto.records import is_overtaken, require_key
from sinks.atproto.rows import Snapshot
from sinks.counting import INSERTED, require_countable
from sinks.lines import take_lines
from sinks.schema.base import Now
from sinks.sink import Decoded, Record, Sink
from sinks.writers.base import Row, Writer
from tallystick.contracts import atproto, slices
from tallystick.contracts.atproto import End, repository_source_id
from tallystick.errors import ContractError

UNREADABLE = "not a line of a snapshot"
ATTEMPT = "attempt"
REV = "rev"
_WHOLE = rows.SNAPSHOTS.columns.index("whole")
_COLLECTIONS = rows.SNAPSHOTS.columns.index("collections")
_decode_did = msgspec.json.Decoder(atproto.Did).decode


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A record of a snapshot: a row of `RECORDS`."""

    row: Row


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The end of a snapshot: a row of `SNAPSHOTS`."""

    row: Row


Entry = Kept | Ended


class Snapshots(Sink[Entry]):
    """See Sink. Lines are counted by their positions, so that the stages of a repository know what was stored."""

    name = "atproto_snapshots"
    topic = atproto.SNAPSHOTS

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Entry]:
        """See Sink. A line that can't be taken is refused alone."""
        slice_ = slices.decode(record.value, record.headers)
        require_countable(slice_)
        snapshot = _snapshot(record, slice_.source)
        return take_lines(slice_, lambda _, line: _entry(snapshot, line), unreadable=UNREADABLE)

    def write(self, connection: sa.Connection, entries: Sequence[Entry]) -> bytes:
        """See Sink."""
        kept = [entry.row for entry in entries if isinstance(entry, Kept)]
        ends = [entry.row for entry in entries if isinstance(entry, Ended)]
        marks = heads.lock(connection, self._writer, {row[0] for row in (*kept, *ends)})
        fresh = Marks(told for told in _marks(ends) if marks.take(*told))
        self._take(connection, kept, marks)
        self._sweep(connection, fresh)
        heads.keep_parts(connection, self._writer, fresh)
        heads.move_fetched(connection, self._writer, [rows.fetched(row) for row in ends if row[_WHOLE]])
        if newest := rows.greatest(rows.SNAPSHOTS, ends, ("attempt",)):
            self._writer.take_greatest(connection, rows.SNAPSHOTS, newest, ("attempt",))
        return bytes([INSERTED]) * len(entries)

    def _take(self, connection: sa.Connection, kept: Sequence[Row], marks: Marks) -> None:
        current = [row for row in kept if not is_overtaken(row, marks)]
        overtaken = [rows.gone(row, marks.of_row(row)) for row in kept if is_overtaken(row, marks)]
        if current:
            newest = rows.greatest(rows.RECORDS, current, ("fetched_revision", "fetched_attempt"))
            self._writer.stage(connection, rows.RECORDS, newest)
            connection.exec_driver_sql(statements.TAKE_FETCHED)
        if overtaken:
            self._writer.stage(connection, rows.RECORDS, rows.greatest(rows.RECORDS, overtaken, ("revision",)))
            connection.exec_driver_sql(statements.TAKE_COMMITTED)

    def _sweep(self, connection: sa.Connection, marks: Marks) -> None:
        """Mark what is not in the snapshots that `marks` tell of, and no later commit has brought, as gone."""
        whole = [_named(did, mark) for did, part, mark in marks if part == ALL]
        parts = [(did, part, mark) for did, part, mark in marks if part != ALL]
        if whole:
            connection.execute(_SWEEP, whole)
            connection.execute(_FORGET, whole)
        if parts:
            known = self._collections(connection, {did for did, _, _ in parts})
            named = [
                {**_named(did, mark), "in": collection}
                for did, part, mark in parts
                for collection in sorted(known.get(did, ()))
                if covers(part, collection)
            ]
            if named:
                connection.execute(_SWEEP.where(_IN), named)
                connection.execute(_FORGET.where(_IN), named)

    def _collections(self, connection: sa.Connection, dids: set[str]) -> dict[str, list[str]]:
        """Return by DID the collections of which there are records."""
        query, parameters = self._writer.keys(("did",), [(did,) for did in sorted(dids)])
        found: dict[str, list[str]] = {}
        for did, collection in connection.exec_driver_sql(_KNOWN.format(keys=query), parameters):
            found.setdefault(did, []).append(collection)
        return found


def _snapshot(record: Record, source: str) -> Snapshot:
    headers = dict(record.headers)
    try:
        did = _decode_did(msgspec.json.encode(record.key.decode()))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"not a slice of a snapshot: its key is {record.key[:80]!r}, which is no DID") from error
    require_key(record, did)
    if source != repository_source_id(did):
        raise ContractError(f"not a slice of a snapshot: its source is {source[:80]!r}, its key {did[:80]!r}")
    rev = headers.get(REV)
    if not isinstance(rev, bytes):
        raise ContractError(f"not a slice of a snapshot: its header {REV} is missing")
    text = rev.decode("ascii", "replace")
    return Snapshot(did, rows.attempt(headers.get(ATTEMPT)), rows.revision(text), text)


def _entry(snapshot: Snapshot, line: bytes) -> Entry:
    found = atproto.decode_snapshot_line(line)
    return Ended(rows.snapshot_end(snapshot, found)) if isinstance(found, End) else Kept(rows.stored(snapshot, found))


def _marks(ends: Sequence[Row]) -> Iterator[tuple[str, str, Mark]]:
    """Yield what the ends of snapshots tell, the newest last: of whole repositories, and of whole collections."""
    for row in sorted(ends, key=_revision):
        did, _, revision, rev, *_ = row
        if row[_WHOLE] or row[_COLLECTIONS]:
            yield did, ALL if row[_WHOLE] else row[_COLLECTIONS], Mark(revision, rev)


def _revision(end: Row) -> int:
    revision: int = end[2]
    return revision


def _named(did: str, mark: Mark) -> dict[str, object]:
    return {"of": did, "at": mark.revision, "as": mark.rev}


_KNOWN = "SELECT DISTINCT did, collection FROM atproto_records WHERE did IN ({keys})"
_records = schema.atproto_records
_IN = _records.c.collection == sa.bindparam("in")
_NOT_FETCHED = {"fetched_revision": None, "fetched_attempt": None, "fetched_cid": None}
_AT: sa.BindParameter[int] = sa.bindparam("at", type_=_records.c.revision.type)
_SWEEP = (
    _records.update()
    .where(
        _records.c.did == sa.bindparam("of"),
        _records.c.revision <= _AT,
        _records.c.fetched_revision.is_distinct_from(_AT),
        # Not what is swept already; whose stream told of it is forgotten, as it would be in another order.
        sa.not_(sa.and_(_records.c.deleted, _records.c.revision == _AT, _records.c.host == "")),
    )
    .values(
        revision=_AT,
        rev=sa.bindparam("as"),
        cid=None,
        value=sa.null(),
        deleted=True,
        problem="",
        host="",
        seq=0,
        time=None,
        updated_at=Now(),
        **_NOT_FETCHED,
    )
)
_FORGET = (
    _records.update()
    .where(_records.c.did == sa.bindparam("of"), _records.c.fetched_revision < _AT)
    .values(updated_at=Now(), **_NOT_FETCHED)
)
"""What an older snapshot told of records that later commits have changed."""
