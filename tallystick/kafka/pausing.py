"""Pauses: to read nothing of some partitions for a while, and still to be a member of the group.

librdkafka keeps a pause even where the partition goes to another member: when it comes back it is
still paused, and the consumer waits for its records for ever, without a word. So whoever pauses does it by a `Brake`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Message, TopicPartition

from tallystick.kafka.consuming import records


class Brake:
    """Holds up partitions of a consumer, and lets go of all that it has held up, wherever they are by then."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._held: dict[tuple[str, int], TopicPartition] = {}

    def hold(self, partitions: Iterable[TopicPartition]) -> None:
        """Hold up these partitions, which the consumer has, and let go of all others. Cheap to repeat."""
        wanted = {(where.topic, where.partition): TopicPartition(where.topic, where.partition) for where in partitions}
        if fewer := [where for key, where in self._held.items() if key not in wanted]:
            self._consumer.resume(fewer)
        if more := [where for key, where in wanted.items() if key not in self._held]:
            self._consumer.pause(more)
        self._held = wanted

    def release(self) -> None:
        """Let go of all."""
        self.hold(())


@contextmanager
def paused(consumer: Consumer) -> Iterator[Callable[[float], list[Message]]]:
    """Read nothing from the partitions that `consumer` holds, but stay in its group.

    Yields a function that waits for some seconds, polling meanwhile, and returns what comes all the same: records that
    were on their way, or those of partitions that were assigned since.
    """
    brake = Brake(consumer)
    brake.hold(consumer.assignment())
    try:
        yield lambda seconds: records(consumer, most=1, seconds=seconds)
    finally:
        brake.release()
