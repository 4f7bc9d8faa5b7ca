"""How far a consumer group has come, as Kafka knows it."""

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tallystick.contracts.topics import Topic
from tallystick.errors import ServiceError
from tallystick.kafka.consuming import close, make_consumer
from tallystick.settings import Settings

ANSWER_SECONDS = 5.0

Place = tuple[str, int]
"""A topic's full name, and a partition of it."""
Offsets = Mapping[Place, int]


class Group:
    """A consumer group on `topics`, looked at and not joined. What Kafka doesn't answer raises ServiceError."""

    def __init__(self, settings: Settings, group: str, *topics: Topic) -> None:
        self._consumer: Consumer = make_consumer(settings, client_id=f"{group}-look", group=group)
        self._places = [
            TopicPartition(settings.kafka.topic(topic), number)
            for topic in topics
            for number in range(topic.partitions(settings.kafka.partitions))
        ]

    def ends(self) -> Offsets:
        """Return where each partition ends that holds anything."""
        try:
            bounds = {
                (place.topic, place.partition): self._consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)
                for place in self._places
            }
        except KafkaException as error:
            raise ServiceError(f"Kafka doesn't say where a topic ends: {error.args[0].str()}") from error
        return {place: high for place, (low, high) in bounds.items() if low < high}

    def passed(self) -> Offsets:
        """Return what the group has committed of each partition; 0 where nothing was."""
        try:
            committed = self._consumer.committed(self._places, timeout=ANSWER_SECONDS)
        except KafkaException as error:
            raise ServiceError(f"Kafka doesn't say how far a group is: {error.args[0].str()}") from error
        return {(place.topic, place.partition): max(place.offset, 0) for place in committed}

    def behind(self) -> Offsets:
        """Return what the group has committed of each partition that has records after it."""
        ends, passed = self.ends(), self.passed()
        return {place: passed[place] for place, end in ends.items() if passed[place] < end}

    def close(self) -> None:
        """Let go of the client."""
        close(self._consumer)
