"""Consumers on a real Kafka, none of which polls for nothing.

What librdkafka gives up on ends the process, and no pause outlasts its reason.
"""

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from tallystick.contracts.topics import STAGES
from tallystick.errors import ServiceError
from tallystick.kafka.consuming import close, make_consumer, records
from tallystick.kafka.pausing import paused
from tallystick.kafka.publisher import Publisher
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


def test_a_partition_that_went_elsewhere_while_it_was_paused_is_read_when_it_comes_back(
    kafka_settings: Settings,
) -> None:
    topic = kafka_settings.kafka.topic(STAGES)
    ours, other = (make_consumer(kafka_settings, client_id="test", group="pausing") for _ in range(2))
    ours.subscribe([topic])
    eventually(lambda: poll(ours) or ours.assignment())
    everything = {place.partition for place in ours.assignment()}
    try:
        with paused(ours) as wait:
            other.subscribe([topic])
            eventually(lambda: [wait(0.1), poll(other)] and 0 < len(other.assignment()) < len(everything))
        close(other)
        eventually(lambda: poll(ours) or len(ours.assignment()) == len(everything))
        publisher = Publisher(kafka_settings, client_id="test")
        for number in range(50):
            publisher.send(topic, key=b"%d" % number, value=b"{}")
        publisher.flush()
        read: list[Message] = []

        def read_on() -> int:
            read.extend(poll(ours))
            return len(read)

        eventually(read_on, until=lambda count: count == 50, seconds=20)
        assert {message.partition() for message in read} == everything
    finally:
        close(ours)
