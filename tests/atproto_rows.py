"""AT Protocol for the sinks' tests: what producers would send of a repository, as records of its topics."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from producers.atproto.protocol.cids import cid_text
from producers.atproto.protocol.commits import commit_record, open_commit
from producers.atproto.protocol.messages import CommitMessage, read_message
from producers.atproto.protocol.records import record_json
from sinks.sink import AnySink, Record
from tallystick.contracts import atproto, slices
from tallystick.contracts.atproto import Commit, End, SnapshotLine, Stored
from tallystick.contracts.collections import chosen, is_chosen
from tallystick.database.engine import snapshot
from tests.atproto_world import Repository, frame

HOST = "pds.test"
AT = "2026-11-23T04:08:00.000000Z"
SERVER_TIMES = {"updated_at", "added_at"}


class Fetch(msgspec.Struct, frozen=True):
    """A repository as it was fetched at one revision, whole or only those of some collections."""

    did: str
    attempt: int
    rev: str
    lines: tuple[SnapshotLine, ...]

    @property
    def end(self) -> End:
        """The last line."""
        end = self.lines[-1]
        assert isinstance(end, End)
        return end

    def again(self, attempt: int) -> "Fetch":
        """Return the same, fetched at another attempt."""
        return msgspec.structs.replace(self, attempt=attempt)

    def records(self, *, lines_each: int = 3, offset: int = 0) -> list[Record]:
        """Return the slices that carry it."""
        found: list[Record] = []
        for low in range(0, len(self.lines), lines_each):
            events = [atproto.encode(line) for line in self.lines[low : low + lines_each]]
            found.append(self.slice(events, low=low, offset=offset + len(found)))
        return found

    def slice(self, events: Sequence[bytes], *, low: int = 0, offset: int = 0) -> Record:
        """Return the slice that carries `events`, whatever they are."""
        source = atproto.repository_source_id(self.did).encode()
        positions = range(low, low + len(events))
        value, headers = slices.encode(source, atproto.SCHEMA, low, positions, events)
        headers += [("attempt", b"%d" % self.attempt), ("rev", self.rev.encode())]
        return Record(0, offset, self.did.encode(), value, headers)


def fetch(repository: Repository, attempt: int, collections: Sequence[str] = (), *, leaves_out: str = "") -> Fetch:
    """Return what a fetch of `repository` as it is now brings; only some `collections`, where they are given, and
    without the records whose key is `leaves_out`, as languages leave some out.
    """
    assert repository.rev is not None
    assert repository.data is not None
    wanted = chosen(collections)
    found: list[SnapshotLine] = []
    for path, cid in sorted(repository.records.items(), key=lambda item: item[0].encode()):
        collection, _, rkey = path.partition("/")
        if is_chosen(wanted, collection) and rkey != leaves_out:
            raw = msgspec.Raw(record_json(repository.blocks[cid]))
            found.append(Stored(collection, rkey, cid_text(cid), raw))
    data = cid_text(repository.data)
    end = End(data, data, len(found))
    if wanted or leaves_out:
        end = msgspec.structs.replace(end, whole=False, collections=() if leaves_out else wanted)
    found.append(end)
    return Fetch(repository.did, attempt, repository.rev, tuple(found))


def committed(body: Mapping[str, object], *, host: str = HOST) -> Commit:
    """Return what goes into Kafka of the body of a `#commit`."""
    message = read_message(frame("#commit", body))
    assert isinstance(message, CommitMessage)
    return commit_record(open_commit(message, check_hashes=False), host=host, live=True)


def word(found: Any, *, key: str | None = None, offset: int = 0) -> Record:
    """Return the record that carries one word, keyed by what it is about."""
    named = key or getattr(found, "did", None) or getattr(found, "uri", None) or found.host
    return Record(0, offset, str(named).encode(), atproto.encode(found), [])


def write(engine: sa.Engine, sink: AnySink, *records: Record) -> None:
    """Write `records` as one batch; all that is in them can be stored."""
    with engine.begin() as connection:
        entries: list[Any] = []
        for found in map(sink.decode, records):
            assert not found.refused, found.refused
            entries += found.entries
        sink.write(connection, entries)


def dump(engine: sa.Engine, *tables: sa.Table) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of `tables`, without the server's times."""
    with snapshot(engine) as connection:
        return {table.name: sorted(_rows(connection, table), key=repr) for table in tables}


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[tuple[Any, ...]]:
    for row in connection.execute(sa.select(*(c for c in table.c if c.name not in SERVER_TIMES))):
        yield tuple(row)
