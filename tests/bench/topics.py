"""How much a topic holds."""

from confluent_kafka import TopicPartition

from tallystick.contracts.topics import Topic
from tallystick.kafka.consuming import close, make_consumer
from tallystick.settings import Settings


def size(settings: Settings, topic: Topic) -> int:
    """Return the number of records that a topic has ever held."""
    name = settings.kafka.topic(topic)
    consumer = make_consumer(settings, client_id="bench", group="bench")
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition(name, partition))[1]
            for partition in range(topic.partitions(settings.kafka.partitions))
        )
    finally:
        close(consumer)
