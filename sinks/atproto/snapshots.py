"""Repositories that were fetched: `atproto.snapshots` into `atproto_records`, `atproto_repos` and `atproto_snapshots`.

A record in a snapshot of revision R is what its row holds at R, unless a later commit has changed it. The end of a
snapshot of the whole tells, in the same transaction, that all which is not in it is gone at R. What an older snapshot
tells after that is not told any more.
"""

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from sinks import schema
from sinks.atproto import heads, rows, statements
from sinks.atproto.records import is_overtaken, require_key
from sinks.atproto.rows import Mark, Snapshot
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
        fresh = {did: mark for did, mark in _marks(ends).items() if did not in marks or _reaches(mark, marks[did])}
        marks |= fresh
        self._take(connection, kept, marks)
        _sweep(connection, fresh)
        heads.move_fetched(connection, self._writer, [rows.fetched(row) for row in ends if row[_WHOLE]])
        if newest := rows.greatest(rows.SNAPSHOTS, ends, ("attempt",)):
            self._writer.take_greatest(connection, rows.SNAPSHOTS, newest, ("attempt",))
        return bytes([INSERTED]) * len(entries)

    def _take(self, connection: sa.Connection, kept: Sequence[Row], marks: Mapping[str, Mark]) -> None:
        current = [row for row in kept if not is_overtaken(row, marks)]
        overtaken = [rows.gone(row, marks[row[0]]) for row in kept if is_overtaken(row, marks)]
        if current:
            newest = rows.greatest(rows.RECORDS, current, ("fetched_revision", "fetched_attempt"))
            self._writer.stage(connection, rows.RECORDS, newest)
            connection.exec_driver_sql(statements.TAKE_FETCHED)
        if overtaken:
            self._writer.stage(connection, rows.RECORDS, rows.greatest(rows.RECORDS, overtaken, ("revision",)))
            connection.exec_driver_sql(statements.TAKE_COMMITTED)


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


def _marks(ends: Sequence[Row]) -> dict[str, Mark]:
    """Return, by DID, the newest of the snapshots of a whole repository."""
    found: dict[str, Mark] = {}
    for did, _, revision, rev, whole, *_ in ends:
        if whole and (did not in found or found[did].revision < revision):
            found[did] = Mark(revision, rev)
    return found


def _reaches(mark: Mark, known: Mark) -> bool:
    return mark.revision >= known.revision


def _sweep(connection: sa.Connection, marks: Mapping[str, Mark]) -> None:
    """Mark what is not in the snapshots that `marks` tell of, and no later commit has brought, as gone."""
    if marks:
        named = [{"of": did, "at": mark.revision, "as": mark.rev} for did, mark in sorted(marks.items())]
        connection.execute(_SWEEP, named)
        connection.execute(_FORGET, [{"of": did, "at": mark.revision} for did, mark in sorted(marks.items())])


_records = schema.atproto_records
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
