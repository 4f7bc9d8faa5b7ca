"""A consumer's part in its group: which partitions it holds, and from where it reads them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from confluent_kafka import Consumer, KafkaException, TopicPartition

from sinks.sink import Record
from tallystick.contracts.slices import Headers
from tallystick.errors import ServiceError
from tallystick.kafka.consuming import close, records
from tallystick.kafka.pausing import paused
from tallystick.logs import get_logger
from tallystick.settings import SinkSettings

log = get_logger(__name__)

_AT_ONCE = 256


class Membership:
    """One consumer that reads `topic` with others, from offsets that somebody else keeps.

    Kafka says which partitions are ours (`waiting`), but nothing is read of them until `take_up` says from where.
    `generation` changes whenever partitions come or go: what was read before is no longer ours to store.
    """

    def __init__(self, consumer: Consumer, *, topic: str) -> None:
        self._consumer, self._topic = consumer, topic
        self.waiting: list[int] | None = None
        self.generation = 0
        self._join()

    def take_up(self, offsets: Mapping[int, int]) -> bool:
        """Read the waiting partitions from `offsets`; False where Kafka doesn't answer, so that they still wait.

        Raises ServiceError where an offset lies beyond the end of its partition: the topic is not the one that the
        offsets were made of.
        """
        try:
            for partition, offset in offsets.items():
                self._require_within(partition, offset)
            self._consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in offsets.items()])
        except KafkaException as error:
            log.warning("Kafka doesn't answer", topic=self._topic, error=error.args[0].str())
            return False
        self.waiting = None
        return True

    def read(self, bounds: SinkSettings, clock: Callable[[], float]) -> list[Record]:
        """Return the next records within `bounds`; none where partitions came or went meanwhile."""
        generation, deadline = self.generation, clock() + bounds.batch_seconds
        batch: list[Record] = []
        size = 0
        while len(batch) < bounds.batch_records and size < bounds.batch_bytes and (left := deadline - clock()) > 0:
            most = min(_AT_ONCE, bounds.batch_records - len(batch))
            for message in records(self._consumer, most=most, seconds=left):
                value = message.value()
                size += len(value or b"")
                batch.append(
                    Record(
                        message.partition() or 0,
                        message.offset() or 0,
                        message.key() or b"",
                        value,
                        cast(Headers, message.headers() or []),
                    )
                )
        return batch if generation == self.generation else []

    def ends(self) -> list[int] | None:
        """Return where the partitions that are held end now, in order; None where Kafka doesn't answer."""
        try:
            held = sorted(self._consumer.assignment(), key=lambda where: where.partition)
            return [self._consumer.get_watermark_offsets(where, timeout=10)[1] for where in held]
        except KafkaException as error:
            log.info("Kafka doesn't say where the topic ends", topic=self._topic, error=error.args[0].str())
            return None

    @contextmanager
    def paused(self) -> Iterator[Callable[[float], None]]:
        """Read nothing, but stay in the group: yields a function that sleeps some seconds while it keeps polling."""
        with paused(self._consumer) as poll:
            held = [where.partition for where in self._consumer.assignment()]

            def sleep(seconds: float) -> None:
                if poll(seconds) and self.waiting is None:
                    # Read before the pause took effect: all are taken up again, so that it isn't lost.
                    self.generation += 1
                    self.waiting = held

            yield sleep

    def tell_kafka(self, offsets: Mapping[int, int]) -> None:
        """Commit `offsets` to Kafka as well, unacknowledged: only tools that show the lag read them."""
        where = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=where, asynchronous=True)
        except KafkaException as error:
            log.info("offsets not told to Kafka", topic=self._topic, error=str(error))

    def rejoin(self) -> None:
        """Leave the group and join it again, holding nothing."""
        self._consumer.unsubscribe()
        self._lose()
        self._join()

    def leave(self) -> None:
        """Leave the group for good."""
        close(self._consumer)

    def _join(self) -> None:
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Offsets come from the database, which may be away: nothing is fetched until `take_up`.
        consumer.assign([])
        self.generation += 1
        self.waiting = [where.partition for where in partitions]

    def _on_revoke(self, consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        consumer.unassign()
        self._lose()

    def _lose(self) -> None:
        self.generation += 1
        self.waiting = None

    def _require_within(self, partition: int, offset: int) -> None:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=10)
        if offset > high:
            raise ServiceError(
                f"the database holds {self._topic}/{partition} up to offset {offset}, but the topic ends at {high}: "
                "Kafka has lost data or was set up anew under the same cluster id; rebuild into an empty database"
            )
        if offset < low and offset > 0:
            log.error("records are gone that were never stored", topic=self._topic, first=offset, before=low)
