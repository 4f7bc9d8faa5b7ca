"""A topic as Cowrie's own Kafka output writes it: one event a record, in Python's spacing, without a key."""

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, Message, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from tallystick.kafka.config import client_config
from tallystick.kafka.topics import admin
from tallystick.settings import Settings
from tests import sample
from tests.support import eventually

SAMPLE_RECORDS = [json.dumps(json.loads(line)).encode() for line in sample.LINES]


class Foreign:
    """The topic of somebody else."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.name, self._settings = name, settings
        self._admin = admin(settings)

    def create(self, partitions: int) -> None:
        new = NewTopic(self.name, num_partitions=partitions, replication_factor=1)
        self._admin.create_topics([new])[self.name].result()
        eventually(self._is_led)
        # Another one each time: it would remember that a topic of this name was deleted.
        self._producer = Producer(client_config(self._settings, client_id="foreign"))

    def _is_led(self) -> bool:
        found = self._admin.list_topics(self.name).topics[self.name]
        return found.error is None and all(part.leader >= 0 for part in found.partitions.values())

    def _is_gone(self) -> bool:
        return self.name not in self._admin.list_topics().topics  # asked for by name, a broker may make it anew

    def delete(self) -> None:
        self._admin.delete_topics([self.name], operation_timeout=10)[self.name].result()
        # The controller answers before the broker knows: until then it goes on with the old topic.
        eventually(self._is_gone)

    def write(self, values: Iterable[bytes | None], *, partition: int = -1) -> None:
        """Write records and wait for their acknowledgement."""
        refused: list[str] = []

        def acknowledged(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                refused.append(error.str())

        for value in values:
            self._producer.produce(self.name, value, partition=partition, on_delivery=acknowledged)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0
        assert refused == []

    def expire(self, partition: int, before: int) -> None:
        """Let the records before an offset be gone, as retention does."""
        where = TopicPartition(self.name, partition, before)
        for future in self._admin.delete_records([where]).values():
            future.result()


@contextmanager
def foreign_topic(settings: Settings, *, partitions: int = 3) -> Iterator[Foreign]:
    """Give a topic that exists while the block runs."""
    topic = Foreign(settings, f"cowrie-{uuid.uuid4().hex[:12]}")
    topic.create(partitions)
    try:
        yield topic
    finally:
        topic.delete()
