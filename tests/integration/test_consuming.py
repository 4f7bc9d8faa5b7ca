"""Consumers on a real Kafka: what librdkafka gives up on ends the process instead of polling for nothing."""

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from tallystick.contracts.topics import STAGES
from tallystick.errors import ServiceError
from tallystick.kafka.consuming import close, make_consumer, records
from tallystick.settings import Settings
from tests.support import eventually


def member(settings: Settings, topic: str, *, group: str) -> Consumer:
    consumer = make_consumer(settings, client_id="test", group=group, member="the-same")
    consumer.subscribe([topic])
    return consumer


def poll(consumer: Consumer) -> list[Message]:
    return records(consumer, most=10, seconds=0.1)


@pytest.mark.parametrize("noticed_by", ["heartbeat", "commit"])
def test_a_static_member_that_is_fenced_says_so(kafka_settings: Settings, noticed_by: str) -> None:
    topic = kafka_settings.kafka.topic(STAGES)
    old = member(kafka_settings, topic, group=f"fenced-by-{noticed_by}")
    eventually(lambda: poll(old) or old.assignment())
    new = member(kafka_settings, topic, group=f"fenced-by-{noticed_by}")
    try:
        eventually(lambda: poll(new) or new.assignment())

        def go_on() -> None:
            if noticed_by == "commit":
                old.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=True)
            poll(old)

        with pytest.raises(ServiceError, match="shut this consumer out"):
            eventually(go_on, until=lambda _: False, seconds=30)
    finally:
        close(old)
        close(new)
