"""A publisher that keeps what it is given in memory: what unit and property tests read with, without Kafka."""

import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from tallystick.contracts.slices import Headers
from tallystick.contracts.topics import SOURCE_POSITIONS
from tallystick.kafka.publisher import Delivered, Publisher


class Sent(msgspec.Struct, frozen=True):
    """A record as it was sent."""

    topic: str
    key: bytes
    value: bytes
    headers: dict[str, Any]
    partition: int
    offset: int


class MemoryPublisher(Publisher):
    """Keeps records by topic and partition. Acknowledges them all once the caller waits, and none before.

    `before_send` is called with each record's topic and may raise, as a process may die at any record. With `forget`
    set records are counted and not kept.
    """

    def __init__(self, *, partitions: int = 2, before_send: Callable[[str], None] | None = None) -> None:
        self.log: list[Sent] = []
        self.forget = False
        self.before_send = before_send
        self._partitions = partitions
        self._next: dict[tuple[str, int], int] = {}
        self._unacknowledged: list[tuple[Delivered | None, Sent]] = []

    def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes,
        headers: Headers | None = None,
        partition: int | None = None,
        on_delivery: Delivered | None = None,
    ) -> None:
        if self.before_send is not None:
            self.before_send(topic)
        where = zlib.crc32(key) % self._partitions if partition is None else partition
        offset = self._next.get((topic, where), 0)
        self._next[topic, where] = offset + 1
        sent = Sent(topic, key, value, dict(headers or ()), where, offset)
        if not self.forget:
            self.log.append(sent)
        self._unacknowledged.append((on_delivery, sent))

    def poll(self, seconds: float = 0.0) -> None:
        if seconds == 0.0:
            return
        waiting, self._unacknowledged = self._unacknowledged, []
        for on_delivery, sent in waiting:
            if on_delivery is not None:
                on_delivery(sent.partition, sent.offset)

    def flush(self, seconds: float | None = None) -> bool:  # noqa: ARG002 - it never takes time
        self.poll(1.0)
        return True

    @property
    def waiting(self) -> int:
        return len(self._unacknowledged)

    def lose(self, *, keep: int) -> None:
        """Die: of what is not acknowledged only checkpoints, and the first `keep` other records, have come to Kafka."""
        others = [sent for _, sent in self._unacknowledged if sent.topic != SOURCE_POSITIONS.name]
        self._unacknowledged = []
        for sent in reversed(others[keep:]):
            self.log.remove(sent)
            self._next[sent.topic, sent.partition] = sent.offset

    def of(self, topic: str) -> list[Sent]:
        """Return the records of one topic, in the order in which they were sent."""
        return [sent for sent in self.log if sent.topic == topic]
