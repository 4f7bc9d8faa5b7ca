"""Consumers: the one factory, and reading a compacted topic whole."""

import time
from collections.abc import Iterator
from functools import partial
from threading import Thread
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tallystick.contracts.topics import MAX_RECORD_BYTES
from tallystick.errors import ServiceError
from tallystick.kafka.client_log import librdkafka
from tallystick.kafka.config import client_config
from tallystick.logs import get_logger
from tallystick.retry import retry
from tallystick.settings import Settings

log = get_logger(__name__)


class Fetching(msgspec.Struct, frozen=True):
    """When the broker answers a consumer: once it has `min_bytes` for it, or after `wait_ms`, whichever is sooner."""

    min_bytes: int
    wait_ms: int


BULK: Final = Fetching(min_bytes=256 * 1024, wait_ms=100)
"""For topics that bring much: many small answers cost broker and consumer more than the wait for a larger one."""
PROMPT: Final = Fetching(min_bytes=1, wait_ms=500)
"""For topics that bring little: every question costs the broker, even where there is nothing to answer."""


def make_consumer(
    settings: Settings, *, client_id: str, group: str, member: str | None = None, fetching: Fetching = BULK
) -> Consumer:
    """Return a consumer of `group`: it starts at the earliest record, commits nothing by itself, bounds its memory.

    With a `member` name (`tallystick.slots`) it is a static member of its group.
    """
    return Consumer(
        {
            **client_config(settings, client_id=client_id),
            **({"group.instance.id": member} if member else {}),
            "group.id": settings.kafka.group(group),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "fetch.wait.max.ms": fetching.wait_ms,
            "fetch.min.bytes": fetching.min_bytes,
            "fetch.message.max.bytes": 1024 * 1024,
            "receive.message.max.bytes": 2 * MAX_RECORD_BYTES + 64 * 1024 * 1024,
            "queued.max.messages.kbytes": 32 * 1024,
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 2_000,
            "max.poll.interval.ms": 600_000,
            "error_cb": _raise_if_fatal,
        },
        logger=librdkafka,
    )


def _raise_if_fatal(error: KafkaError) -> None:
    """End a consumer that librdkafka has given up on; it would go on polling and get nothing for ever.

    So it is where a static member has been fenced, which a broker that was killed may do to its own members. librdkafka
    tells it once, by its callback or in the place of a record.
    """
    if _is_fatal(error):
        raise ServiceError(f"Kafka has shut this consumer out: {error.str()}; its process must be started again")


def _is_fatal(error: KafkaError) -> bool:
    return error.fatal() or error.code() == KafkaError._FATAL  # noqa: SLF001 - its public name for this error


def records(consumer: Consumer, *, most: int, seconds: float) -> list[Message]:
    """Return up to `most` records that arrive within `seconds`. Transient errors are left to librdkafka.

    Raises ServiceError for what it can't mend (no such topic, not authorised).
    """
    found = []
    for message in consumer.consume(most, seconds):
        error = message.error()
        if error is None:
            found.append(message)
            continue
        _raise_if_fatal(error)
        if error.code() in _HOPELESS:
            raise ServiceError(f"can't read {message.topic() or 'from Kafka'}: {error.str()}")
    return found


_MOVING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}
"""What a broker says of a partition that is new, or that is changing hands: soon it will know."""

_HOPELESS = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
}


def _is_moving(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _MOVING


def close(consumer: Consumer, *, seconds: float = 10.0) -> None:
    """Leave the group and let go of the client; where librdkafka doesn't return, leave that to the process's end.

    A static member whose twin was fenced has been seen to wait in its `close` for ever, and its process with it.
    """

    def work() -> None:
        try:
            consumer.close()
        except (KafkaException, ServiceError) as error:
            log.warning("a consumer was closed with an error", error=str(error))

    thread = Thread(target=work, name="close", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        log.error("librdkafka doesn't close a consumer; it ends with this process", seconds=seconds)


def read_whole(settings: Settings, topic: str, *, client_id: str, seconds: float = 60.0) -> Iterator[Message]:
    """Yield every record that `topic` (one or more partitions) holds now, in order per partition.

    Raises ServiceError where Kafka doesn't deliver them: nothing arrived for `seconds`.
    """
    consumer = make_consumer(settings, client_id=client_id, group=client_id)
    try:
        try:
            known = consumer.list_topics(topic, timeout=seconds).topics[topic]
            partitions = [TopicPartition(topic, number, 0) for number in known.partitions]
            bounds = {
                p.partition: retry(
                    partial(consumer.get_watermark_offsets, p, timeout=seconds),
                    what=f"asking how far {topic} goes",
                    on=_is_moving,
                    longest_wait=1.0,
                    give_up_after=seconds,
                )
                for p in partitions
            }
        except KafkaException as error:
            raise ServiceError(f"can't read {topic}: {error.args[0].str()}") from error
        missing = {number for number, (low, high) in bounds.items() if low < high}
        consumer.assign([TopicPartition(topic, number, bounds[number][0]) for number in missing])
        last = time.monotonic()
        while missing:
            for message in records(consumer, most=5_000, seconds=0.1):
                last = time.monotonic()
                yield message
            for position in consumer.position([TopicPartition(topic, number) for number in missing]):
                if position.offset >= bounds[position.partition][1]:
                    missing.discard(position.partition)
            if missing and time.monotonic() - last > seconds:
                raise ServiceError(f"{topic} holds records that Kafka hasn't delivered for {seconds:.0f} s")
    finally:
        close(consumer)
