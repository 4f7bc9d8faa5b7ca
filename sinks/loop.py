"""The consumer loop of every sink.

The order of effects, which is all that correctness rests on:

1. Poll a batch, bounded by records, bytes and time.
2. In one transaction of the database: advance the offsets from where this process left them (else another has taken
   over: FencedError, nothing is written), decode the records and write the rows, bury what is refused or keeps no
   contract and wait for Kafka to have it, advance the counters, commit. Before the commit, Kafka has acknowledged the
   observations of the batch before.
3. Send the observations; their acknowledgement is awaited in step 2 of the next batch.
4. Commit the offsets to Kafka as well, for tools that show the lag. Nothing here ever reads them.

On assignment the database says from where to read, and what its counters say of the last batch is sent again: a crash
after 2 loses no observation. While the database is away the partitions are paused and polled, and step 2 is tried again
as a whole.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa
from confluent_kafka import Consumer

from sinks.announcing import Announcer, letter_for, unreadable
from sinks.counting import REFUSED, Count
from sinks.entries import Entries
from sinks.isolation import write_isolating
from sinks.ledger import CountKey, Ledger
from sinks.membership import Membership
from sinks.sink import AnySink, Decoded, Record, Refusal
from tallystick.contracts.dead_letters import REFUSED as REASON_REFUSED
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.database.errors import is_transient
from tallystick.errors import ContractError, FencedError
from tallystick.logs import get_logger
from tallystick.retry import retry
from tallystick.settings import Settings

log = get_logger(__name__)


T = TypeVar("T")
_FAREWELL_SECONDS = 5.0
_REST_SECONDS = 0.3
"""A topic that has not grown for so long is at rest."""


class Place(msgspec.Struct, frozen=True):
    """Where a sink stands among others: the Kafka cluster that it reads, the database that it fills."""

    cluster: str
    projection: str


class _Stopped(Exception):
    """The loop was told to stop, or its partitions went, before the batch was committed."""


class Batch:
    """Records in the order in which they were read. What they hold is decoded while `entries` is first walked through.

    `decoded` and `letters` are complete from then on.
    """

    def __init__(self, sink: AnySink, records: list[Record]) -> None:
        self.records = records
        self.ends = {record.partition: record.offset + 1 for record in records}
        self.decoded: list[Decoded[object]] = []
        self.letters: list[DeadLetter] = []
        self.entries: Entries[object] = Entries(self._decode(sink))

    def _decode(self, sink: AnySink) -> Iterator[Sequence[object]]:
        for record in self.records:
            try:
                found = sink.decode(record)
            except ContractError as error:
                found = unreadable(record, str(error))
            self.decoded.append(found)
            for refusal in found.refused:
                self.letters.append(letter_for(sink, record, source=found.source, refusal=refusal))
            yield found.entries

    @property
    def keys(self) -> set[CountKey]:
        """The counters that this batch moves."""
        return {
            (source, record.partition)
            for record, found in zip(self.records, self.decoded, strict=True)
            for source in found.passes
        }


class SinkLoop:
    """Runs one sink. Owns its consumer; `announcer`, `engine` and `sink` are this loop's alone while it runs."""

    def __init__(
        self,
        settings: Settings,
        sink: AnySink,
        *,
        place: Place,
        engine: sa.Engine,
        consumer: Consumer,
        announcer: Announcer,
    ) -> None:
        self._settings, self._sink, self._engine, self._announcer = settings, sink, engine, announcer
        topic = settings.kafka.topic(sink.topic)
        self._member = Membership(consumer, topic=topic)
        self._ledger = Ledger(cluster=place.cluster, sink=sink.name, topic=topic, projection=place.projection)
        self._next: dict[int, int] = {}
        self._ends: list[int] | None = None

    def run(self, stop: Callable[[], bool]) -> None:
        """Store what comes until `stop` returns True. Raises what can't be mended by waiting.

        What was committed is announced before it returns, if Kafka is there; else the next start announces it.
        """
        try:
            while not stop():
                try:
                    self._turn(stop)
                except FencedError as error:
                    log.warning("fenced off; joining the group again", sink=self._sink.name, error=str(error))
                    self._ledger.forget()
                    self._member.rejoin()
                except _Stopped:
                    continue
            deadline = time.monotonic() + _FAREWELL_SECONDS
            self._announcer.settle(lambda: time.monotonic() > deadline)
        finally:
            self._member.leave()

    def _turn(self, stop: Callable[[], bool]) -> None:
        if self._member.waiting is not None:
            self._take_up(self._member.waiting, stop)
        read = self._member.read(self._settings.sinks, time.monotonic)
        expected = dict(self._next)
        read = [record for record in read if record.offset >= expected[record.partition]]
        if not read or self._member.waiting is not None:
            return
        self._await_rest(stop)
        batch = Batch(self._sink, read)
        counts, entries = self._patiently("store a batch", lambda: self._commit(batch, expected, stop), stop)
        self._next |= batch.ends
        self._ledger.remember(counts)
        self._announcer.observe(self._ledger.observations(counts))
        self._announcer.observe(self._sink.observe(entries))
        self._member.tell_kafka(batch.ends)

    def _await_rest(self, stop: Callable[[], bool]) -> None:
        """Let the topic come to rest, as long as the sink has patience; what was at rest is not waited for again."""
        deadline = time.monotonic() + self._sink.patience
        while time.monotonic() < deadline and not stop():
            ends = self._member.ends()
            if ends is None or ends == self._ends:
                return
            self._ends = ends
            # Not polled meanwhile: librdkafka's own thread keeps the place in the group, and what was read stays ours.
            time.sleep(_REST_SECONDS)

    def _take_up(self, partitions: list[int], stop: Callable[[], bool]) -> None:
        generation = self._member.generation
        self._ledger.forget()

        def look() -> dict[int, int]:
            with self._engine.begin() as connection:
                self._announcer.observe(self._ledger.unannounced(connection, partitions))
                self._announcer.observe(self._sink.unconfirmed(connection))
                return self._ledger.offsets(connection, partitions)

        offsets = self._patiently("read the offsets", look, stop)
        if self._member.generation == generation and self._member.take_up(offsets):
            self._next = offsets
            log.info("took up partitions", sink=self._sink.name, offsets=offsets)

    def _commit(
        self, batch: Batch, expected: dict[int, int], stop: Callable[[], bool]
    ) -> tuple[dict[CountKey, Count], Sequence[object]]:
        self._settle(stop)
        with self._engine.begin() as connection:
            self._ledger.advance(connection, expected, batch.ends)
            fates, reasons = write_isolating(connection, batch.entries, self._sink.write)
            counts = self._ledger.counts(connection, batch.keys)
            letters = batch.letters + self._letters(batch, reasons)
            if letters:
                log.warning("dead letters", sink=self._sink.name, letters=len(letters), first=letters[0].reason)
                self._announcer.bury(letters)
                self._settle(stop)
            take(batch, fates, counts)
            self._sink.conclude(connection, batch.records, batch.decoded, fates)
            self._ledger.store(connection, counts)
        entries = batch.entries
        return counts, [entry for place, entry in enumerate(entries) if place not in reasons] if reasons else entries

    def _letters(self, batch: Batch, reasons: dict[int, str]) -> list[DeadLetter]:
        letters, start = [], 0
        for record, found in zip(batch.records, batch.decoded, strict=True) if reasons else ():
            for place, content in enumerate(found.contents):
                if (reason := reasons.get(start + place)) is not None:
                    position = found.positions[place] if found.positions else record.offset
                    refusal = Refusal(position, content, REASON_REFUSED, reason)
                    letters.append(letter_for(self._sink, record, source=found.source, refusal=refusal))
            start += len(found.contents)
        return letters

    def _settle(self, stop: Callable[[], bool]) -> None:
        if not self._announcer.settle(stop):
            raise _Stopped

    def _patiently(self, what: str, work: Callable[[], T], stop: Callable[[], bool]) -> T:
        """Return what `work` returns, again and again while the database is away; paused, but still in the group."""
        try:
            return work()
        except Exception as error:
            self._ledger.forget()
            if not is_transient(error):
                raise
            log.warning("the database is away", sink=self._sink.name, error=str(error).strip()[:300])
        generation = self._member.generation

        def gone() -> bool:
            return stop() or self._member.generation != generation

        with self._member.paused() as sleep:
            try:
                return retry(
                    work,
                    what=f"{self._sink.name}: {what}",
                    on=is_transient,
                    longest_wait=self._settings.sinks.retry_max_seconds,
                    stop=gone,
                    sleep=sleep,
                )
            except Exception as error:
                self._ledger.forget()
                if is_transient(error) and gone():
                    raise _Stopped from error
                raise


def take(batch: Batch, fates: bytes, counts: dict[CountKey, Count]) -> None:
    """Move `counts` by what became of the batch; `fates` are of its entries, in order."""
    start = 0
    for record, found in zip(batch.records, batch.decoded, strict=True):
        stop = start + len(found.entries)
        for source in found.passes:
            count = counts[source, record.partition]
            count.next_offset = record.offset + 1
            count.take(found.low, found.positions, fates[start:stop])
            refused = [refusal.position for refusal in found.refused]
            count.take(found.low, refused, bytes([REFUSED]) * len(refused))
        start = stop
