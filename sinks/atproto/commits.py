"""Commits: `atproto.commits` into `atproto_records`, and the head of each repository into `atproto_repos`.

A row moves forward by the revision of its commit. What is older than the newest snapshot of the whole repository is
not told any more: it is in the snapshot, or gone. So commits and snapshots may come in any order, and again.
"""

from collections.abc import Iterator, Sequence

import msgspec
import sqlalchemy as sa

from sinks.atproto import heads, rows, statements
from sinks.atproto.records import require_key, settled
from sinks.counting import INSERTED
from sinks.sink import Decoded, Record, Refusal, Sink
from sinks.writers.base import Row, Writer
from tallystick.contracts import atproto
from tallystick.contracts.atproto import Commit, Op
from tallystick.errors import ContractError

UNREADABLE = "not an operation on a record"


class Change(msgspec.Struct, frozen=True, gc=False):
    """What one operation makes of a record: a row of `RECORDS`."""

    row: Row


class Head(msgspec.Struct, frozen=True, gc=False):
    """That there was a commit: a row of `REPOS`."""

    row: Row


Entry = Change | Head


class Commits(Sink[Entry]):
    """See Sink. Only commits are stored: of a try to fetch a repository, and of accounts, other topics tell."""

    name = "atproto_commits"
    topic = atproto.COMMITS

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def decode(self, record: Record) -> Decoded[Entry]:
        """See Sink. An operation that can't be taken is refused alone."""
        value = record.value or b""
        try:
            found = atproto.decode_repository_event(value)
        except msgspec.DecodeError as error:
            raise ContractError(f"not an event of a repository: {error}") from error
        require_key(record, found.did)
        if not isinstance(found, Commit):
            return Decoded(entries=(), contents=())
        entries: list[Entry] = [Head(rows.head(found))]
        contents, refused = [value], []
        for op, content in _operations(found, value):
            try:
                entries.append(Change(rows.record(found, op)))
            except ContractError as error:
                refused.append(Refusal(found.seq, content, UNREADABLE, str(error)))
            else:
                contents.append(content)
        source = atproto.stream_source_id(atproto.FIREHOSE_KIND, found.host) if found.seq else found.did
        return Decoded(entries=entries, contents=contents, source=source, refused=refused)

    def write(self, connection: sa.Connection, entries: Sequence[Entry]) -> bytes:
        """See Sink."""
        changes = [entry.row for entry in entries if isinstance(entry, Change)]
        told = [entry.row for entry in entries if isinstance(entry, Head)]
        marks = heads.lock(connection, self._writer, {row[0] for row in (*told, *changes)})
        kept = rows.greatest(rows.RECORDS, (settled(row, marks) for row in changes), ("revision",))
        if kept:
            self._writer.stage(connection, rows.RECORDS, kept)
            connection.exec_driver_sql(statements.TAKE_COMMITTED)
        heads.move_heads(connection, self._writer, told)
        return bytes([INSERTED]) * len(entries)


def _operations(commit: Commit, value: bytes) -> Iterator[tuple[Op, bytes]]:
    """Yield the last operation on each record, and the commit with it alone."""
    if len(commit.ops) == 1:
        yield commit.ops[0], value
        return
    for op in {op.path: op for op in commit.ops}.values():
        yield op, atproto.encode(msgspec.structs.replace(commit, ops=(op,)))
