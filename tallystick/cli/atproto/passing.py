"""Whether all that is in Kafka now has been worked on by everybody who has to, one after another.

What somebody sends while it works on a topic is there before it commits. So once it has come to where the topic ended,
the next topic holds all that follows, and what follows from that is waited for likewise.
"""

from collections.abc import Callable, Sequence

import msgspec
import sqlalchemy as sa
from confluent_kafka import Consumer, KafkaException, TopicPartition

from sinks.schema import sink_offsets
from tallystick.contracts.topics import Topic
from tallystick.errors import ServiceError
from tallystick.kafka.consuming import close, make_consumer
from tallystick.settings import Settings

ANSWER_SECONDS = 5.0

Offsets = dict[int, int]
"""By partition."""


class Hop(msgspec.Struct, frozen=True):
    """Somebody who works on what a topic holds: where the topic ends, and how far it has come."""

    name: str
    ends: Callable[[], Offsets]
    passed: Callable[[], Offsets]


class Course:
    """Hops, each of which begins where the one before is through. Raises what its functions raise."""

    def __init__(self, hops: Sequence[Hop]) -> None:
        self._hops = list(hops)
        self._ends: Offsets | None = None

    @property
    def waits_for(self) -> str:
        """Who is waited for; empty where nobody is."""
        return self._hops[0].name if self._hops else ""

    def look(self) -> bool:
        """Return whether all are through."""
        while self._hops:
            hop = self._hops[0]
            if self._ends is None:
                self._ends = hop.ends()
            passed = hop.passed()
            if any(passed.get(partition, 0) < end for partition, end in self._ends.items()):
                return False
            del self._hops[0]
            self._ends = None
        return True


class Group:
    """A consumer group on one topic, as Kafka knows it. It is not joined."""

    def __init__(self, settings: Settings, group: str, topic: Topic) -> None:
        self._consumer: Consumer = make_consumer(settings, client_id=f"{group}-course", group=group)
        self._places = [
            TopicPartition(settings.kafka.topic(topic), number)
            for number in range(topic.partitions(settings.kafka.partitions))
        ]

    def ends(self) -> Offsets:
        """Return where each partition ends that holds anything. Raises ServiceError."""
        try:
            bounds = {
                place.partition: self._consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)
                for place in self._places
            }
        except KafkaException as error:
            raise ServiceError(f"Kafka doesn't say where a topic ends: {error.args[0].str()}") from error
        return {partition: high for partition, (low, high) in bounds.items() if low < high}

    def passed(self) -> Offsets:
        """Return what the group has committed. Raises ServiceError."""
        try:
            committed = self._consumer.committed(self._places, timeout=ANSWER_SECONDS)
        except KafkaException as error:
            raise ServiceError(f"Kafka doesn't say how far a group is: {error.args[0].str()}") from error
        return {place.partition: max(place.offset, 0) for place in committed}

    def close(self) -> None:
        """Let go of the client."""
        close(self._consumer)


def sink_passed(engine: sa.Engine, sink: str, topic: str) -> Offsets:
    """Return how far a sink has come in the topic of that name, as the database holds it. Raises SQLAlchemyError."""
    table = sink_offsets.c
    query = sa.select(table.partition, table.next_offset).where(table.sink == sink, table.topic == topic)
    with engine.connect() as connection:
        return {partition: int(offset) for partition, offset in connection.execute(query)}
