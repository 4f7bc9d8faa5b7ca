"""Progress as the sign of life: an agent that has work and does none is ended, so that it is started again.

Faust can stop without a word: a topic that was missing for a moment while a broker came back is left out of the
assignment until the next rebalance, and a worker may stay up doing nothing.
"""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tallystick.contracts.topics import Topic
from tallystick.kafka.consuming import make_consumer
from tallystick.settings import Settings

STALL_SECONDS = 20.0
_ANSWER_SECONDS = 5.0

Place = tuple[str, int]
"""Topic and partition."""


class Lag(Protocol):
    """Tells how far a group has come."""

    def committed(self) -> Mapping[Place, int]:
        """Return the committed offset of each partition that has records after it; 0 where nothing was committed."""


class GroupLag:
    """The lag of one consumer group, asked of Kafka."""

    def __init__(self, settings: Settings, group: str, topics: tuple[Topic, ...]) -> None:
        self._consumer: Consumer = make_consumer(settings, client_id=f"{group}-lag", group=group)
        self._places = [
            TopicPartition(settings.kafka.topic(topic), number)
            for topic in topics
            for number in range(topic.partitions(settings.kafka.partitions))
        ]

    def committed(self) -> Mapping[Place, int]:
        """See Lag. Empty where Kafka doesn't answer: that is no fault of the group."""
        behind = {}
        try:
            for place in self._consumer.committed(self._places, timeout=_ANSWER_SECONDS):
                end = self._consumer.get_watermark_offsets(place, timeout=_ANSWER_SECONDS)[1]
                if (offset := max(place.offset, 0)) < end:
                    behind[place.topic, place.partition] = offset
        except KafkaException:
            return {}
        return behind


class StallWatch:
    """Finds partitions that are behind and have not moved for `STALL_SECONDS`."""

    def __init__(self, lag: Lag, clock: Callable[[], float] = time.monotonic) -> None:
        self._lag, self._clock = lag, clock
        self._since: dict[Place, tuple[int, float]] = {}

    def forget(self) -> None:
        """Begin anew: nobody could work meanwhile."""
        self._since.clear()

    def stalled(self) -> list[Place]:
        """Look once, and return the partitions that stand still though there is work."""
        now = self._clock()
        self._since = {
            place: known if (known := self._since.get(place)) and known[0] == offset else (offset, now)
            for place, offset in self._lag.committed().items()
        }
        return [place for place, (_, since) in self._since.items() if now - since > STALL_SECONDS]
