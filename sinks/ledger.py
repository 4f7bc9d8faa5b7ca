"""The books of one sink in the database: offsets that fence, and counters."""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from sinks.counting import Count, decode_seen, encode_seen
from sinks.schema import sink_counters, sink_offsets
from tallystick.contracts.stages import Observed, Passed
from tallystick.contracts.timestamps import now
from tallystick.errors import FencedError

CountKey = tuple[str, int]
"""Source and partition."""

_CACHED_COUNTS = 64


class Ledger:
    """Reads and advances the books of `sink`. Each method works within the transaction of its connection.

    Counters are remembered between batches, which is sound because `advance` comes first in a transaction and raises
    where anybody else has moved on; `forget` them whenever a transaction did not commit or partitions changed hands.
    """

    def __init__(self, *, cluster: str, sink: str, topic: str, projection: str) -> None:
        self._cluster, self._sink, self._topic, self._projection = cluster, sink, topic, projection
        self._remembered: OrderedDict[CountKey, Count] = OrderedDict()

    def offsets(self, connection: sa.Connection, partitions: Collection[int]) -> dict[int, int]:
        """Return where each of `partitions` goes on; one that is new to the database begins at 0."""
        table = sink_offsets
        found = connection.execute(
            sa.select(table.c.partition, table.c.next_offset).where(
                *self._mine(table), table.c.topic == self._topic, table.c.partition.in_(partitions)
            )
        )
        known = {row.partition: row.next_offset for row in found}
        return {partition: known.get(partition, 0) for partition in partitions}

    def advance(self, connection: sa.Connection, expected: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Move each partition of `ends` from its expected offset to its end, and hold it until the commit.

        What was observed before `expected` must be with Kafka: it is not said again. Raises FencedError where the
        database holds another offset: another process reads the partition.
        """
        table = sink_offsets
        for partition, end in sorted(ends.items()):
            moved = connection.execute(
                table.update()
                .where(*self._mine(table), table.c.topic == self._topic, table.c.partition == partition)
                .where(table.c.next_offset == expected[partition])
                .values(next_offset=end, announced_offset=expected[partition])
            ).rowcount
            if not moved and not (expected[partition] == 0 and self._begin(connection, partition, end)):
                raise FencedError(
                    f"{self._sink}: another process has taken over partition {partition} of {self._topic}"
                )

    def counts(self, connection: sa.Connection, keys: Collection[CountKey]) -> dict[CountKey, Count]:
        """Return the counter of each of `keys`, to be changed and given to `store`."""
        missing = {source for source, partition in keys if (source, partition) not in self._remembered}
        loaded = dict(self._load(connection, missing)) if missing else {}
        counts = {}
        for key in keys:
            known = self._remembered.get(key)
            counts[key] = known.copy() if known is not None else loaded.get(key) or Count()
        return counts

    def store(self, connection: sa.Connection, counts: Mapping[CountKey, Count]) -> None:
        """Write `counts`."""
        if not counts:
            return
        self._insert_or_replace(
            connection,
            [
                {
                    "cluster_id": self._cluster,
                    "sink": self._sink,
                    "source_id": source,
                    "partition": partition,
                    "next_offset": count.next_offset,
                    "inserted": count.inserted,
                    "present": count.present,
                    "dead": count.dead,
                    "low": count.low,
                    "seen": encode_seen(count),
                }
                for (source, partition), count in sorted(counts.items())
            ],
        )

    def remember(self, counts: Mapping[CountKey, Count]) -> None:
        """Keep `counts`, which have been committed, for the batches to come."""
        for key, count in counts.items():
            count.prune()
            self._remembered[key] = count
            self._remembered.move_to_end(key)
        while len(self._remembered) > _CACHED_COUNTS:
            self._remembered.popitem(last=False)

    def forget(self) -> None:
        """Read all counters from the database again."""
        self._remembered.clear()

    def observations(self, counts: Mapping[CountKey, Count]) -> Iterator[Observed]:
        """Yield what `counts` say, one observation a source."""
        by_source: dict[str, dict[int, Passed]] = {}
        for (source, partition), count in counts.items():
            by_source.setdefault(source, {})[partition] = _passed(count)
        for source, partitions in by_source.items():
            yield self._observed(source, partitions)

    def unannounced(self, connection: sa.Connection, partitions: Collection[int]) -> Iterator[Observed]:
        """Yield what the database's counters say of `partitions`, one observation a source and partition, as far as
        Kafka may not have it: what the last batch of each partition has moved.
        """
        table, offsets = sink_counters, sink_offsets
        columns = [column for column in table.c if column.name != "seen"]
        announced = (
            sa.select(offsets.c.announced_offset)
            .where(*self._mine(offsets), offsets.c.topic == self._topic, offsets.c.partition == table.c.partition)
            .scalar_subquery()
        )
        query = sa.select(*columns).where(
            *self._mine(table),
            table.c.partition.in_(partitions),
            table.c.next_offset > sa.func.coalesce(announced, 0),
        )
        for row in connection.execution_options(yield_per=1_000).execute(query):
            passed = Passed(row.next_offset, inserted=row.inserted, present=row.present, dead=row.dead)
            yield self._observed(row.source_id, {row.partition: passed})

    def _observed(self, source: str, partitions: dict[int, Passed]) -> Observed:
        return Observed(
            source=source, observer=self._sink, projection=self._projection, at=now(), partitions=partitions
        )

    def _begin(self, connection: sa.Connection, partition: int, end: int) -> bool:
        row = {
            "cluster_id": self._cluster,
            "sink": self._sink,
            "topic": self._topic,
            "partition": partition,
            "next_offset": end,
        }
        insert = _insert(connection, sink_offsets).values(row).on_conflict_do_nothing()
        return connection.execute(insert.returning(sink_offsets.c.partition)).first() is not None

    def _load(self, connection: sa.Connection, sources: Collection[str]) -> Iterator[tuple[CountKey, Count]]:
        table = sink_counters
        for row in connection.execute(sa.select(table).where(*self._mine(table), table.c.source_id.in_(sources))):
            seen = decode_seen(row.seen, row.low)
            count = Count(row.next_offset, row.inserted, row.present, row.dead, row.low, seen)
            yield (row.source_id, row.partition), count

    def _insert_or_replace(self, connection: sa.Connection, rows: list[dict[str, object]]) -> None:
        insert = _insert(connection, sink_counters)
        key = list(sink_counters.primary_key.columns)
        changed = {c.name: c for c in insert.excluded if c.name not in {column.name for column in key}}
        connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changed), rows)

    def _mine(self, table: sa.Table) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
        return table.c.cluster_id == self._cluster, table.c.sink == self._sink


def _passed(count: Count) -> Passed:
    return Passed(count.next_offset, inserted=count.inserted, present=count.present, dead=count.dead)


def _insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
